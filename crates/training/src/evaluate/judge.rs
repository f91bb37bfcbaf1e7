//! How right a model's answers were, and whether it knew.

use amphora_error::Result;
use amphora_planner::action_space::{Action, ActionSpace, Head, NamedAction};
use amphora_planner::contracts::DatasetRow;
use amphora_planner::decode::Temperatures;
use amphora_planner::heuristic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::calibration::{CalibrationRow, FittedTemperatures};
use crate::metrics::{
    Agreement, Collapse, Coverage, Decision, LabelMatch, Reliability, null_is_nan,
};

use super::abstain::{curve, threshold};
use super::model::{Answer, SpeaksOf};
use super::outcomes::{Outcomes, Task};
use super::{Model, Settings};
use crate::preference::{Target, TieBreak};

/// What answers are judged by.
#[derive(Debug, Clone, Copy)]
pub enum Truth<'a> {
    /// What every action came to on the task, and how ties are broken.
    Replayed(&'a Outcomes, &'a TieBreak),
    /// What was executed: the label of each row. Says nothing about outcomes.
    Labels(&'a ActionSpace),
}

impl<'a> Truth<'a> {
    fn space(&self) -> &'a ActionSpace {
        match self {
            Self::Replayed(outcomes, _) => &outcomes.space,
            Self::Labels(space) => space,
        }
    }

    fn task(&self, row: &DatasetRow) -> Option<&'a Task> {
        match self {
            Self::Replayed(outcomes, _) => outcomes.tasks.get(&row.planner_input.issue.issue_id),
            Self::Labels(_) => None,
        }
    }

    /// What should have been answered; `None` for a row that is not judged.
    fn target(&self, row: &DatasetRow, settings: &Settings) -> Option<Target> {
        let widths = self.space().widths();
        match self {
            Self::Replayed(_, ties) => self.task(row)?.target(widths, ties, settings),
            Self::Labels(space) => {
                let label = &row.label_action;
                let action = space.index(&NamedAction::new(&label.swarm_id, &label.budgets))?;
                Some(Target::of_action(action, widths))
            }
        }
    }
}

/// One answer, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The issue.
    pub issue: String,
    /// What the model answered.
    pub action: Action,
    /// The label: the best action of the task, or what was executed.
    pub best: Action,
    /// What the heuristic does there; where the model abstains, that is done.
    pub baseline: Action,
    /// Whether it is a valid action.
    pub valid: bool,
    /// Whether it is valid and the confidence reached the threshold.
    pub taken: bool,
    /// The confidence, and whether what it speaks of is the label's.
    pub decision: Decision,
    /// For each head with a choice, the probability of the decoded class and whether it is right.
    pub heads: [Option<Decision>; 4],
    /// For each head, the sum over classes of (probability - label)^2.
    pub brier: [f64; 4],
    /// Agreement with the best action, or with one that is as good.
    pub matches: LabelMatch,
    /// Mean utility of the answer on the task; of the baseline where the answer is not valid.
    pub utility: f64,
    /// Mean utility of the baseline on the task.
    pub baseline_utility: f64,
}

impl Judged {
    /// The utility of what is done when answers below `threshold` go to the baseline.
    pub(crate) fn utility_at(&self, threshold: f64) -> f64 {
        if self.decision.confidence < threshold {
            self.baseline_utility
        } else {
            self.utility
        }
    }

    /// What is done in the end.
    pub fn executed(&self) -> Action {
        if self.taken {
            self.action
        } else {
            self.baseline
        }
    }
}

/// Calibration of one head on held-out rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeadReport {
    /// Expected calibration error of the decoded class.
    pub ece: f64,
    /// Maximum calibration error.
    pub mce: f64,
    /// Multi-class Brier score.
    pub brier: f64,
}

/// A model on held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// Its name.
    pub name: String,
    /// Agreement of the decoded action with the best action of the task.
    pub agreement: Agreement,
    /// The same for the most frequent best action, said to everybody.
    pub majority_exact: f64,
    /// Calibration of every decision: confidence against how often the class it speaks of is right.
    pub decisions: Reliability,
    /// Calibration of the decisions that were not left to the baseline.
    pub taken: Reliability,
    /// For each head.
    pub heads: [HeadReport; 4],
    /// Share left to the baseline, invalid answers included.
    pub abstain_rate: f64,
    /// Share of answers that are no valid action.
    #[serde(default)]
    pub invalid_rate: f64,
    /// Coverage, correctness and utility by threshold.
    pub coverage: Vec<Coverage>,
    /// Distribution of the decoded actions, before abstention.
    pub actions: Collapse,
}

