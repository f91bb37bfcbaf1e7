//! `executed_plan.v1`: what is executed after masking, caps and fallback.

use std::num::NonZeroU32;

use amphora_error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::PlanVersion;

/// What is executed; an open object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutedPlan {
    /// Which document this is.
    pub schema_version: PlanVersion,
    /// The swarm.
    pub swarm_id_executed: String,
    /// How many candidates run, at least 1.
    #[serde(default, deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub max_candidates_executed: Option<u32>,
    /// The time limit in seconds, at least 1.
    #[serde(default, deserialize_with = "positive")]
    #[schemars(range(min = 1))]
    pub timeout_seconds_executed: Option<u32>,
    /// The limit of iterations, at least 1.
    #[serde(default, deserialize_with = "positive")]
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

impl ExecutedPlan {
    /// Reads a document. Producers that write the candidates as `parallelism_executed` are understood.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] for another document.
    pub fn from_value(value: &Value) -> Result<Self> {
        let mut plan = Self::deserialize(value).map_err(|source| {
            let message = format!("this is no executed_plan.v1: {source}");
            Error::malformed("executed-plan", message)
        })?;
        if plan.max_candidates_executed.is_none()
            && let Some(parallelism) = value.get("parallelism_executed")
        {
            plan.max_candidates_executed = positive(parallelism).map_err(|source| {
                let message = format!("this is no number of candidates: {source}");
                Error::malformed("executed-plan", message).at("parallelism_executed")
            })?;
        }
        Ok(plan)
    }
}

/// A limit: at least 1, or none.
fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let limit = Option::<NonZeroU32>::deserialize(deserializer)?;
    Ok(limit.map(NonZeroU32::get))
}
