//! `run_summary.v1`: one earlier run, without its logs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Domain, RunStatus};

/// One earlier run; an open object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// The run, which is the name of its workcell.
    pub run_id: String,
    /// When it started, in milliseconds since 1970.
    pub started_ms: u64,
    /// `code`, `fab-world` or another.
    pub job_type: String,
    /// What it worked on.
    pub domain: Domain,
    /// What was executed.
    pub action_executed: ActionExecuted,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub runtime: Runtime,
    /// Its cost in US dollars, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd_est: Option<f64>,
    /// Tokens read; all tokens where only their sum is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<u64>,
    /// The tags of its issue.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue_id: Option<String>,
    /// The universe of a world run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub universe_id: Option<String>,
    /// The world of a world run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world_id: Option<String>,
    /// The objective of a world run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective_id: Option<String>,
}

impl RunSummary {
    /// When the run ended, in milliseconds since 1970.
    pub fn ended_ms(&self) -> u64 {
        self.started_ms.saturating_add(self.runtime.duration_ms)
    }
}

/// What a run executed; a closed object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionExecuted {
    /// The swarm.
    #[serde(default)]
    pub swarm_id: Option<String>,
    /// How many candidates ran.
    #[serde(default)]
    pub max_candidates: Option<u32>,
    /// The limit in whole minutes.
    #[serde(default)]
    pub max_minutes: Option<u32>,
    /// The limit of iterations.
    #[serde(default)]
    pub max_iterations: Option<u32>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// In one word.
    pub status: RunStatus,
    /// Why it failed; each code once.
    pub fail_codes: Vec<String>,
    /// The gates that were run.
    pub gates: Vec<Gate>,
}

/// The verdict of one gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// Its score, if it gives one.
    #[serde(default)]
    pub score: Option<f64>,
}

/// How long a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Runtime {
    /// In milliseconds; 0 when unknown.
    pub duration_ms: u64,
}