/// What was fitted on validation rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// Temperatures.
    pub temperatures: FittedTemperatures,
    /// Decisions below this confidence go to the baseline.
    pub threshold: f64,
    /// Expected calibration error on the validation rows.
    pub ece: f64,
    /// Mean utility on the validation rows, with abstention; no number without rows.
    #[serde(deserialize_with = "null_is_nan")]
    pub utility: f64,
    /// Rows.
    pub rows: usize,
}

impl Calibrated {
    /// `calibration.json` of document 000 section 3.3, with the key `confidence_threshold` beside: what
    /// the export of a bundle reads.
    pub fn to_json(&self) -> Value {
        let mut document = self.temperatures.to_json(Some(self.ece), None);
        document["confidence_threshold"] = self.threshold.into();
        document
    }
}

/// Fits temperatures, then the threshold, on validation rows; a bundle brings its own. Also the answers to
/// those rows with these temperatures, all of them taken.
pub(crate) fn calibrate(
    model: &Model,
    rows: &[&DatasetRow],
    truth: Truth,
    settings: &Settings,
) -> Result<(Calibrated, Vec<Judged>)> {
    let inputs: Vec<_> = rows.iter().map(|row| row.planner_input.clone()).collect();
    let temperatures = match (model.temperatures(), model.logits(&inputs)?) {
        (None, Some(logits)) => {
            let calibration: Vec<CalibrationRow> = rows
                .iter()
                .zip(logits)
                .filter_map(|(row, logits)| {
                    let input = &row.planner_input;
                    Some(CalibrationRow {
                        logits,
                        masks: input.action_space.masks(&input.job_type),
                        targets: {
                            let target = truth.target(row, settings)?;
                            let widths = truth.space().widths();
                            Head::ALL.map(|head| target.label(head, widths))
                        },
                    })
                })
                .collect();
            FittedTemperatures::fit(&calibration)?
        }
        (Some(own), _) => FittedTemperatures::given(own),
        (None, None) => FittedTemperatures::identity(),
    };
    let judged = judge(
        model,
        rows,
        truth,
        settings,
        &temperatures.temperatures()?,
        0.0,
    )?;
    let threshold = model
        .threshold()
        .unwrap_or_else(|| threshold(&judged, settings));
    let executed = judged.iter().map(|row| row.utility_at(threshold));
    let utility = match judged.len() {
        0 => f64::NEG_INFINITY,
        rows => executed.sum::<f64>() / rows as f64,
    };
    let decisions: Vec<Decision> = judged.iter().map(|row| row.decision).collect();
    let calibrated = Calibrated {
        temperatures,
        threshold,
        ece: Reliability::of(&decisions).ece,
        utility,
        rows: judged.len(),
    };
    Ok((calibrated, judged))
}

