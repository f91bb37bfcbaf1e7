//! An input, and what its vector has at each place.

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::PlannerInput;
use amphora_planner::encode::FeatureSchema;
use serde_json::{Value, json};

/// 2026-02-03T09:00:00Z.
pub(crate) const NOW_MS: u64 = 1_770_109_200_000;
pub(crate) const DAY_MS: u64 = 86_400_000;

pub(crate) fn run() -> Value {
    json!({
        "run_id": "r1", "started_ms": NOW_MS - 3 * DAY_MS, "job_type": "code", "domain": "code",
        "action_executed": {"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": 30},
        "outcome": {"status": "failed", "fail_codes": ["pytest_failed"],
            "gates": [{"name": "test", "passed": false}, {"name": "lint", "passed": true}]},
        "runtime": {"duration_ms": 91_000}, "cost_usd_est": 0.12, "tags": ["kernel"]
    })
}

pub(crate) fn input() -> Value {
    json!({
        "schema_version": "cyntra.planner_input.v1", "created_at": "2026-02-03T09:00:00Z",
        "universe_id": "u1", "job_type": "code",
        "universe_defaults": {"swarm_id": "serial_handoff", "objective_id": "realism"},
        "issue": {"issue_id": "42", "dk_priority": "P1", "dk_risk": "high", "dk_size": "M",
            "dk_tool_hint": "codex", "dk_attempts": 1, "tags": ["kernel", "cache", "kernel"]},
        "history": {"last_n_similar_runs": [run()]},
        "action_space": ActionSpace::default(),
        "system_state": {"active_workcells_bin": "1_2", "queue_depth_bin": "3_5",
            "available_toolchains": ["claude", "codex", "another"], "hour_bucket": "09",
            "budget_remaining_bin": "high"}
    })
}

pub(crate) fn schema() -> FeatureSchema {
    FeatureSchema::new(&ActionSpace::default(), 8)
}

pub(crate) fn encoded(schema: &FeatureSchema, input: &Value) -> Vec<u32> {
    let vector = schema.encode(&PlannerInput::from_value(input).unwrap());
    assert!(
        vector.indices.is_sorted_by(|a, b| a < b),
        "{:?}",
        vector.indices
    );
    assert!(
        vector
            .indices
            .iter()
            .all(|index| (*index as usize) < schema.width())
    );
    assert!(
        vector.values.len() == vector.indices.len()
            && vector.values.iter().all(|value| *value == 1.0)
    );
    vector.indices
}

/// A change of the input, the field it concerns, and the places that are then 1 within it.
pub(crate) type Row<'a> = (&'a str, Value, std::ops::Range<u32>, Vec<u32>);

pub(crate) fn check(rows: &[Row]) {
    let schema = schema();
    amphora_testing::each(rows, |(path, value, field, expected)| {
        let mut input = input();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = input.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(values) => values[key.parse::<usize>().unwrap()] = value.clone(),
            Value::Object(entries) => drop(entries.insert(key.to_owned(), value.clone())),
            _ => return Err("no such place".to_owned()),
        }
        let places = encoded(&schema, &input)
            .into_iter()
            .filter(|place| field.contains(place));
        let found: Vec<u32> = places.map(|place| place - field.start).collect();
        match found == *expected {
            true => Ok(()),
            false => Err(format!("found {found:?}")),
        }
    });
}
