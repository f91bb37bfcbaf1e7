//! What a report remembers of inputs and actions, so that a later one can tell drift.

use std::collections::BTreeMap;

use amphora_planner::contracts::PlannerInput;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metrics::{DriftEntry, Histogram};

/// Distributions of what was evaluated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Counts by category, for each field of the inputs.
    pub inputs: BTreeMap<String, Histogram>,
    /// Actions of the evaluated policy.
    pub actions: Histogram,
    /// Expected calibration error of its decisions.
    pub ece: f64,
    /// Mean confidence.
    pub confidence: f64,
    /// Mean correctness.
    pub accuracy: f64,
}

impl Snapshot {
    /// Counts the fields of `inputs` that are categories: job type, priority, risk, size, attempts (3 and
    /// more together), tags, the number of similar runs and how those ended.
    pub fn of<'a>(inputs: impl IntoIterator<Item = &'a PlannerInput>) -> Self {
        let mut snapshot = Self::default();
        for input in inputs {
            let mut count = |field: &str, category: String| {
                *snapshot
                    .inputs
                    .entry(field.to_owned())
                    .or_default()
                    .entry(category)
                    .or_default() += 1;
            };
            count("job_type", input.job_type.clone());
            count("dk_priority", word(&input.issue.dk_priority));
            count("dk_risk", word(&input.issue.dk_risk));
            count("dk_size", word(&input.issue.dk_size));
            count("dk_attempts", input.issue.dk_attempts.min(3).to_string());
            for tag in &input.issue.tags {
                count("tags", tag.clone());
            }
            let runs = &input.history.last_n_similar_runs;
            count("similar_runs", runs.len().to_string());
            for run in runs {
                count("similar_run_status", word(&run.outcome.status));
            }
        }
        snapshot
    }
}

/// A value that serializes as a word.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// How far every distribution moved from `old` to `new`, and by how much calibration changed.
pub fn drift(old: &Snapshot, new: &Snapshot) -> Drift {
    let empty = Histogram::new();
    let fields: std::collections::BTreeSet<&String> =
        old.inputs.keys().chain(new.inputs.keys()).collect();
    let of = |snapshot: &'_ Snapshot, field: &str| -> Histogram {
        snapshot.inputs.get(field).unwrap_or(&empty).clone()
    };
    Drift {
        inputs: fields
            .into_iter()
            .map(|field| DriftEntry::between(field.clone(), &of(old, field), &of(new, field)))
            .collect(),
        actions: DriftEntry::between("actions", &old.actions, &new.actions),
        ece: new.ece - old.ece,
        confidence: new.confidence - old.confidence,
        accuracy: new.accuracy - old.accuracy,
    }
}

/// Drift from an older report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// By field.
    pub inputs: Vec<DriftEntry>,
    /// The policy's actions.
    pub actions: DriftEntry,
    /// Change of the expected calibration error.
    pub ece: f64,
    /// Change of the mean confidence.
    pub confidence: f64,
    /// Change of the mean correctness.
    pub accuracy: f64,
}
