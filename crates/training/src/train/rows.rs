//! Decisions to learn from, and how they become examples.

use amphora_checkpoint::architecture::Architecture;
use amphora_error::{Error, Result, quoted};
use amphora_planner::action_space::{Action, ActionSpace, Head, NamedAction};
use amphora_planner::contracts::{Budgets, DatasetRow, PlannerInput, RunStatus};
use amphora_planner::encode::{FeatureSchema, Tokenizer, TokenizerConfig, Vocabulary};
use serde_json::json;

use super::config::{ModelKind, TrainConfig};
use super::examples::{Examples, Targets, VALUE_HEADS};
use crate::bench::{Candidate, StageBRow};
use crate::loss::{ClassTarget, HeadTarget, OutcomeTarget};
use crate::model::Entry;

/// A decision: what was known, what should have been chosen, what actions came to.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingRow {
    /// What was known.
    pub input: PlannerInput,
    /// What a policy should choose; a row without it trains a value model only.
    pub label: Option<Label>,
    /// What actions came to; a policy does not read it.
    pub outcomes: Vec<ActionOutcome>,
    /// How much the row counts; positive.
    pub weight: f64,
}

impl TrainingRow {
    /// A decision of a dataset: stage A learns what was executed.
    ///
    /// # Errors
    ///
    /// Incompatible (`training-label`) when the action space does not have the executed action.
    pub fn of_decision(row: &DatasetRow) -> Result<Self> {
        let label = &row.label_action;
        let action = class_of(&row.planner_input, &label.swarm_id, &label.budgets)
            .map_err(|error| error.at(format!("run {}", quoted(&row.run_id))))?;
        Ok(Self {
            input: row.planner_input.clone(),
            label: Some(Label::Action(action)),
            outcomes: Vec::new(),
            weight: 1.0,
        })
    }

    /// A decision of a bench: stage B learns the winner, a value model every outcome.
    ///
    /// # Errors
    ///
    /// As [`Self::of_decision`].
    pub fn of_bench(row: &StageBRow) -> Result<Self> {
        let place = |error: Error| error.at(format!("run {}", quoted(&row.run_id)));
        let input = &row.planner_input;
        let label = row.label_action.as_ref();
        let label = label.map(|label| class_of(input, &label.swarm_id, &label.budgets));
        let outcome = |candidate: &Candidate| {
            let action = &candidate.action;
            Ok(ActionOutcome {
                action: class_of(input, &action.swarm_id, &action.budgets())?,
                passed: candidate.outcome.all_gates_passed,
                timed_out: candidate.outcome.status == RunStatus::Timeout,
                cut: candidate.outcome.cut || candidate.outcome.status == RunStatus::Timeout,
                agent_ms: candidate.outcome.agent_ms,
            })
        };
        let outcomes = row.candidates.iter().map(outcome);
        Ok(Self {
            input: input.clone(),
            label: label.transpose().map_err(place)?.map(Label::Action),
            outcomes: outcomes.collect::<Result<_>>().map_err(place)?,
            weight: 1.0,
        })
    }
}

fn class_of(input: &PlannerInput, swarm_id: &str, budgets: &Budgets) -> Result<Action> {
    let named = NamedAction::new(swarm_id, budgets);
    input.action_space.index(&named).ok_or_else(|| {
        Error::incompatible(
            "training-label",
            "the action space does not have the action of a row",
        )
    })
}

/// What a policy should choose.
#[derive(Debug, Clone, PartialEq)]
pub enum Label {
    /// This action.
    Action(Action),
    /// For each head, how much each class is to be preferred; they need not sum to one. Not for the
    /// joint model.
    Shares([Vec<f32>; 4]),
}

/// What one action came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActionOutcome {
    /// The action.
    pub action: Action,
    /// Whether every gate passed.
    pub passed: bool,
    /// Whether nothing passed and the longest run was cut at its minutes.
    pub timed_out: bool,
    /// Whether any run was cut, even where another passed: the time of work is then a lower bound.
    pub cut: bool,
    /// Milliseconds of work, summed over the candidates.
    pub agent_ms: u64,
}

impl ActionOutcome {
    /// 1 for a pass, less `minute_cost` for each agent minute.
    pub fn utility(&self, minute_cost: f64) -> f64 {
        f64::from(u8::from(self.passed)) - minute_cost * self.agent_ms as f64 / 60_000.0
    }
}

