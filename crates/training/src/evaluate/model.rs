//! What is evaluated: a checkpoint or a bundle.

use std::path::Path;

use amphora_error::{Error, Result};
use amphora_planner::action_space::{Action, ActionSpace, Head, HeadLogits};
use amphora_planner::bundle::PlannerBundle;
use amphora_planner::contracts::{Bin, PlannerInput};
use amphora_planner::decode::Temperatures;

use crate::train::{Decoding, ModelKind, TrainedModel};

use super::decode::{Decode, conditioned, independent};

/// A model that answers inputs.
pub enum Model {
    /// A checkpoint.
    Trained(Box<TrainedModel>),
    /// A bundle, which brings its temperatures.
    Bundle(Box<PlannerBundle>),
}

/// What a model would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The decoded action.
    pub action: Action,
    /// The probability of what [`Self::speaks_of`] says.
    pub confidence: f64,
    /// What the confidence is a probability of.
    pub speaks_of: SpeaksOf,
    /// Calibrated probabilities of every head; only where heads are decoded, not whole actions.
    pub heads: Option<[Vec<f64>; 4]>,
    /// How many classes each head chose among; 0 where whole actions are decoded.
    pub choices: [usize; 4],
}

/// What a confidence is a probability of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeaksOf {
    /// The decoded class of the least certain head: wherever heads are decoded.
    Class,
    /// The whole action: joint models, and conditioned heads whose valid actions are compared.
    Action,
    /// That the action passes: value models.
    Pass,
}

impl Answer {
    /// The head that the confidence is of.
    pub fn weakest(&self) -> Option<Head> {
        let heads = self.heads.as_ref()?;
        Head::ALL.into_iter().min_by(|a, b| {
            let of = |head: &Head| heads[head.position()][self.action.class(*head)];
            of(a).total_cmp(&of(b))
        })
    }
}

impl Model {
    /// Opens a checkpoint that training wrote, or a bundle.
    ///
    /// # Errors
    ///
    /// Those of [`TrainedModel::open`] for a directory with a training report, else those of
    /// [`PlannerBundle::open`].
    pub fn open(path: &Path) -> Result<Self> {
        if path.join(crate::train::REPORT).is_file() {
            return Ok(Self::Trained(Box::new(TrainedModel::open(path)?)));
        }
        Ok(Self::Bundle(Box::new(PlannerBundle::open(path)?)))
    }

    /// What reports call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Trained(model) => model.config().model.name(),
            Self::Bundle(bundle) => bundle.name(),
        }
    }

    /// The actions it chooses from.
    pub fn action_space(&self) -> &ActionSpace {
        match self {
            Self::Trained(model) => model.action_space(),
            Self::Bundle(bundle) => bundle.action_space(),
        }
    }

    /// The temperatures that it brings.
    pub fn temperatures(&self) -> Option<[f64; 4]> {
        match self {
            Self::Trained(_) => None,
            Self::Bundle(bundle) => Some(bundle.temperatures()),
        }
    }

    /// The confidence below which it leaves decisions to the baseline, if it brings one.
    pub fn threshold(&self) -> Option<f64> {
        match self {
            Self::Trained(_) => None,
            Self::Bundle(bundle) => bundle.threshold(),
        }
    }

    /// The raw logits of each input; `None` for a model without independent heads.
    ///
    /// # Errors
    ///
    /// Those of the model.
    pub fn logits(&self, inputs: &[PlannerInput]) -> Result<Option<Vec<HeadLogits>>> {
        match self {
            Self::Trained(model) => {
                let config = model.config();
                let independent = config.decoding == Decoding::MultiHead
                    && !matches!(config.model, ModelKind::Joint | ModelKind::Value);
                independent.then(|| model.logits(inputs)).transpose()
            }
            Self::Bundle(bundle) => inputs
                .iter()
                .map(|input| bundle.logits(input))
                .collect::<Result<Vec<_>>>()
                .map(Some),
        }
    }

    /// What it would do on each input, decoded as `decode` says. Temperatures count only where heads are
    /// independent.
    ///
    /// # Errors
    ///
    /// Those of the model; incompatible (`action-space-no-action`) when a job has no valid action.
    pub fn answers(
        &self,
        inputs: &[PlannerInput],
        temperatures: &Temperatures,
        decode: Decode,
        minute_cost: f64,
    ) -> Result<Vec<Answer>> {
        if let Some(logits) = self.logits(inputs)? {
            return inputs
                .iter()
                .zip(&logits)
                .map(|(input, logits)| independent(input, logits, temperatures, decode))
                .collect();
        }
        let Self::Trained(model) = self else {
            return Ok(Vec::new());
        };
        if model.config().model == ModelKind::Value {
            return inputs
                .iter()
                .map(|input| valued(model, input, minute_cost))
                .collect();
        }
        if model.config().decoding == Decoding::Autoregressive && decode != Decode::Joint {
            return inputs
                .iter()
                .map(|input| conditioned(model, input, decode))
                .collect();
        }
        let ranked = model.action_log_probabilities(inputs)?;
        ranked
            .iter()
            .map(|actions| {
                let mut best = *actions.first().ok_or_else(no_action)?;
                for candidate in actions {
                    if candidate.1 > best.1 + amphora_planner::decode::TIE {
                        best = *candidate;
                    }
                }
                Ok(Answer {
                    action: best.0,
                    confidence: best.1.exp(),
                    speaks_of: SpeaksOf::Action,
                    heads: None,
                    choices: [0; 4],
                })
            })
            .collect()
    }
}

pub(super) fn no_action() -> Error {
    Error::incompatible(
        "action-space-no-action",
        "the rules of the action space allow no action for this job",
    )
}

/// The valid action of the highest expected utility.
fn valued(model: &TrainedModel, input: &PlannerInput, minute_cost: f64) -> Result<Answer> {
    let space = &input.action_space;
    let valid = space.valid_actions(&input.job_type);
    let values = model.values(input, &valid)?;
    let mut best: Option<(f64, Answer)> = None;
    for (action, value) in valid.iter().zip(values) {
        let minutes = value.expected_minutes(most_minutes(space, *action));
        let utility = value.p_pass - minute_cost * minutes;
        if best.as_ref().is_none_or(|(most, _)| utility > most + 1e-12) {
            let answer = Answer {
                action: *action,
                confidence: value.p_pass,
                speaks_of: SpeaksOf::Pass,
                heads: None,
                choices: [0; 4],
            };
            best = Some((utility, answer));
        }
    }
    best.map(|(_, answer)| answer).ok_or_else(no_action)
}

/// The most agent minutes that an action can take, if it has a limit.
fn most_minutes(space: &ActionSpace, action: Action) -> Option<f64> {
    let plan = amphora_planner::replay::Plan::of(&space.named(action)?)?;
    let Bin::Count(minutes) = space.named(action)?.max_minutes_bin else {
        return None;
    };
    Some(f64::from(minutes) * plan.runs as f64)
}
