//! The best-of-K bench: its configuration, one record for each issue, its report, its summary.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BenchConfigVersion, BenchReportVersion, BenchSummaryVersion, Bin};

/// What a bench runs; a closed object, every block of which has defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BenchConfig {
    /// Which document this is.
    pub schema_version: BenchConfigVersion,
    /// Which issues.
    #[serde(default)]
    pub issue_selection: IssueSelection,
    /// Which actions.
    #[serde(default)]
    pub action_sampling: ActionSampling,
    /// How long.
    #[serde(default)]
    pub execution_limits: ExecutionLimits,
    /// Which action wins.
    #[serde(default)]
    pub winner_selection: WinnerSelection,
    /// What is written, and where.
    #[serde(default)]
    pub output: BenchOutput,
}

/// Which issues a bench runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IssueSelection {
    /// The file that lists them.
    pub source: String,
    /// Every one must hold.
    pub filters: Vec<IssueFilter>,
    /// How many are drawn.
    pub sample_size: u32,
    /// What the draw is seeded with.
    pub seed: u64,
}

impl Default for IssueSelection {
    fn default() -> Self {
        let one_of = |field: &str, values: &[&str]| IssueFilter {
            field: field.to_owned(),
            value: None,
            one_of: Some(values.iter().map(|value| (*value).into()).collect()),
        };
        Self {
            source: ".beads/issues.jsonl".to_owned(),
            filters: vec![
                one_of("status", &["closed", "done"]),
                one_of("dk_size", &["S", "M", "L"]),
            ],
            sample_size: 100,
            seed: 42,
        }
    }
}

/// A condition on one field of an issue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueFilter {
    /// The field.
    pub field: String,
    /// What it must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// What it must be one of.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Value>>,
}

/// Which actions a bench tries for each issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActionSampling {
    /// How many.
    #[serde(rename = "K")]
    pub k: u32,
    /// Chosen how.
    pub strategy: CandidateStrategy,
    /// Whether the baseline is one of them.
    pub include_baseline: bool,
    /// Whether the action that was executed is one of them.
    pub include_executed: bool,
}

impl Default for ActionSampling {
    fn default() -> Self {
        Self {
            k: 4,
            strategy: CandidateStrategy::Coverage,
            include_baseline: true,
            include_executed: true,
        }
    }
}

/// How the actions of a bench are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CandidateStrategy {
    /// Far from each other.
    Coverage,
    /// By a seeded draw.
    Random,
    /// The first ones.
    Deterministic,
    /// Those that the policy knows least about.
    Uncertainty,
}

/// How long a bench may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutionLimits {
    /// Minutes for each action.
    pub max_minutes_per_candidate: u32,
    /// Minutes for each issue.
    pub max_total_minutes_per_issue: u32,
    /// How often a run that broke is repeated.
    pub max_retries: u32,
    /// What becomes of a run that took too long.
    pub timeout_behavior: TimeoutBehavior,
}

impl Default for ExecutionLimits {
    fn default() -> Self {
        Self {
            max_minutes_per_candidate: 30,
            max_total_minutes_per_issue: 120,
            max_retries: 1,
            timeout_behavior: TimeoutBehavior::MarkTimeout,
        }
    }
}

/// What becomes of a run that took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeoutBehavior {
    /// It counts, as a timeout.
    MarkTimeout,
    /// It does not count.
    Skip,
}

/// Which action wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WinnerSelection {
    /// Among those that keep the constraints.
    pub primary_objective: Objective,
    /// What a winner must keep.
    pub constraints: Vec<WinnerConstraint>,
    /// Who wins among equals: the first rule that tells them apart.
    pub tie_break: Vec<TieBreak>,
}

impl Default for WinnerSelection {
    fn default() -> Self {
        Self {
            primary_objective: Objective::MinimizeDuration,
            constraints: vec![WinnerConstraint {
                all_required_gates_passed: true,
            }],
            tie_break: vec![
                TieBreak::LowerMaxCandidates,
                TieBreak::LowerMaxMinutes,
                TieBreak::ActionTupleLexicographic,
            ],
        }
    }
}

