//! `executed_plan.v1`: what is executed after masking, caps and fallback.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PlanVersion;

/// What is executed; an open object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutedPlan {
    /// Which document this is.
    pub schema_version: PlanVersion,
    /// The swarm.
    pub swarm_id_executed: String,
    /// How many candidates run, at least 1.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_candidates_executed: Option<u32>,
    /// The time limit in seconds, at least 1.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub timeout_seconds_executed: Option<u32>,
    /// The limit of iterations, at least 1.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_iterations_executed: Option<u32>,
    /// Whether the baseline runs instead of the planner's action.
    pub fallback_applied: bool,
    /// Why: one of the fixed codes.
    #[serde(default)]
    pub fallback_reason: Option<String>,
    /// The same in words: numbers, paths, the text of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_detail: Option<String>,
}
