//! The published JSON Schemas (draft 2020-12).

use schemars::JsonSchema;
use serde_json::Value;

use super::{
    BenchConfig, BenchRecord, BenchReport, BenchSummary, DatasetMeta, DatasetRow, ExecutedPlan,
    PlannerAction, PlannerInput, PolicyTrace, RunSummary,
};
use crate::action_space::ActionSpace;

/// Every document's name and schema, sorted by name.
pub fn schemas() -> [(&'static str, Value); 12] {
    [
        ("action_space", of::<ActionSpace>()),
        ("bench_config", of::<BenchConfig>()),
        ("bench_record", of::<BenchRecord>()),
        ("bench_report", of::<BenchReport>()),
        ("bench_summary", of::<BenchSummary>()),
        ("dataset_meta", of::<DatasetMeta>()),
        ("dataset_row", of::<DatasetRow>()),
        ("executed_plan", of::<ExecutedPlan>()),
        ("planner_action", of::<PlannerAction>()),
        ("planner_input", of::<PlannerInput>()),
        ("policy_trace", of::<PolicyTrace>()),
        ("run_summary", of::<RunSummary>()),
    ]
}

fn of<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}
