//! Archives on disk: what becomes of each, and that a broken one breaks nothing else.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod broken;
mod decisions;
mod ends;

use std::path::Path;

use amphora_planner::contracts::{Domain, RunStatus, RunSummary};
use amphora_planner::history::Collected;
use amphora_planner::history::archives::{ArchivedRun, collect};
use serde_json::{Value, json};

/// 2026-02-03T09:00:01Z.
const STARTED_MS: u64 = 1_770_109_201_000;

fn manifest() -> Value {
    json!({
        "schema_version": "1.0.0", "workcell_id": "wc-42-a", "branch_name": "wc/42/wc-42-a",
        "issue": {"id": "42", "title": "Cache key drift", "tags": ["kernel", "cache"]},
        "job_type": "code", "toolchain": "codex", "speculate_mode": false, "speculate_tag": null,
        "control": {"mode": "disabled", "speculate_parallelism": null},
        "planner": {"planner_input": {}, "planner_action": {}, "timeout_seconds_override": null,
            "executed_plan": {"schema_version": "cyntra.executed_plan.v1",
                "swarm_id_executed": "speculate_vote", "max_candidates_executed": 2,
                "timeout_seconds_executed": 1859, "max_iterations_executed": null,
                "fallback_applied": false}}
    })
}

fn proof() -> Value {
    json!({
        "schema_version": "1", "workcell_id": "wc-42-a", "issue_id": "42", "status": "success",
        "verification": {
            "gates": {
                "test": {"passed": false, "exit_code": 1, "score": 0.5, "fail_codes": ["pytest_failed", "oom"]},
                "lint": {"passed": true}
            },
            "all_passed": false, "blocking_failures": ["oom", "test", ""]
        },
        "metadata": {"started_at": "2026-02-03T09:00:01Z", "completed_at": "2026-02-03T09:10:01Z",
            "duration_ms": 91000.0, "cost_usd": 0.4, "tokens_used": 1200, "toolchain": "codex"}
    })
}

fn put(at: &Path, name: &str, document: &Value) {
    fs_err::create_dir_all(at).unwrap();
    fs_err::write(at.join(name), serde_json::to_vec(document).unwrap()).unwrap();
}

/// One archive of these documents, collected.
fn collected(manifest: &Value, proof: &Value, rollout: Option<&Value>) -> Collected<ArchivedRun> {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("folder");
    put(&folder, "manifest.json", manifest);
    put(&folder, "proof.json", proof);
    if let Some(rollout) = rollout {
        put(&folder, "rollout.json", rollout);
    }
    collect(root.path()).unwrap()
}

/// `document` with the value at a path of keys replaced, or removed when it is null.
fn with(mut document: Value, path: &str, value: Value) -> Value {
    let (parent, key) = path.rsplit_once('/').unwrap();
    let parent = document
        .pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap();
    match value {
        Value::Null => parent.remove(key),
        value => parent.insert(key.to_owned(), value),
    };
    document
}

fn summary(manifest: &Value, proof: &Value, rollout: Option<&Value>) -> RunSummary {
    let collected = collected(manifest, proof, rollout);
    assert!(collected.dropped.is_empty(), "{:?}", collected.dropped_runs);
    collected.runs[0].summary.clone()
}

#[test]
fn a_summary_holds_what_manifest_and_proof_recorded() {
    let found = summary(&manifest(), &proof(), None);
    let expected = json!({
        "run_id": "wc-42-a", "started_ms": STARTED_MS, "job_type": "code", "domain": "code",
        "action_executed": {"swarm_id": "speculate_vote", "max_candidates": 2, "max_minutes": 30,
            "max_iterations": null},
        "outcome": {"status": "failed", "fail_codes": ["pytest_failed", "oom", "test"],
            "gates": [{"name": "test", "passed": false, "score": 0.5},
                {"name": "lint", "passed": true, "score": null}]},
        "runtime": {"duration_ms": 91000}, "cost_usd_est": 0.4, "tokens_in": 1200,
        "tags": ["kernel", "cache"], "issue_id": "42"
    });
    assert_eq!(serde_json::to_value(found).unwrap(), expected);
}