/// How inputs become entries.
#[derive(Debug, Clone)]
pub(crate) enum Encoder {
    Features(FeatureSchema),
    Tokens(Box<Tokenizer>),
}

impl Encoder {
    /// The encoder of a model for `action_space`; `universes` are known to a token model's vocabulary.
    pub(crate) fn new<'a>(
        config: &TrainConfig,
        action_space: &ActionSpace,
        universes: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self> {
        let schema = FeatureSchema::new(action_space, config.similar_runs);
        if !config.model.reads_tokens() {
            return Ok(Self::Features(schema));
        }
        let tokenizer = TokenizerConfig {
            max_tokens_per_run: config.tokens_per_run,
            max_len: config.sizes.max_len as usize,
            ..TokenizerConfig::new(&schema)
        };
        let vocabulary = Vocabulary::new(action_space, universes);
        Ok(Self::Tokens(Box::new(Tokenizer::new(
            tokenizer, vocabulary,
        )?)))
    }

    pub(crate) fn entry(&self, input: &PlannerInput) -> Entry {
        match self {
            Self::Features(schema) => {
                let features = schema.encode(input);
                Entry::Features {
                    indices: features.indices,
                    values: features.values,
                }
            }
            Self::Tokens(tokenizer) => Entry::Tokens(tokenizer.ids(input)),
        }
    }
}

/// A model's task: its action space, its encoder, its architecture.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) config: TrainConfig,
    pub(crate) action_space: ActionSpace,
    pub(crate) encoder: Encoder,
    /// Every action that is valid in a job of some type, ascending: the classes of a joint model.
    pub(crate) union: Vec<Action>,
    pub(crate) architecture: Architecture,
}

impl Task {
    pub(crate) fn new(
        config: &TrainConfig,
        action_space: &ActionSpace,
        encoder: Encoder,
    ) -> Result<Self> {
        config.check()?;
        let union = union_of_valid_actions(action_space);
        let heads: serde_json::Map<_, _> = match config.model {
            ModelKind::Joint => [(JOINT_HEAD.to_owned(), json!(union.len()))]
                .into_iter()
                .collect(),
            ModelKind::Value => VALUE_HEADS
                .iter()
                .map(|(name, width)| ((*name).to_owned(), json!(width)))
                .collect(),
            _ => Head::ALL
                .iter()
                .map(|head| {
                    (
                        head.onnx_name().to_owned(),
                        json!(action_space.width(*head)),
                    )
                })
                .collect(),
        };
        let architecture = architecture(config, &encoder, action_space, heads)?;
        Ok(Self {
            config: config.clone(),
            action_space: action_space.clone(),
            encoder,
            union,
            architecture,
        })
    }

    /// The entry of a value model: the input's features and, behind them, one feature for each part of
    /// the action.
    pub(crate) fn with_action(&self, input: &Entry, action: Action) -> Entry {
        let mut entry = input.clone();
        if let (Entry::Features { indices, values }, Encoder::Features(schema)) =
            (&mut entry, &self.encoder)
        {
            let mut offset = schema.width();
            for (class, width) in action.classes().into_iter().zip(self.action_space.widths()) {
                indices.push((offset + class) as u32);
                values.push(1.0);
                offset += width;
            }
        }
        entry
    }

    /// Whether each class of a joint model is valid in a job of `job_type`.
    pub(crate) fn joint_mask(&self, job_type: &str) -> Vec<bool> {
        let valid = |action: &Action| self.action_space.is_valid(*action, job_type);
        self.union.iter().map(valid).collect()
    }

    /// The rows as this model's examples.
    ///
    /// # Errors
    ///
    /// Incompatible: `training-action-space` for a row with another action space than the first,
    /// `training-label` for a row that does not say what this model learns.
    pub(crate) fn examples(&self, rows: &[TrainingRow]) -> Result<Examples> {
        let mut entries = Vec::with_capacity(rows.len());
        let mut weights = Vec::with_capacity(rows.len());
        let (mut classes, mut outcomes) = (Vec::new(), Vec::new());
        for (number, row) in rows.iter().enumerate() {
            let place = |error: Error| {
                let issue = quoted(&row.input.issue.issue_id).to_string();
                error.at(format!("row {}, issue {issue}", number + 1))
            };
            if row.input.action_space != self.action_space {
                return Err(place(Error::incompatible(
                    "training-action-space",
                    "the rows have different action spaces",
                )));
            }
            let entry = self.encoder.entry(&row.input);
            if self.config.model == ModelKind::Value {
                for outcome in &row.outcomes {
                    entries.push(self.with_action(&entry, outcome.action));
                    weights.push(row.weight);
                    outcomes.push(target_of(outcome));
                }
            } else {
                entries.push(entry);
                weights.push(row.weight);
                classes.push(self.heads_of(row).map_err(place)?);
            }
        }
        Ok(Examples {
            entries,
            weights,
            targets: match self.config.model {
                ModelKind::Value => Targets::Outcomes(outcomes),
                _ => Targets::Classes(classes),
            },
        })
    }

