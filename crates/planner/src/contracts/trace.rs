//! The policy trace: how one decision came about.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Mode, ModelReference, TraceVersion};
use crate::action_space::NamedAction;

/// How one decision came about; a closed object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTrace {
    /// Which document this is.
    pub schema_version: TraceVersion,
    /// When it was decided: RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// The hash of the input.
    pub input_hash: String,
    /// What the planner was allowed to do.
    pub mode: Mode,
    /// Who predicted.
    pub model: ModelReference,
    /// The confidence below which the baseline runs.
    pub threshold: f64,
    /// What the orchestrator does without a planner.
    pub baseline: NamedAction,
    /// What was predicted, if anything.
    pub predicted: Option<NamedAction>,
    /// What is executed.
    pub executed: NamedAction,
    /// The confidence of the prediction.
    pub confidence: Option<f64>,
    /// The masked, calibrated probability of every class, by field.
    pub probs: BTreeMap<String, Vec<f64>>,
    /// The most probable valid actions, the best first.
    pub ranking: Vec<RankedAction>,
    /// The similar runs that the input holds.
    pub similar_run_ids: Vec<String>,
    /// Why the baseline is executed, if it is: one of the fixed codes.
    pub reason: Option<String>,
    /// The same in words.
    pub detail: Option<String>,
    /// How long the decision took, in microseconds.
    pub duration_us: u64,
}

/// A valid action and how probable it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RankedAction {
    /// The action.
    pub action: NamedAction,
    /// The sum of the logarithms of its classes' probabilities.
    pub log_probability: f64,
}
