//! The documents that the planner reads and writes.
//!
//! What a document calls closed refuses keys that it does not know; what it calls open lets them
//! pass. Documents of others are repaired on load only (a count written as a string, a priority
//! outside its set); what is written here needs no repair. Each type has a published JSON Schema.

mod action;
mod bench;
mod bin;
mod canonical;
mod dataset;
mod input;
mod plan;
mod run_summary;
mod schemas;
pub mod time;
mod trace;
mod version;
mod words;

pub use action::{Budgets, ModelReference, PlannerAction};
pub use bench::{
    ActionSampling, ActionTuple, BenchCandidate, BenchConfig, BenchOutput, BenchRecord,
    BenchReport, BenchSummary, CandidateStrategy, ExecutionLimits, IssueFilter, IssueSelection,
    Objective, Sampling, TieBreak, TimeoutBehavior, WinnerConstraint, WinnerSelection,
};
pub use bin::Bin;
pub use canonical::{canonical_json, input_hash};
pub use dataset::{DatasetFindings, DatasetMeta, DatasetRow, Split, SplitCounts};
pub(crate) use input::WORLD_ID;
pub use input::{HistoryBlock, IssueFields, PlannerInput, SystemState, UniverseDefaults};
pub use plan::ExecutedPlan;
pub use run_summary::{ActionExecuted, Gate, Outcome, RunSummary, Runtime};
pub use schemas::schemas;
pub use trace::{PolicyTrace, RankedAction};
pub use version::{
    ActionVersion, BenchConfigVersion, BenchReportVersion, BenchSummaryVersion, DatasetVersion,
    InputVersion, PlanVersion, TraceVersion,
};
pub use words::{Domain, Mode, Priority, Risk, RunStatus, Size};

/// Reads one document strictly, as `T`.
pub(crate) fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> amphora_error::Result<T> {
    amphora_files::json::parse_into(bytes)
}
