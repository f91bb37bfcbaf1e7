//! Who predicts.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use amphora_error::{Error, Result};

use crate::action_space::{ActionSpace, HeadLogits};
use crate::bundle::{PlannerBundle, toolchains_digest};
use crate::contracts::{ActionVersion, ModelReference, PlannerAction, PlannerInput};
use crate::decode::Temperatures;
use crate::heuristic;

/// What a model answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    /// The logits of its heads, still to be decoded.
    Logits(HeadLogits),
    /// An action, as a rule or another process gives it.
    Action(Box<PlannerAction>),
}

/// Asks a model.
pub(super) type Predict = Arc<dyn Fn(&PlannerInput) -> Result<Prediction> + Send + Sync>;

/// A model, or why there is none.
#[derive(Clone)]
pub struct Policy {
    pub(super) model: ModelReference,
    /// The space of a model's classes; a rule follows the input's.
    pub(super) action_space: Option<ActionSpace>,
    pub(super) temperatures: Temperatures,
    /// The toolchains that it was made for, if it says so.
    pub(super) toolchains: Option<Toolchains>,
    /// Whether it is known to answer soon, so that it needs no thread of its own.
    pub(super) quick: bool,
    pub(super) predict: Result<Predict, Missing>,
}

/// The toolchains that a model was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Toolchains {
    /// See [`toolchains_digest`].
    pub(super) digest: String,
    /// In their order, where the model names them.
    pub(super) names: Option<Vec<String>>,
}

/// Why there is no model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    Unavailable(String),
    Mismatch(String),
}

impl Policy {
    /// A model with the classes of `action_space`. `predict` is asked in a thread of its own, so that
    /// a decision is never later than its deadline.
    pub fn new(
        model: ModelReference,
        action_space: ActionSpace,
        temperatures: Temperatures,
        predict: impl Fn(&PlannerInput) -> Result<Prediction> + Send + Sync + 'static,
    ) -> Self {
        Self {
            model,
            action_space: Some(action_space),
            temperatures,
            toolchains: None,
            quick: false,
            predict: Ok(Arc::new(predict)),
        }
    }

    /// The same, asked in the thread that decides: for models that answer in microseconds.
    #[must_use]
    pub fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    /// The same, made for these toolchains: see [`super::Settings::toolchains`].
    #[must_use]
    pub fn for_toolchains(mut self, toolchains: Vec<String>) -> Self {
        self.toolchains = Some(Toolchains {
            digest: toolchains_digest(&toolchains),
            names: Some(toolchains),
        });
        self
    }

    /// The rule that needs no model; see [`heuristic::action`]. It claims no confidence.
    pub fn heuristic() -> Self {
        let model = ModelReference {
            checkpoint_id: heuristic::CHECKPOINT_ID.to_owned(),
            version: None,
            git_sha: None,
        };
        let answer = model.clone();
        Self {
            model,
            action_space: None,
            temperatures: Temperatures::ONE,
            toolchains: None,
            quick: true,
            predict: Ok(Arc::new(move |input| {
                let action = heuristic::action(input)
                    .and_then(|action| input.action_space.named(action))
                    .ok_or_else(|| {
                        Error::malformed("action-space-no-action", "no action is valid")
                    })?;
                Ok(Prediction::Action(Box::new(PlannerAction {
                    schema_version: ActionVersion,
                    created_at: input.created_at.clone(),
                    budgets: action.budgets(),
                    swarm_id: action.swarm_id,
                    probs: None,
                    confidence: None,
                    abstain_to_default: false,
                    reason: None,
                    model: Some(answer.clone()),
                    input_hash: None,
                })))
            })),
        }
    }

    /// The model of a bundle. One that runs without an engine is asked in the thread that decides.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] for temperatures that are none.
    pub fn bundle(bundle: PlannerBundle) -> Result<Self> {
        let model = ModelReference {
            checkpoint_id: bundle.name().to_owned(),
            version: bundle.version().map(str::to_owned),
            git_sha: bundle.git_sha().map(str::to_owned),
        };
        Ok(Self {
            model,
            action_space: Some(bundle.action_space().clone()),
            temperatures: Temperatures::new(bundle.temperatures())?,
            toolchains: toolchains(&bundle),
            quick: bundle.is_sparse(),
            predict: Ok(Arc::new(move |input| {
                bundle.logits(input).map(Prediction::Logits)
            })),
        })
    }

    /// No model, because of `error`: every decision is the baseline, for `model_unavailable`, or for
    /// `schema_mismatch` when the error says that the model does not fit what it is used with.
    pub fn missing(error: &Error) -> Self {
        let missing = match error.kind() {
            amphora_error::ErrorKind::Incompatible => Missing::Mismatch(error.to_string()),
            _ => Missing::Unavailable(error.to_string()),
        };
        Self {
            model: unavailable(),
            action_space: None,
            temperatures: Temperatures::ONE,
            toolchains: None,
            quick: true,
            predict: Err(missing),
        }
    }
}

/// What a bundle pins, be it by digest, by name or both.
fn toolchains(bundle: &PlannerBundle) -> Option<Toolchains> {
    let names = bundle.toolchains();
    let pinned = bundle.digests().toolchains.clone();
    Some(Toolchains {
        digest: pinned.or_else(|| names.map(toolchains_digest))?,
        names: names.map(<[String]>::to_vec),
    })
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("model", &self.model)
            .field("missing", &self.predict.as_ref().err())
            .finish_non_exhaustive()
    }
}

/// The model of an action that no model predicted.
pub(super) fn unavailable() -> ModelReference {
    ModelReference {
        checkpoint_id: "unavailable".to_owned(),
        version: None,
        git_sha: None,
    }
}

/// Asks a model; its panic is an error.
pub(super) fn ask(predict: &Predict, input: &PlannerInput) -> Result<Prediction> {
    panic::catch_unwind(AssertUnwindSafe(|| predict(input)))
        .unwrap_or_else(|_| Err(Error::internal("model-panic", "the model broke off")))
}