#[test]
fn status_follows_the_proof_and_its_blocking_failures() {
    let rows = [
        ("success", true, json!([]), RunStatus::Success),
        ("partial", true, json!([]), RunStatus::Success),
        ("SUCCESS", true, json!(null), RunStatus::Success),
        ("success", false, json!([]), RunStatus::Failed),
        ("failed", true, json!([]), RunStatus::Failed),
        ("error", true, json!([]), RunStatus::Failed),
        ("timeout", true, json!([]), RunStatus::Timeout),
        (
            "failed",
            false,
            json!(["status:timeout"]),
            RunStatus::Timeout,
        ),
        (
            "success",
            true,
            json!(["status:timeout"]),
            RunStatus::Timeout,
        ),
    ];
    amphora_testing::each(&rows, |(word, all_passed, blocking, expected)| {
        let proof = with(proof(), "/status", json!(word));
        let proof = with(proof, "/verification/all_passed", json!(all_passed));
        let proof = with(proof, "/verification/blocking_failures", blocking.clone());
        match summary(&manifest(), &proof, None).outcome.status {
            found if found == *expected => Ok(()),
            found => Err(found),
        }
    });
}

#[test]
fn gaps_are_filled_from_the_next_best_source() {
    let none = Value::Null;
    let rollout = json!({
        "schema_version": "cyntra.rollout.v1", "workcell_id": "ro", "issue_id": "7", "job_type": "fab-world",
        "outcomes": {"verification": {"all_passed": true, "blocking_failures": ["rolled"]}},
        "scores": {"risk": "medium", "cost_usd": 0.7, "duration_ms": 5000},
        "planner": {"executed_plan": {"schema_version": "cyntra.executed_plan.v1",
            "swarm_id_executed": "serial_handoff", "timeout_seconds_executed": 59, "fallback_applied": true}},
        "generated_at": "2026-02-03T09:30:02Z"
    });
    let legacy = with(manifest(), "/planner", json!({"executed_plan": {}}));
    let unreadable = with(
        manifest(),
        "/planner",
        json!({"executed_plan": {"swarm_id_executed": "old form"}}),
    );
    let parallelism = |count: Value| {
        let manifest = with(
            manifest(),
            "/planner/executed_plan/max_candidates_executed",
            Value::Null,
        );
        let path = "/planner/executed_plan/parallelism_executed";
        with(manifest, path, count)
    };
    let candidates = |count: Value| {
        let manifest = with(legacy.clone(), "/speculate_mode", json!(true));
        with(manifest, "/control/speculate_parallelism", count)
    };
    let metadata = |key: &str| with(proof(), &format!("/metadata/{key}"), Value::Null);
    let bare = with(
        metadata("duration_ms"),
        "/metadata/completed_at",
        none.clone(),
    );
    type Row<'a> = (&'a str, Value, Value, &'a str, Value);
    let rows: [Row; 20] = [
        (
            "end for start",
            manifest(),
            metadata("started_at"),
            "/started_ms",
            json!(STARTED_MS + 600_000),
        ),
        (
            "unreadable start",
            manifest(),
            with(proof(), "/metadata/started_at", json!("soon")),
            "/started_ms",
            json!(STARTED_MS + 600_000),
        ),
        (
            "another zone",
            manifest(),
            with(
                proof(),
                "/metadata/started_at",
                json!("2026-02-03T10:00:01.5+01:00"),
            ),
            "/started_ms",
            json!(STARTED_MS + 500),
        ),
        (
            "measured duration",
            manifest(),
            metadata("duration_ms"),
            "/runtime/duration_ms",
            json!(600_000),
        ),
        (
            "duration of the rollout",
            manifest(),
            bare,
            "/runtime/duration_ms",
            json!(5000),
        ),
        (
            "cost of the rollout",
            manifest(),
            metadata("cost_usd"),
            "/cost_usd_est",
            json!(0.7),
        ),
        (
            "cost of the proof",
            manifest(),
            proof(),
            "/cost_usd_est",
            json!(0.4),
        ),
        (
            "job of the rollout",
            with(manifest(), "/job_type", none.clone()),
            proof(),
            "/domain",
            json!("fab_world"),
        ),
        (
            "verdict of the rollout",
            manifest(),
            with(proof(), "/verification", none.clone()),
            "/outcome",
            json!({"status": "success", "fail_codes": ["rolled"], "gates": []}),
        ),
        (
            "plan of the rollout",
            with(manifest(), "/planner", none.clone()),
            proof(),
            "/action_executed/max_minutes",
            json!(0),
        ),
        (
            "serial without a plan",
            legacy.clone(),
            proof(),
            "/action_executed",
            json!({"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": null, "max_iterations": null}),
        ),
        (
            "nobody knows what a broken plan was",
            unreadable,
            proof(),
            "/action_executed",
            json!({"swarm_id": null, "max_candidates": null, "max_minutes": null, "max_iterations": null}),
        ),
        (
            "candidates by their other name",
            parallelism(json!(3)),
            proof(),
            "/action_executed/max_candidates",
            json!(3),
        ),
        (
            "no number by that name",
            parallelism(json!("three")),
            proof(),
            "/action_executed/swarm_id",
            none.clone(),
        ),
        (
            "candidates without a plan",
            candidates(json!(3)),
            proof(),
            "/action_executed/max_candidates",
            json!(3),
        ),
        (
            "no candidates",
            candidates(json!(0)),
            proof(),
            "/action_executed/max_candidates",
            none.clone(),
        ),
        (
            "id of the manifest",
            manifest(),
            with(proof(), "/workcell_id", none.clone()),
            "/run_id",
            json!("wc-42-a"),
        ),
        (
            "id of the folder",
            with(manifest(), "/workcell_id", json!("")),
            with(proof(), "/workcell_id", none.clone()),
            "/run_id",
            json!("folder"),
        ),
        (
            "issue of the proof",
            with(manifest(), "/issue/id", none.clone()),
            proof(),
            "/issue_id",
            json!("42"),
        ),
        (
            "no issue at all",
            with(manifest(), "/issue", none.clone()),
            with(proof(), "/issue_id", none.clone()),
            "/issue_id",
            json!("7"),
        ),
    ];
    amphora_testing::each(&rows, |(_, manifest, proof, path, expected)| {
        let found = serde_json::to_value(summary(manifest, proof, Some(&rollout))).unwrap();
        match found.pointer(path).unwrap_or(&Value::Null) {
            found if found == expected => Ok(()),
            found => Err(found.to_string()),
        }
    });
}