/// Judges the answers to `rows`; rows of which the truth is not known are left out.
pub(crate) fn judge(
    model: &Model,
    rows: &[&DatasetRow],
    truth: Truth,
    settings: &Settings,
    temperatures: &Temperatures,
    threshold: f64,
) -> Result<Vec<Judged>> {
    let rows: Vec<(&DatasetRow, Target)> = rows
        .iter()
        .filter_map(|&row| Some((row, truth.target(row, settings)?)))
        .collect();
    let inputs: Vec<_> = rows
        .iter()
        .map(|(row, _)| row.planner_input.clone())
        .collect();
    let answers = model.answers(&inputs, temperatures, settings.decode, settings.minute_cost)?;
    let widths = truth.space().widths();
    let mut judged = Vec::with_capacity(rows.len());
    for ((row, target), answer) in rows.into_iter().zip(answers) {
        let (input, task) = (&row.planner_input, truth.task(row));
        let baseline = heuristic::action(input).unwrap_or(answer.action);
        let utility = |action: Action| {
            let place = |task: &Task| Some(task.utilities()[task.place(action)?]);
            task.and_then(place).unwrap_or(0.0)
        };
        let valid = input.action_space.is_valid(answer.action, &input.job_type);
        let done = if valid { answer.action } else { baseline };
        judged.push(Judged {
            issue: input.issue.issue_id.clone(),
            action: answer.action,
            best: target.best,
            baseline,
            valid,
            taken: valid && answer.confidence >= threshold,
            decision: Decision {
                confidence: answer.confidence,
                correct: correctness(&answer, &target, task),
            },
            heads: Head::ALL.map(|head| {
                let place = head.position();
                let class = answer.action.class(head);
                let probabilities = &answer.heads.as_ref()?[place];
                (answer.choices[place] > 1).then(|| Decision {
                    confidence: probabilities[class],
                    correct: f64::from(u8::from(target.best.class(head) == class)),
                })
            }),
            brier: Head::ALL.map(|head| {
                answer.heads.as_ref().map_or(0.0, |heads| {
                    let place = head.position();
                    let label = target.label(head, widths);
                    let pairs = heads[place].iter().zip(label);
                    pairs.map(|(p, label)| (p - label).powi(2)).sum()
                })
            }),
            matches: LabelMatch {
                heads: Head::ALL.map(|head| {
                    f64::from(u8::from(target.is_right(head, answer.action.class(head))))
                }),
                exact: f64::from(u8::from(target.equally_good.contains(&answer.action))),
            },
            utility: utility(done),
            baseline_utility: utility(baseline),
        });
    }
    Ok(judged)
}

fn correctness(answer: &Answer, target: &Target, task: Option<&Task>) -> f64 {
    match (answer.speaks_of, answer.weakest()) {
        (SpeaksOf::Pass, _) => task
            .and_then(|task| Some(task.pass_rate(task.place(answer.action)?)))
            .unwrap_or(0.0),
        (SpeaksOf::Class, Some(head)) => {
            let class = answer.action.class(head);
            f64::from(u8::from(target.best.class(head) == class))
        }
        _ => f64::from(u8::from(target.best == answer.action)),
    }
}

/// Most points of a coverage curve in a report.
const CURVE_POINTS: usize = 60;

/// The report of judged answers.
pub fn summarize(name: &str, judged: &[Judged], space: &ActionSpace) -> ModelReport {
    let decisions: Vec<Decision> = judged.iter().map(|row| row.decision).collect();
    let taken: Vec<Decision> = judged
        .iter()
        .filter(|row| row.taken)
        .map(|row| row.decision)
        .collect();
    let matches: Vec<LabelMatch> = judged.iter().map(|row| row.matches).collect();
    let names: Vec<(String, String)> = judged
        .iter()
        .filter_map(|row| space.named(row.action))
        .map(|action| (action.swarm_id.clone(), action.to_string()))
        .collect();
    let best: Vec<Action> = judged.iter().map(|row| row.best).collect();
    let majority = best
        .iter()
        .map(|action| best.iter().filter(|other| *other == action).count())
        .max()
        .unwrap_or(0);
    let rows = judged.len().max(1) as f64;
    let curve = curve(judged);
    let step = curve.len().div_ceil(CURVE_POINTS).max(1);
    ModelReport {
        name: name.to_owned(),
        agreement: Agreement::of(&matches),
        majority_exact: majority as f64 / rows,
        decisions: Reliability::of(&decisions),
        taken: Reliability::of(&taken),
        heads: Head::ALL.map(|head| {
            let place = head.position();
            let found: Vec<Decision> = judged.iter().filter_map(|row| row.heads[place]).collect();
            let reliability = Reliability::of(&found);
            HeadReport {
                ece: reliability.ece,
                mce: reliability.mce,
                brier: judged.iter().map(|row| row.brier[place]).sum::<f64>() / rows,
            }
        }),
        abstain_rate: judged.iter().filter(|row| !row.taken).count() as f64 / rows,
        invalid_rate: judged.iter().filter(|row| !row.valid).count() as f64 / rows,
        coverage: curve.into_iter().step_by(step).collect(),
        actions: Collapse::of(names.iter().map(|(swarm, text)| (&**swarm, &**text))),
    }
}
