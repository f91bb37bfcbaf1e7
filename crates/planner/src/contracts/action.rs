//! `planner_action.v1`: what a planner answers.

use std::collections::BTreeMap;

use amphora_error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ActionVersion, Bin};

/// What a planner answers; a closed object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannerAction {
    /// Which document this is.
    pub schema_version: ActionVersion,
    /// When it was decided: RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// The swarm, one of the action space's.
    pub swarm_id: String,
    /// Its limits.
    pub budgets: Budgets,
    /// The masked, calibrated probability of every class, by field: `swarm_id`,
    /// `max_candidates_bin`, `max_minutes_bin`, `max_iterations_bin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probs: Option<BTreeMap<String, Vec<f64>>>,
    /// The smallest probability among the chosen classes, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: Option<f64>,
    /// Whether the orchestrator is to do what it does without a planner.
    #[serde(default)]
    pub abstain_to_default: bool,
    /// Why it abstains: one of the fixed codes.
    #[serde(default)]
    pub reason: Option<String>,
    /// Who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelReference>,
    /// The hash of the input.
    #[serde(default)]
    pub input_hash: Option<String>,
}

impl PlannerAction {
    /// Reads a document strictly.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let action: Self = super::read(bytes)?;
        match action.confidence {
            Some(confidence) if !(0.0..=1.0).contains(&confidence) => Err(Error::malformed(
                "planner-action-confidence",
                "the confidence is no probability",
            )
            .expected("0 to 1")
            .found(confidence.to_string())
            .at("confidence")),
            _ => Ok(action),
        }
    }
}

/// The limits of an action; a closed object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// How many candidates run in parallel.
    pub max_candidates_bin: Bin,
    /// How many minutes each may take.
    pub max_minutes_bin: Bin,
    /// How many iterations each may take.
    pub max_iterations_bin: Bin,
}

/// Who answered; a closed object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelReference {
    /// The checkpoint, the bundle, `baseline_heuristic_v0`, `executed_plan` or `unavailable`.
    pub checkpoint_id: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The commit that it was trained from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_sha: Option<String>,
}
