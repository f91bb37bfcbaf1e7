//! `dataset.jsonl` and `meta.json`: what a planner learns from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DatasetVersion, PlannerAction, PlannerInput};

/// One line of `dataset.jsonl`: a decision, what was known, and what was executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetRow {
    /// The run that the label is from.
    pub run_id: String,
    /// When the decision was made, in milliseconds since 1970.
    pub started_ms: u64,
    /// Which part of the dataset it belongs to.
    pub split: Split,
    /// What was known.
    pub planner_input: PlannerInput,
    /// The same as a token sequence.
    pub tokens: Vec<String>,
    /// What was executed.
    pub label_action: PlannerAction,
}

/// A part of a dataset.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose and calibrate with.
    Val,
    /// To report on.
    Test,
}

/// `meta.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetMeta {
    /// Which document this is.
    pub schema_version: DatasetVersion,
    /// SHA-256, in hexadecimal, over the canonical JSON of each row and a line feed.
    pub dataset_hash: String,
    /// How many rows there are.
    pub example_count: u64,
    /// How many rows each part has.
    pub split_counts: SplitCounts,
    /// Whether world runs are included.
    pub include_world: bool,
    /// How many similar runs each input has at most.
    pub n_similar_runs: u32,
    /// The universe.
    pub universe_id: String,
    /// The swarms, in the order of their classes.
    #[serde(default)]
    pub swarm_ids: Vec<String>,
    /// What was left out, by reason.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
    /// What was noticed and did not lead to anything being left out.
    #[serde(default)]
    pub findings: DatasetFindings,
}

/// What was noticed while a dataset was built.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DatasetFindings {
    /// How many labels or inputs were repaired, by kind.
    pub repaired: BTreeMap<String, u64>,
    /// How many documents inside archives could not be read, by name; their runs count without them.
    pub unreadable_parts: BTreeMap<String, u64>,
    /// How many stored inputs knew a run that had not ended; histories are always looked up anew.
    pub stored_leaks: u64,
    /// How many rows changed their part so that equal inputs stay together.
    pub moved_to_keep_groups: u64,
    /// How many issues have rows in several parts: parts are by time, and an issue may be decided on
    /// again. Evaluation by issue groups is the measure that this does not flatter.
    pub issues_in_several_parts: u64,
    /// How differently labels are distributed in training and test: the total variation distance,
    /// 0 to 1, for each head and for the whole action.
    pub label_shift: BTreeMap<String, f64>,
}

/// How many rows each part of a dataset has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SplitCounts {
    /// To learn from.
    pub train: u64,
    /// To choose and calibrate with.
    pub val: u64,
    /// To report on.
    pub test: u64,
}