/// What the best action is best at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// The shortest.
    MinimizeDuration,
    /// The cheapest.
    MinimizeCost,
    /// The fewest fail codes.
    MaximizeQuality,
    /// A pass is worth 1, an agent's minute costs a part of it.
    MaximizeUtility,
}

/// What a winner must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WinnerConstraint {
    /// Every gate that is required passed.
    pub all_required_gates_passed: bool,
}

/// Who wins among equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TieBreak {
    /// Fewer candidates; `NA` counts as 999.
    LowerMaxCandidates,
    /// Fewer minutes; `NA` counts as 999.
    LowerMaxMinutes,
    /// The smaller texts.
    ActionTupleLexicographic,
}

/// What a bench writes, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BenchOutput {
    /// The directory.
    pub directory: String,
    /// Whether losers are written too.
    pub include_all_outcomes: bool,
    /// Whether traces are written.
    pub include_traces: bool,
}

impl Default for BenchOutput {
    fn default() -> Self {
        Self {
            directory: ".cyntra/bench/planner_bench".to_owned(),
            include_all_outcomes: true,
            include_traces: false,
        }
    }
}

/// How a model inside a toolchain samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sampling {
    /// The temperature.
    pub temperature: f64,
    /// The nucleus.
    pub top_p: f64,
}

/// The tuple (swarm, candidates, minutes, iterations) in which records write an action.
pub type ActionTuple = (String, Bin, Bin, Bin);

/// What became of one issue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchRecord {
    /// The hash of the configuration.
    pub bench_config_hash: String,
    /// The issue.
    pub issue_id: String,
    /// One line about it.
    #[serde(default)]
    pub title: Option<String>,
    /// `code`, `fab-world` or another.
    pub job_type: String,
    /// Every action that was tried.
    #[serde(default)]
    pub candidates: Vec<BenchCandidate>,
    /// The best of those that passed, if one did.
    #[serde(default)]
    pub winner: Option<BenchCandidate>,
    /// Whether the issue was left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// Why it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_reason: Option<String>,
}

/// One action that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchCandidate {
    /// The action.
    pub action: ActionTuple,
    /// Whether every required gate passed.
    pub verified: bool,
    /// `success`, `failed`, `timeout` or `error`.
    pub status: String,
    /// Wall time in milliseconds.
    pub duration_ms: Option<u64>,
    /// Cost in US dollars.
    pub cost_usd: Option<f64>,
    /// The workcell that is archived.
    pub workcell_id: Option<String>,
    /// More about it.
    #[serde(default)]
    pub details: Map<String, Value>,
}

/// `bench_report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchReport {
    /// Which document this is.
    pub schema_version: BenchReportVersion,
    /// When: RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub generated_at: String,
    /// Where.
    pub bench_dir: String,
    /// The hash of the configuration.
    pub bench_config_hash: String,
    /// How many actions each issue had.
    pub k: u32,
    /// What draws were seeded with.
    pub seed: u64,
    /// How models sampled.
    pub sampling: Sampling,
    /// How many issues there were.
    pub case_count: u64,
    /// The file of the records.
    pub results_path: String,
}

/// What a bench on recorded trials found: `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchSummary {
    /// Which document this is.
    pub schema_version: BenchSummaryVersion,
    /// The hash of the configuration.
    pub bench_config_hash: String,
    /// The hash of the dataset.
    pub dataset_hash: String,
    /// The toolchains in the order of their priority.
    pub toolchains: Vec<String>,
    /// The objective.
    pub primary_objective: Objective,
    /// The seed.
    pub seed: u64,
    /// Decisions replayed.
    pub decisions: u64,
    /// Decisions with a winner.
    pub with_winner: u64,
    /// Decisions for which no action passed.
    pub no_passing_candidate: u64,
    /// Decisions on issues of which nothing is recorded; they give no row.
    pub without_trials: u64,
    /// Winners, by action.
    pub winners: BTreeMap<String, u64>,
}
