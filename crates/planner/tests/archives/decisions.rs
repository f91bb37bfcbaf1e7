//! Which runs are siblings, and from when on others know their outcomes.

use amphora_planner::history::archives::collect;
use amphora_planner::history::{DecisionKey, Query};
use serde_json::{Value, json};

use crate::{STARTED_MS, manifest, proof, put, with};

fn input(created_at: &str) -> Value {
    json!({
        "schema_version": "cyntra.planner_input.v1", "created_at": created_at, "universe_id": "u1",
        "job_type": "code", "universe_defaults": {},
        "issue": {"issue_id": "42", "dk_priority": "P1", "dk_risk": "high", "dk_size": "M",
            "dk_tool_hint": null, "dk_attempts": 0, "tags": []},
        "history": {"last_n_similar_runs": []},
        "action_space": {"swarm_ids": ["serial_handoff"], "max_candidates_bins": [1],
            "max_minutes_bins": [30], "max_iterations_bins": ["NA"], "validity_rules": []}
    })
}

#[test]
fn runs_of_one_decision_are_siblings() {
    let root = tempfile::tempdir().unwrap();
    // Name, issue, candidate, start, duration, stored decision; the decision found. All in seconds.
    type Row = (&'static str, &'static str, bool, u32, u32, Option<u32>, u32);
    let rows: [Row; 14] = [
        ("first", "42", true, 10, 20, None, 10),
        ("overlaps", "42", true, 11, 2, None, 10),
        ("chained", "42", true, 29, 9, None, 10),
        ("later", "42", true, 39, 1, None, 39),
        ("serial", "42", false, 40, 9, None, 40),
        ("serial-again", "42", false, 45, 9, None, 45),
        ("other-issue", "43", true, 12, 9, None, 12),
        ("stored", "44", true, 12, 9, Some(8), 8),
        ("stored-sibling", "44", true, 7, 9, Some(8), 8),
        // Without a readable input, but under way at the same time.
        ("unreadable", "44", true, 13, 12, None, 8),
        ("unreadable-and-late", "44", true, 24, 3, None, 8),
        ("unreadable-serial", "44", false, 14, 3, None, 14),
        ("stored-later", "44", true, 40, 9, Some(40), 40),
        ("between", "44", true, 30, 5, None, 30),
    ];
    let at = |second: u32| format!("2026-02-03T09:00:{second:02}Z");
    for (name, issue, candidate, start, duration, stored, _) in &rows {
        let manifest = with(manifest(), "/issue/id", json!(issue));
        let manifest = with(manifest, "/speculate_mode", json!(candidate));
        let stored = stored.map_or(json!({}), |second| input(&at(second)));
        let manifest = with(manifest, "/planner/planner_input", stored);
        let proof = with(proof(), "/workcell_id", json!(name));
        let proof = with(
            proof,
            "/metadata",
            json!({"started_at": at(*start), "duration_ms": duration * 1000}),
        );
        put(&root.path().join(name), "manifest.json", &manifest);
        put(&root.path().join(name), "proof.json", &proof);
    }
    let collected = collect(root.path()).unwrap();
    amphora_testing::each(&rows, |(name, issue, .., decided)| {
        let run = collected
            .runs
            .iter()
            .find(|run| run.folder == *name)
            .unwrap();
        let expected = DecisionKey {
            issue_id: (*issue).to_owned(),
            started_ms: STARTED_MS - 1_000 + u64::from(*decided) * 1_000,
        };
        match &run.decision {
            Some(found) if *found == expected => Ok(()),
            found => Err(format!("{found:?}")),
        }
    });
    assert_eq!(collected.history().runs().len(), rows.len());
}

#[test]
fn an_outcome_is_known_once_the_decision_ended() {
    // Seconds and verdict of each candidate; from which second on each is known.
    type Row = ([(u64, &'static str); 3], [u64; 3]);
    let rows: [Row; 4] = [
        (
            [(60, "failed"), (120, "success"), (300, "failed")],
            [120, 120, 300],
        ),
        (
            [(60, "failed"), (120, "failed"), (300, "timeout")],
            [300, 300, 300],
        ),
        (
            [(60, "success"), (120, "success"), (300, "failed")],
            [60, 120, 300],
        ),
        (
            [(60, "timeout"), (120, "failed"), (300, "success")],
            [300, 300, 300],
        ),
    ];
    amphora_testing::each(&rows, |(candidates, known)| {
        let root = tempfile::tempdir().unwrap();
        for (name, (seconds, status)) in ["a", "b", "c"].iter().zip(candidates) {
            let manifest = with(manifest(), "/speculate_mode", json!(true));
            let proof = with(proof(), "/workcell_id", json!(name));
            let proof = with(proof, "/status", json!(status));
            let proof = with(
                proof,
                "/verification/all_passed",
                json!(*status == "success"),
            );
            let proof = with(proof, "/verification/blocking_failures", json!([]));
            let proof = with(
                proof,
                "/metadata",
                json!({"started_at": "2026-02-03T09:00:01Z", "duration_ms": seconds * 1000}),
            );
            put(&root.path().join(name), "manifest.json", &manifest);
            put(&root.path().join(name), "proof.json", &proof);
        }
        let collected = collect(root.path()).unwrap();
        let history = collected.history();
        for (place, second) in known.iter().enumerate() {
            let moment = STARTED_MS + second * 1000;
            let run = &collected.runs[place];
            if run.known_ms != moment {
                return Err(format!("{}: {}", run.folder, run.known_ms - STARTED_MS));
            }
            for (moment, is_known) in [(moment - 1, false), (moment, true)] {
                let query = Query {
                    job_type: "code",
                    started_ms: moment,
                    ..Query::default()
                };
                let found = history.similar(&query, 8);
                if found.iter().any(|known| known.run_id == run.folder) != is_known {
                    return Err(format!("{} at {moment}", run.folder));
                }
                let attempts = known
                    .iter()
                    .filter(|known| STARTED_MS + **known * 1000 <= moment);
                if history.attempts("42", moment, None) as usize != attempts.count() {
                    return Err(format!("attempts at {moment}"));
                }
            }
        }
        Ok(())
    });
}
