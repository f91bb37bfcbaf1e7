//! Whether recorded runs are enough to learn from: the feasibility gates.

use std::collections::{BTreeMap, BTreeSet};

use amphora_planner::action_space::Head;
use amphora_planner::contracts::{DatasetRow, Domain, RunStatus};
use amphora_planner::history::Collected;
use amphora_planner::history::archives::ArchivedRun;
use serde::Serialize;
use serde_json::json;

use crate::dataset::{Dataset, class};

/// The fewest examples of code jobs to begin with (document 001, section 12, P0).
pub const MIN_CODE_EXAMPLES: u64 = 500;
/// The least agreement of labels between near-duplicates (the same).
pub const MIN_AGREEMENT: f64 = 0.8;

/// What there is to learn from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// Archived runs that could be read.
    pub runs: u64,
    /// What was left out, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Runs and examples, by domain.
    pub domains: BTreeMap<&'static str, DomainStats>,
    /// How often each class is the label, by head.
    pub labels: BTreeMap<&'static str, LabelBalance>,
    /// Whether decisions that look alike were made alike.
    pub near_duplicates: NearDuplicates,
    /// The feasibility gates.
    pub gates: Vec<FeasibilityGate>,
    /// Whether every gate is met.
    pub feasible: bool,
}

/// One domain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DomainStats {
    /// Runs.
    pub runs: u64,
    /// Runs that passed every gate.
    pub success: u64,
    /// Runs that ended and did not.
    pub failed: u64,
    /// Runs that were cut off.
    pub timeout: u64,
    /// Decisions that became rows.
    pub examples: u64,
}

/// The labels of one head.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LabelBalance {
    /// Rows, by class.
    pub counts: BTreeMap<String, u64>,
    /// The share of the most frequent class.
    pub top_share: f64,
    /// The entropy of the distribution, in nats.
    pub entropy: f64,
}

/// Rows of one job type, universe, priority, risk, size, tool hint and set of tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct NearDuplicates {
    /// Groups of at least two.
    pub groups: u64,
    /// Rows in them.
    pub rows: u64,
    /// The share of those rows that have their group's most frequent label.
    pub agreement: Option<f64>,
}

/// One condition for going on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeasibilityGate {
    /// What is asked for.
    pub name: &'static str,
    /// At least this.
    pub wanted: f64,
    /// What there is; none where there is nothing to measure.
    pub found: Option<f64>,
    /// Whether it is met.
    pub met: bool,
}

/// Counts what there is.
pub fn stats(runs: &Collected<ArchivedRun>, dataset: &Dataset) -> Stats {
    let mut domains: BTreeMap<&'static str, DomainStats> = BTreeMap::new();
    let mut domain_of: BTreeMap<&str, Domain> = BTreeMap::new();
    for run in &runs.runs {
        let summary = &run.summary;
        domain_of.insert(&summary.run_id, summary.domain);
        let domain = domains.entry(summary.domain.word()).or_default();
        domain.runs += 1;
        match summary.outcome.status {
            RunStatus::Success => domain.success += 1,
            RunStatus::Failed => domain.failed += 1,
            RunStatus::Timeout => domain.timeout += 1,
        }
    }
    for row in &dataset.rows {
        if let Some(domain) = domain_of.get(row.run_id.as_str()) {
            domains.entry(domain.word()).or_default().examples += 1;
        }
    }
    let labels = Head::ALL
        .map(|head| (head.field_name(), balance(&dataset.rows, head)))
        .into();
    let near_duplicates = near_duplicates(&dataset.rows);
    let code = domains
        .get(Domain::Code.word())
        .map_or(0, |domain| domain.examples);
    let gates = vec![
        gate(
            "code examples",
            number(MIN_CODE_EXAMPLES),
            Some(number(code)),
        ),
        gate(
            "agreement on near-duplicates",
            MIN_AGREEMENT,
            near_duplicates.agreement,
        ),
    ];
    Stats {
        runs: runs.runs.len() as u64,
        dropped: dataset.meta.dropped.clone(),
        domains,
        labels,
        near_duplicates,
        feasible: gates.iter().all(|gate| gate.met),
        gates,
    }
}

fn gate(name: &'static str, wanted: f64, found: Option<f64>) -> FeasibilityGate {
    FeasibilityGate {
        name,
        wanted,
        found,
        met: found.is_some_and(|found| found >= wanted),
    }
}

/// A count as a number; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of files")]
fn number(count: u64) -> f64 {
    count as f64
}

fn balance(rows: &[DatasetRow], head: Head) -> LabelBalance {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows {
        *counts.entry(class(row, head)).or_default() += 1;
    }
    let total = number(rows.len() as u64).max(1.0);
    let shares = counts.values().map(|count| number(*count) / total);
    LabelBalance {
        top_share: shares.clone().fold(0.0, f64::max),
        // A single class has the entropy 0, not -0.
        entropy: shares.map(|share| -share * share.ln()).sum::<f64>().abs(),
        counts,
    }
}

fn near_duplicates(rows: &[DatasetRow]) -> NearDuplicates {
    let mut groups: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for row in rows {
        let input = &row.planner_input;
        let issue = &input.issue;
        let tags: BTreeSet<&String> = issue.tags.iter().collect();
        let key = json!([
            input.job_type,
            input.universe_id,
            issue.dk_priority,
            issue.dk_risk,
            issue.dk_size,
            issue.dk_tool_hint,
            tags,
        ]);
        let label = Head::ALL.map(|head| class(row, head)).join("/");
        *groups
            .entry(key.to_string())
            .or_default()
            .entry(label)
            .or_default() += 1;
    }
    let mut found = NearDuplicates::default();
    let mut agreeing = 0;
    for labels in groups.values() {
        let size: u64 = labels.values().sum();
        if size >= 2 {
            found.groups += 1;
            found.rows += size;
            agreeing += labels.values().max().copied().unwrap_or(0);
        }
    }
    found.agreement = (found.rows > 0).then(|| number(agreeing) / number(found.rows));
    found
}