    fn heads_of(&self, row: &TrainingRow) -> Result<Vec<HeadTarget>> {
        let refused = |message: &str| Error::incompatible("training-label", message);
        let job_type = row.input.job_type.as_str();
        let label = row
            .label
            .as_ref()
            .ok_or_else(|| refused("a row has no label"))?;
        if let Label::Action(action) = label
            && !self.action_space.is_valid(*action, job_type)
        {
            return Err(refused("a label is not valid in the action space"));
        }
        if self.config.model == ModelKind::Joint {
            let Label::Action(action) = label else {
                return Err(refused("the joint model learns from single actions only"));
            };
            let class = self.union.binary_search(action);
            return Ok(vec![HeadTarget {
                target: ClassTarget::Class(class.map_err(|_| refused("a label is not valid"))?),
                valid: self.joint_mask(job_type),
            }]);
        }
        let masks = self.action_space.masks(job_type);
        let target = |head: usize| match label {
            Label::Action(action) => ClassTarget::Class(action.classes()[head]),
            Label::Shares(shares) => ClassTarget::Soft(shares[head].clone()),
        };
        Ok(masks
            .into_iter()
            .enumerate()
            .map(|(head, valid)| HeadTarget {
                target: target(head),
                valid,
            })
            .collect())
    }
}

/// The output of a joint model.
const JOINT_HEAD: &str = "action";

/// Every action that is valid for a job type that the rules name, or for any other, ascending.
fn union_of_valid_actions(action_space: &ActionSpace) -> Vec<Action> {
    let named = action_space.job_types();
    let mut union: Vec<Action> = named
        .into_iter()
        .chain([""])
        .flat_map(|job_type| action_space.valid_actions(job_type))
        .collect();
    union.sort_unstable();
    union.dedup();
    union
}

fn target_of(outcome: &ActionOutcome) -> OutcomeTarget {
    OutcomeTarget {
        passed: outcome.passed,
        timed_out: outcome.timed_out,
        censored: outcome.cut,
        // A run of no time at all counts as a millisecond: its logarithm is finite.
        log_seconds: (outcome.agent_ms.max(1) as f64 / 1000.0).ln(),
    }
}

fn architecture(
    config: &TrainConfig,
    encoder: &Encoder,
    action_space: &ActionSpace,
    heads: serde_json::Map<String, serde_json::Value>,
) -> Result<Architecture> {
    let sizes = &config.sizes;
    let description = match encoder {
        Encoder::Features(schema) => {
            let action: usize = match config.model {
                ModelKind::Value => action_space.widths().iter().sum(),
                _ => 0,
            };
            json!({
                "model_type": "mlp", "d_in": schema.width() + action, "d_hidden": sizes.d_hidden,
                "n_layers": sizes.n_layers, "heads": heads,
            })
        }
        Encoder::Tokens(tokenizer) if config.model == ModelKind::Transformer => json!({
            "model_type": "transformer", "vocab_size": tokenizer.vocabulary().len(),
            "d_model": sizes.d_model, "n_layers": sizes.n_layers, "n_heads": sizes.n_heads,
            "d_ff": sizes.d_ff, "max_len": sizes.max_len, "heads": heads,
        }),
        Encoder::Tokens(tokenizer) => json!({
            "model_type": "urm", "vocab_size": tokenizer.vocabulary().len(),
            "d_model": sizes.d_model, "n_heads": sizes.n_heads, "d_inner": sizes.d_inner,
            "loops": sizes.loops, "max_len": sizes.max_len, "heads": heads,
            "mlp": if sizes.conv_kernel > 0 { "conv_swiglu" } else { "swiglu" },
            "conv_kernel": (sizes.conv_kernel > 0).then_some(sizes.conv_kernel),
        }),
    };
    Architecture::from_config(&description)
}
