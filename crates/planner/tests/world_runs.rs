//! World runs on disk.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_planner::contracts::RunSummary;
use amphora_planner::history::world_runs::{WorldFilter, collect};
use amphora_planner::history::{Collected, DropReason};
use amphora_planner::universe::Universe;
use serde_json::{Value, json};

/// Name, manifest and context of each run; null where there is no file.
fn runs() -> Vec<(&'static str, Value, Value)> {
    let manifest = |run_id: &str, stages: Value| json!({"run_id": run_id, "created_at": "2026-02-03T09:00:01Z", "stages": stages});
    let context = |world: &str, objective: Option<&str>| {
        json!({"schema_version": "1.0", "universe_id": "u", "world_id": world, "objective_id": objective,
            "swarm_id": "speculate_vote", "issue_id": null})
    };
    let stages = json!([
        {"id": "build", "status": "success", "duration_ms": 1000},
        {"id": "bake", "status": "failed", "duration_ms": 500},
        {"id": "bake", "status": "skipped"},
        {"status": null, "duration_ms": u64::MAX}
    ]);
    let brief = json!([{"id": "build", "status": "success", "duration_ms": 1}]);
    vec![
        (
            "a",
            manifest(
                "run-a",
                json!([{"id": "build", "status": "success", "duration_ms": 7}]),
            ),
            context("w1", Some("o1")),
        ),
        ("b", manifest("", stages), context("w1", Some("o2"))),
        ("c", manifest("run-c", brief.clone()), context("w2", None)),
        ("d", manifest("run-a", brief), context("w1", Some("o1"))),
        ("e", json!({"run_id": "run-e"}), context("w1", None)),
        ("f", manifest("run-f", json!([])), json!(null)),
        ("g", json!(null), context("w1", None)),
        ("h", manifest("run-h", json!([])), json!({"world_id": "w1"})),
        (
            "i",
            manifest("run-i", json!({"build": 1})),
            context("w1", None),
        ),
        ("j", manifest("run-j", json!(null)), context("w1", None)),
        (
            "k",
            manifest("run-k", json!([{"id": "build", "status": "running"}])),
            context("w1", None),
        ),
    ]
}

fn collected(filter: &WorldFilter) -> Collected<RunSummary> {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    put("universe/universe.yaml", "universe_id: u\n");
    put(
        "universe/swarms.yaml",
        "swarms:\n  speculate_vote:\n    type: parallel_compete\n    population_size: 3\n",
    );
    put("universe/objectives.yaml", "objectives: {}\n");
    for (name, manifest, context) in runs() {
        fs_err::create_dir_all(root.path().join("runs").join(name)).unwrap();
        for (file, document) in [("manifest.json", manifest), ("context.json", context)] {
            if !document.is_null() {
                put(&format!("runs/{name}/{file}"), &document.to_string());
            }
        }
    }
    let universe = Universe::open(&root.path().join("universe")).unwrap();
    collect(&root.path().join("runs"), Some(&universe), filter).unwrap()
}

#[test]
fn a_summary_holds_what_manifest_and_context_recorded() {
    let collected = collected(&WorldFilter::default());
    let found: Vec<Value> = collected
        .runs
        .iter()
        .map(|run| serde_json::to_value(run).unwrap())
        .collect();
    let expected = |run_id: &str, status: &str, codes: Value, duration: u64, world: &str| {
        json!({
            "run_id": run_id, "started_ms": 1_770_109_201_000_u64, "job_type": "fab-world", "domain": "fab_world",
            "action_executed": {"swarm_id": "speculate_vote", "max_candidates": 3, "max_minutes": null,
                "max_iterations": null},
            "outcome": {"status": status, "fail_codes": codes, "gates": []},
            "runtime": {"duration_ms": duration}, "tags": [], "universe_id": "u", "world_id": world
        })
    };
    let mut rows = [
        expected("run-a", "success", json!([]), 7, "w1"),
        expected("b", "failed", json!(["stage_failed:bake"]), u64::MAX, "w1"),
        expected("run-c", "success", json!([]), 1, "w2"),
    ];
    rows[0]["objective_id"] = json!("o1");
    rows[1]["objective_id"] = json!("o2");
    assert_eq!(found, rows);
    let dropped: Vec<(&str, DropReason)> = collected
        .dropped_runs
        .iter()
        .map(|run| (run.folder.as_str(), run.reason))
        .collect();
    let reasons = [
        ("e", DropReason::NoStartTime),
        ("f", DropReason::NoContext),
        ("g", DropReason::NoManifest),
        ("h", DropReason::NoContext),
        ("i", DropReason::Malformed),
        ("j", DropReason::NoEndTime),
        ("k", DropReason::NoEndTime),
        ("d", DropReason::Duplicate),
    ];
    assert_eq!(dropped, reasons);
}

#[test]
fn only_what_is_wanted_is_kept() {
    let rows = [
        (Some("w1"), None, vec!["run-a", "b"]),
        (None, Some("o2"), vec!["b"]),
        (Some("w2"), Some("o2"), vec![]),
        (Some("w2"), None, vec!["run-c"]),
    ];
    amphora_testing::each(&rows, |(world_id, objective_id, expected)| {
        let filter = WorldFilter {
            world_id: *world_id,
            objective_id: *objective_id,
        };
        let collected = collected(&filter);
        let found: Vec<&str> = collected
            .runs
            .iter()
            .map(|run| run.run_id.as_str())
            .collect();
        match found == *expected {
            true => Ok(()),
            false => Err(format!("found {found:?}")),
        }
    });
}
