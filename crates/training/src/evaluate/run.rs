//! Evaluating one model on held-out rows.

use std::collections::BTreeSet;

use amphora_error::{Error, Result};
use amphora_planner::contracts::{DatasetRow, Split};
use amphora_planner::heuristic;
use amphora_planner::replay::Trials;
use serde::{Deserialize, Serialize};

use crate::crossvalidate::{CrossValidation, SHIPPED};
use crate::dataset::Dataset;
use crate::metrics::Histogram;
use crate::train::TrainingReport;

use super::judge::Calibrated;
use super::snapshot::Drift;
use super::{
    Choice, Choices, FIXED, Gate, GateReport, HEURISTIC, Judged, Measured, Model, ModelReport,
    Outcomes, PolicyReport, Settings, Snapshot, Truth, calibrate, compare, judge, measure,
    summarize,
};

/// What is evaluated.
pub struct EvaluateRequest<'a> {
    /// The dataset; the model is judged on its test rows, calibrated on its validation rows.
    pub dataset: &'a Dataset,
    /// The recorded trials; without them a model is compared with what was executed, and outcomes are
    /// not known.
    pub trials: Option<&'a Trials>,
    /// The model.
    pub model: &'a Model,
    /// How.
    pub settings: &'a Settings,
}

/// Every number of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// [`Evaluation::SCHEMA`].
    pub schema_version: String,
    /// The dataset.
    pub dataset_hash: String,
    /// How it was done.
    pub settings: Settings,
    /// Rows judged.
    pub rows: usize,
    /// Tasks they are of.
    pub tasks: usize,
    /// Rows that began after a replayed trial of their issue had ended: their history may hold the very
    /// outcome that is replayed. 0 when history and replay are of different toolchains or times.
    pub rows_that_may_know_outcomes: usize,
    /// Every policy, on the same rows.
    pub policies: Vec<PolicyReport>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelReport>,
    /// What was fitted on validation rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<Calibrated>,
    /// The model's training curves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingReport>,
    /// Trained and held out by itself, by task and by time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_validation: Option<CrossValidation>,
    /// What a later report compares itself with.
    pub snapshot: Snapshot,
    /// Drift from an older report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// The gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateReport>,
}

impl Evaluation {
    /// The `schema_version`.
    pub const SCHEMA: &'static str = "amphora.planner_evaluation.v1";

    /// Reads a report, for example to compare with it.
    ///
    /// # Errors
    ///
    /// Malformed for another document.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let report: Self = amphora_files::json::parse_into(bytes)?;
        if report.schema_version != Self::SCHEMA {
            return Err(
                Error::malformed("evaluation-schema", "this is no evaluation report")
                    .expected(Self::SCHEMA),
            );
        }
        Ok(report)
    }

    /// Puts the evaluated policy before a gate: the shipped policy on held-out tasks where there was a
    /// cross-validation, else the model.
    ///
    /// # Errors
    ///
    /// Usage (`gate-outcomes`) when no outcomes were replayed.
    pub fn judge(&mut self, gate: Gate) -> Result<()> {
        let policy = match (&self.cross_validation, &self.model) {
            (Some(found), _) => found.by_task.policy(SHIPPED),
            (None, Some(model)) => self.policies.iter().find(|p| p.name == model.name),
            (None, None) => None,
        };
        let policy = policy.ok_or_else(|| {
            Error::usage("gate-outcomes", "a gate needs outcomes to compare")
                .hint("give recorded trials with --trials")
        })?;
        self.gate = Some(GateReport::of(gate, policy));
        Ok(())
    }
}

/// Evaluates a model on the test rows of a dataset.
///
/// Nothing here knows what the model was trained on: for numbers that hold for tasks nobody has seen,
/// cross-validate.
///
/// # Errors
///
/// Incompatible: `evaluation-empty` without test rows or trials of their issues,
/// `evaluation-action-space` when the model chooses from another action space; those of the model.
pub fn evaluate(request: &EvaluateRequest) -> Result<Evaluation> {
    let settings = request.settings;
    let inputs = || request.dataset.rows.iter().map(|row| &row.planner_input);
    let outcomes = request
        .trials
        .map(|trials| Outcomes::replay(inputs(), trials, settings))
        .transpose()?;
    let space = request.model.action_space();
    if inputs().any(|input| input.action_space != *space) {
        return Err(Error::incompatible(
            "evaluation-action-space",
            "the model chooses from another action space than the dataset's",
        )
        .hint("evaluate on a dataset that was built with the model's action space"));
    }
    let learned = request.dataset.split(Split::Train);
    let learned = learned.map(|row| &row.planner_input.issue.issue_id);
    let ties = outcomes
        .as_ref()
        .map(|outcomes| outcomes.tie_break(learned))
        .unwrap_or_default();
    let truth = outcomes.as_ref().map_or(Truth::Labels(space), |outcomes| {
        Truth::Replayed(outcomes, &ties)
    });
    let rows = |split| {
        let of_split = request.dataset.split(split);
        let known = |row: &&DatasetRow| {
            let issue = &row.planner_input.issue.issue_id;
            let replayed = |outcomes: &Outcomes| outcomes.tasks.contains_key(issue);
            outcomes.as_ref().is_none_or(replayed)
        };
        of_split.filter(known).collect::<Vec<&DatasetRow>>()
    };
    let (validation, test) = (rows(Split::Val), rows(Split::Test));
    if test.is_empty() {
        return Err(Error::incompatible(
            "evaluation-empty",
            "no test row of the dataset is of an issue that trials are recorded of",
        ));
    }
    let (calibrated, _) = calibrate(request.model, &validation, truth, settings)?;
    let judged = judge(
        request.model,
        &test,
        truth,
        settings,
        &calibrated.temperatures.temperatures()?,
        calibrated.threshold,
    )?;
    let name = request.model.name();
    let mut measured = Vec::new();
    if let Some(outcomes) = &outcomes {
        let cost = settings.minute_cost;
        measured = baselines(&test, outcomes, cost);
        measured.push(measure(&executed(name, &judged), outcomes, cost));
    }
    let tasks: BTreeSet<&String> = judged.iter().map(|row| &row.issue).collect();
    let model = summarize(name, &judged, space);
    let mut snapshot = Snapshot::of(test.iter().map(|row| &row.planner_input));
    remember(&mut snapshot, &model);
    Ok(Evaluation {
        schema_version: Evaluation::SCHEMA.to_owned(),
        dataset_hash: request.dataset.meta.dataset_hash.clone(),
        settings: settings.clone(),
        rows: test.len(),
        tasks: tasks.len(),
        rows_that_may_know_outcomes: request
            .trials
            .map_or(0, |trials| may_know(&test, trials, settings)),
        policies: compare(&measured, &settings.bootstrap),
        model: Some(model),
        calibrated: Some(calibrated),
        training: None,
        cross_validation: None,
        snapshot,
        drift: None,
        gate: None,
    })
}

