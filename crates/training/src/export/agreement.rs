//! What the exported graph answers to the rows of the dataset.

use std::collections::BTreeMap;
use std::sync::Arc;

use amphora_error::{Error, Result, quoted};
use amphora_onnx::Model;
use amphora_planner::action_space::{Action, Head, HeadLogits, NamedAction};
use amphora_planner::contracts::{DatasetRow, PlannerInput, Split};
use amphora_planner::decode::{Distribution, Temperatures};
use amphora_planner::encode::{TokenBatch, Tokenizer};
use amphora_runtime::{Engine, Session, SessionOptions, Tensor};

use super::Source;
use super::documents::Calibration;
use crate::calibration::{CalibrationRow, FittedTemperatures};
use crate::dataset::Dataset;
use crate::metrics::{Decision, Reliability};

/// Rows of one run of the graph.
const BATCH: usize = 32;

/// The logits of the validation and test rows, with what was executed.
pub(super) struct Answers {
    validation: Vec<Answered>,
    test: Vec<Answered>,
}

struct Answered {
    logits: HeadLogits,
    masks: [Vec<bool>; 4],
    valid: Vec<Action>,
    label: Action,
}

/// Shares of rows on which the decision is what was executed.
pub(super) struct Shares {
    pub(super) heads: [f64; 4],
    pub(super) exact: f64,
}

/// How well the calibrated decisions agree with the labels.
pub(super) struct Agreement {
    /// Absent without validation rows.
    pub(super) validation: Option<Shares>,
    /// Absent without test rows.
    pub(super) test: Option<Shares>,
    /// The expected calibration error on the validation rows.
    pub(super) validation_ece: Option<f64>,
}

impl Answers {
    /// Runs the rows of both splits through `model`. Rows whose label is not valid in the action
    /// space teach nothing and are left out.
    pub(super) fn of(
        model: &Model,
        engine: Arc<dyn Engine>,
        source: &Source,
        dataset: &Dataset,
    ) -> Result<Self> {
        let mut session = Session::new(model, engine, &SessionOptions::default(), None)?;
        let mut answer = |split: Split| -> Result<Vec<Answered>> {
            let rows: Vec<(&DatasetRow, Action, Vec<Action>)> = dataset
                .split(split)
                .filter_map(|row| {
                    let label = &row.label_action;
                    let named = NamedAction::new(&label.swarm_id, &label.budgets);
                    let label = source.action_space.index(&named)?;
                    let valid = source
                        .action_space
                        .valid_actions(&row.planner_input.job_type);
                    valid.contains(&label).then_some((row, label, valid))
                })
                .collect();
            let mut answered = Vec::with_capacity(rows.len());
            for batch in rows.chunks(BATCH) {
                let inputs: Vec<&PlannerInput> =
                    batch.iter().map(|(row, ..)| &row.planner_input).collect();
                let logits = run(&mut session, source, &inputs)?;
                for (logits, (row, label, valid)) in logits.into_iter().zip(batch) {
                    answered.push(Answered {
                        logits,
                        masks: source.action_space.masks(&row.planner_input.job_type),
                        valid: valid.clone(),
                        label: *label,
                    });
                }
            }
            Ok(answered)
        };
        Ok(Self {
            validation: answer(Split::Val)?,
            test: answer(Split::Test)?,
        })
    }

    /// Fits a temperature for each head on the validation rows.
    pub(super) fn fit(&self) -> Result<Calibration> {
        let rows: Vec<CalibrationRow> = self
            .validation
            .iter()
            .map(|row| CalibrationRow {
                logits: row.logits.clone(),
                masks: row.masks.clone(),
                targets: Head::ALL.map(|head| {
                    let mut target = vec![0.0; row.masks[head.position()].len()];
                    target[row.label.class(head)] = 1.0;
                    target
                }),
            })
            .collect();
        Ok(Calibration {
            temperatures: FittedTemperatures::fit(&rows)?.values(),
            threshold: None,
            supplied: None,
        })
    }

    pub(super) fn measure(&self, temperatures: &[f64; 4]) -> Result<Agreement> {
        let temperatures = Temperatures::new(*temperatures)?;
        let (validation, decisions) = shares(&self.validation, &temperatures)?;
        let (test, _) = shares(&self.test, &temperatures)?;
        Ok(Agreement {
            validation_ece: validation.as_ref().map(|_| Reliability::of(&decisions).ece),
            validation,
            test,
        })
    }
}

fn shares(
    rows: &[Answered],
    temperatures: &Temperatures,
) -> Result<(Option<Shares>, Vec<Decision>)> {
    let mut hits = [0_usize; 4];
    let mut exact = 0;
    let mut decisions = Vec::with_capacity(rows.len());
    for row in rows {
        let distribution = Distribution::new(&row.logits, &row.masks, temperatures)?;
        let Some(best) = distribution.best(&row.valid) else {
            continue;
        };
        for head in Head::ALL {
            let hit = best.action.class(head) == row.label.class(head);
            hits[head.position()] += usize::from(hit);
        }
        exact += usize::from(best.action == row.label);
        // The confidence is the probability of the least certain class, so that class is judged.
        let probability = |head: &Head| distribution.probability(*head, best.action.class(*head));
        let weakest = Head::ALL
            .into_iter()
            .min_by(|a, b| probability(a).total_cmp(&probability(b)));
        let right = weakest.is_some_and(|h| best.action.class(h) == row.label.class(h));
        decisions.push(Decision {
            confidence: best.confidence,
            correct: f64::from(u8::from(right)),
        });
    }
    let n = decisions.len() as f64;
    let shares = (!decisions.is_empty()).then(|| Shares {
        heads: hits.map(|hits| hits as f64 / n),
        exact: exact as f64 / n,
    });
    Ok((shares, decisions))
}

fn run(
    session: &mut Session,
    source: &Source,
    inputs: &[&PlannerInput],
) -> Result<Vec<HeadLogits>> {
    let named: BTreeMap<String, Tensor> = match &source.vocabulary {
        None => {
            let width = source.schema.width();
            let mut dense = Vec::with_capacity(inputs.len() * width);
            for input in inputs {
                dense.extend(source.schema.encode(input).to_dense(width));
            }
            BTreeMap::from([(
                "input".to_owned(),
                Tensor::new([inputs.len(), width], dense)?,
            )])
        }
        Some(vocabulary) => {
            let tokenizer = Tokenizer::new(source.tokenizer, vocabulary.clone())?;
            let ids: Vec<Vec<u32>> = inputs.iter().map(|input| tokenizer.ids(input)).collect();
            let batch = TokenBatch::new(&ids);
            let shape = [inputs.len(), batch.sequence_length];
            BTreeMap::from([
                ("input_ids".to_owned(), Tensor::new(shape, batch.input_ids)?),
                (
                    "attention_mask".to_owned(),
                    Tensor::new(shape, batch.attention_mask)?,
                ),
            ])
        }
    };
    let outputs = session.run(&named)?;
    let mut logits = vec![HeadLogits::default(); inputs.len()];
    for head in Head::ALL {
        let output = outputs.get(head.onnx_name());
        let values = output.and_then(|tensor| tensor.as_slice::<f32>());
        let values = values.ok_or_else(|| {
            Error::incompatible("export-heads", "an output of a head is missing")
                .at(format!("output {}", quoted(head.onnx_name())))
        })?;
        let width = source.action_space.width(head);
        for (logits, row) in logits.iter_mut().zip(values.chunks_exact(width)) {
            logits[head.position()] = row.to_vec();
        }
    }
    Ok(logits)
}
