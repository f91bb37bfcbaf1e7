//! When a run ended.

use amphora_planner::history::DropReason;
use serde_json::{Value, json};

use crate::{STARTED_MS, collected, manifest, proof, with};

#[test]
fn a_run_ended_at_the_latest_moment_that_was_recorded() {
    let started = || json!({"started_at": "2026-02-03T09:00:01Z"});
    let metadata = |extra: Value| {
        let mut metadata = started();
        for (key, value) in extra.as_object().unwrap() {
            metadata[key] = value.clone();
        }
        metadata
    };
    let written = |at: &str| json!({"generated_at": at});
    // Metadata, rollout; seconds from the start to the end, and the duration in milliseconds.
    type Row = (Value, Value, Option<(u64, u64)>);
    let rows: [Row; 12] = [
        (
            metadata(json!({"duration_ms": 60_000})),
            Value::Null,
            Some((60, 60_000)),
        ),
        (
            metadata(json!({"duration_ms": 60_000, "completed_at": "2026-02-03T10:00:01Z"})),
            Value::Null,
            Some((3600, 60_000)),
        ),
        (
            metadata(json!({"duration_ms": 60_000, "completed_at": "2026-02-03T09:00:21Z"})),
            Value::Null,
            Some((60, 60_000)),
        ),
        (
            metadata(json!({"completed_at": "2026-02-03T09:00:21Z"})),
            Value::Null,
            Some((20, 20_000)),
        ),
        // Nothing was measured.
        (
            metadata(json!({"duration_ms": 0, "completed_at": "2026-02-03T09:00:21Z"})),
            Value::Null,
            Some((20, 20_000)),
        ),
        (metadata(json!({"duration_ms": 0})), Value::Null, None),
        (started(), Value::Null, None),
        (started(), written("2026-02-03T09:05:01Z"), Some((300, 0))),
        // Before the start.
        (started(), written("2026-02-03T08:59:59Z"), None),
        (
            metadata(json!({"completed_at": "2026-02-03T09:00:00Z"})),
            Value::Null,
            None,
        ),
        (
            started(),
            json!({"scores": {"duration_ms": 7000}, "generated_at": "2026-02-03T09:05:01Z"}),
            Some((7, 7000)),
        ),
        (
            json!({"completed_at": "2026-02-03T09:00:01Z"}),
            Value::Null,
            Some((0, 0)),
        ),
    ];
    amphora_testing::each(&rows, |(metadata, rollout, expected)| {
        let proof = with(proof(), "/metadata", metadata.clone());
        let rollout = Some(rollout).filter(|rollout| !rollout.is_null());
        let collected = collected(&manifest(), &proof, rollout);
        let found = collected.runs.first().map(|run| {
            let seconds = (run.ended_ms - STARTED_MS) / 1000;
            (seconds, run.summary.runtime.duration_ms)
        });
        let dropped = collected.dropped.contains_key(&DropReason::NoEndTime);
        match found == *expected && dropped == expected.is_none() {
            true => Ok(()),
            false => Err(format!("{found:?} {:?}", collected.dropped)),
        }
    });
}