/// The report of a cross-validation: its policies on held-out tasks, and the shipped policy as the model.
pub fn cross_validated(
    dataset: &Dataset,
    trials: &Trials,
    settings: &Settings,
    found: CrossValidation,
) -> Evaluation {
    let rows: Vec<&DatasetRow> = dataset.rows.iter().collect();
    let mut snapshot = Snapshot::of(rows.iter().map(|row| &row.planner_input));
    if let Some(model) = found.by_task.model(SHIPPED) {
        remember(&mut snapshot, model);
    }
    Evaluation {
        schema_version: Evaluation::SCHEMA.to_owned(),
        dataset_hash: dataset.meta.dataset_hash.clone(),
        settings: settings.clone(),
        rows: found.by_task.rows,
        tasks: found.by_task.tasks,
        rows_that_may_know_outcomes: may_know(&rows, trials, settings),
        policies: Vec::new(),
        model: None,
        calibrated: None,
        training: None,
        cross_validation: Some(found),
        snapshot,
        drift: None,
        gate: None,
    }
}

/// What a snapshot keeps of a model.
fn remember(snapshot: &mut Snapshot, model: &ModelReport) {
    snapshot.actions = model
        .actions
        .counts
        .iter()
        .map(|(action, count)| (action.clone(), *count as u64))
        .collect::<Histogram>();
    snapshot.ece = model.decisions.ece;
    snapshot.confidence = model.decisions.confidence;
    snapshot.accuracy = model.decisions.accuracy;
}

/// How many rows began after a trial that the replay draws for their issue had ended.
fn may_know(rows: &[&DatasetRow], trials: &Trials, settings: &Settings) -> usize {
    let replayed = trials.filtered(|trial| settings.toolchains.contains(&trial.toolchain));
    rows.iter()
        .filter(|row| {
            replayed.as_slice().iter().any(|trial| {
                trial.issue_id == row.planner_input.issue.issue_id
                    && trial.started_ms + trial.duration_ms <= row.started_ms
            })
        })
        .count()
}

/// The choices of a judged model, abstention included.
pub(crate) fn executed(name: &str, judged: &[Judged]) -> Choices {
    Choices {
        name: name.to_owned(),
        rows: judged
            .iter()
            .map(|row| (row.issue.clone(), Choice::Action(row.executed())))
            .collect(),
    }
}

/// Every policy that needs no training, on `rows`: each fixed action, heuristic, uniform, the best per
/// task, the oracle.
pub(crate) fn baselines(
    rows: &[&DatasetRow],
    outcomes: &Outcomes,
    minute_cost: f64,
) -> Vec<Measured> {
    let issue = |row: &&DatasetRow| row.planner_input.issue.issue_id.clone();
    let same = |name: &str, choice: Choice| Choices {
        name: name.to_owned(),
        rows: rows.iter().map(|row| (issue(row), choice)).collect(),
    };
    let mut fixed: Vec<_> = outcomes
        .tasks
        .values()
        .flat_map(|task| task.actions.iter().copied())
        .collect();
    fixed.sort_unstable();
    fixed.dedup();
    let mut policies: Vec<Choices> = fixed
        .into_iter()
        .filter(|action| {
            let everywhere = |row: &&DatasetRow| {
                outcomes
                    .tasks
                    .get(&issue(row))
                    .is_none_or(|task| task.place(*action).is_some())
            };
            rows.iter().all(everywhere)
        })
        .filter_map(|action| {
            let name = format!("{FIXED}{}", outcomes.space.named(action)?);
            Some(same(&name, Choice::Action(action)))
        })
        .collect();
    policies.push(Choices {
        name: HEURISTIC.to_owned(),
        rows: rows
            .iter()
            .filter_map(|row| {
                let action = heuristic::action(&row.planner_input)?;
                Some((issue(row), Choice::Action(action)))
            })
            .collect(),
    });
    policies.push(same("uniform", Choice::Uniform));
    policies.push(same("best-per-task", Choice::Expected));
    policies.push(same("oracle", Choice::Hindsight));
    policies
        .iter()
        .map(|choices| measure(choices, outcomes, minute_cost))
        .collect()
}