#[test]
fn the_domain_follows_job_and_tags() {
    let rows = [
        ("code", json!(["kernel"]), Domain::Code),
        ("code", json!(["asset:chair"]), Domain::FabAsset),
        ("fab-world", json!(["asset:world"]), Domain::FabWorld),
        ("fab-asset", json!(null), Domain::Code),
    ];
    amphora_testing::each(&rows, |(job, tags, expected)| {
        let manifest = with(
            with(manifest(), "/job_type", json!(job)),
            "/issue/tags",
            tags.clone(),
        );
        match summary(&manifest, &proof(), None).domain {
            found if found == *expected => Ok(()),
            found => Err(found),
        }
    });
}

#[test]
fn times_come_from_documents_and_folders_from_names() {
    let root = tempfile::tempdir().unwrap();
    for name in ["b", "a", "c"] {
        put(&root.path().join(name), "manifest.json", &manifest());
        put(
            &root.path().join(name),
            "proof.json",
            &with(proof(), "/workcell_id", json!(name)),
        );
    }
    let first = collect(root.path()).unwrap().runs;
    // A copy has other modification times and another order of creation.
    let copy = tempfile::tempdir().unwrap();
    for name in ["c", "a", "b"] {
        for file in ["proof.json", "manifest.json"] {
            let document = fs_err::read(root.path().join(name).join(file)).unwrap();
            put(
                &copy.path().join(name),
                file,
                &serde_json::from_slice(&document).unwrap(),
            );
        }
    }
    let again = collect(copy.path()).unwrap().runs;
    let summaries = |runs: &[ArchivedRun]| -> Vec<RunSummary> {
        runs.iter().map(|run| run.summary.clone()).collect()
    };
    assert_eq!(summaries(&first), summaries(&again));
    assert_eq!(
        first
            .iter()
            .map(|run| run.folder.as_str())
            .collect::<String>(),
        "abc"
    );
}
