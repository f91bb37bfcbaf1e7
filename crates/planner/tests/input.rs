//! An input built from an issue and a history is leakage-safe and valid.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{
    PlannerInput, RunSummary, SystemState, UniverseDefaults, input_hash,
};
use amphora_planner::history::{Attempts, DecisionKey, History, InputRequest, build_input};
use amphora_planner::issues::{Issue, parse_issues};
use serde_json::json;

fn issue(tags: &[&str]) -> Issue {
    let line = json!({"id": "42", "title": "Cache key drift", "description": "The cache forgets a KEY.",
        "tags": tags, "dk_priority": "P1", "dk_risk": "high", "dk_attempts": "7"});
    parse_issues(line.to_string().as_bytes()).issues.remove(0)
}

fn run(run_id: &str, started_ms: u64) -> RunSummary {
    serde_json::from_value(json!({
        "run_id": run_id, "started_ms": started_ms, "job_type": "code", "domain": "code",
        "action_executed": {}, "outcome": {"status": "failed", "fail_codes": [], "gates": []},
        "runtime": {"duration_ms": 10}, "tags": ["kernel"], "issue_id": "42"
    }))
    .unwrap()
}

#[test]
fn an_input_knows_the_past_and_reads_back() {
    let issue = issue(&["kernel"]);
    let decision = DecisionKey {
        issue_id: "42".to_owned(),
        started_ms: 1_000,
    };
    let history = History::of_decisions(vec![
        (run("past", 100), None),
        (run("sibling", 200), Some(decision.clone())),
        (run("under-way", 995), None),
        (run("future", 1_000), None),
    ]);
    let space = ActionSpace::default();
    let universe = UniverseDefaults {
        swarm_id: Some("serial_handoff".to_owned()),
        objective_id: None,
    };
    let state = SystemState {
        hour_bucket: Some("00".to_owned()),
        ..SystemState::default()
    };
    let request = InputRequest {
        issue: &issue,
        history: &history,
        action_space: &space,
        universe_id: "u1",
        universe_defaults: &universe,
        system_state: Some(&state),
        now_ms: 1_000,
        similar: 8,
        attempts: Attempts::OfHistory,
        decision: Some(&decision),
        world_id: None,
    };
    let input = build_input(&request).unwrap();
    let found: Vec<&str> = input
        .history
        .last_n_similar_runs
        .iter()
        .map(|run| run.run_id.as_str())
        .collect();
    assert_eq!(found, ["past"]);
    assert_eq!(input.issue.dk_attempts, 1);
    assert_eq!(input.created_at, "1970-01-01T00:00:01Z");
    assert_eq!(input.job_type, "code");
    assert_eq!(
        input.issue.keywords.as_deref().unwrap(),
        ["cache", "key", "drift", "forgets"]
    );
    let read = PlannerInput::from_json(input.to_json().unwrap().as_bytes()).unwrap();
    assert_eq!(read, input);

    let of_issue = build_input(&InputRequest {
        attempts: Attempts::OfIssue,
        decision: None,
        ..request
    })
    .unwrap();
    assert_eq!(of_issue.issue.dk_attempts, 7);
    assert_eq!(of_issue.history.last_n_similar_runs.len(), 2);
    let none = build_input(&InputRequest {
        similar: 0,
        ..request
    })
    .unwrap();
    assert!(none.history.last_n_similar_runs.is_empty());
    assert!(
        build_input(&InputRequest {
            now_ms: u64::MAX,
            ..request
        })
        .is_err()
    );
}

#[test]
fn worlds_are_a_job_of_their_own_and_tags_are_bounded() {
    let many: Vec<String> = (0..40).map(|n| format!("tag-{n}")).collect();
    let mut tags: Vec<&str> = many.iter().map(String::as_str).collect();
    tags.insert(0, "asset:world");
    let issue = issue(&tags);
    let input = build_input(&InputRequest {
        issue: &issue,
        history: &History::new(Vec::new()),
        action_space: &ActionSpace::default(),
        universe_id: "unknown",
        universe_defaults: &UniverseDefaults::default(),
        system_state: None,
        now_ms: 0,
        similar: 8,
        attempts: Attempts::OfHistory,
        decision: None,
        world_id: Some("w1"),
    })
    .unwrap();
    assert_eq!(input.job_type, "fab-world");
    assert_eq!(input.issue.world_id(), Some("w1"));
    assert_eq!(input.issue.tags.len(), 32);
    assert_eq!(input.issue.dk_attempts, 0);
}

#[test]
fn the_hash_of_an_input_covers_what_its_open_objects_hold_besides() {
    let document = json!({
        "schema_version": "cyntra.planner_input.v1", "created_at": "2026-02-03T09:00:00Z",
        "universe_id": "u1", "job_type": "code",
        "universe_defaults": {"swarm_id": "serial_handoff", "objective_id": null},
        "issue": {"issue_id": "42", "dk_priority": "P1", "dk_risk": "high", "dk_size": "M",
            "dk_tool_hint": null, "dk_attempts": 1, "tags": ["kernel", "cache"],
            "title": "Cache key drift", "keywords": ["cache", "drift", "key"],
            "owner": {"team": "storage", "since": 3.5}, "world_id": "w1"},
        "history": {"last_n_similar_runs": []},
        "action_space": {"swarm_ids": ["serial_handoff", "speculate_vote"],
            "max_minutes_bins": [15, 30, 45, 60, 120, "NA"], "max_candidates_bins": [1, 2, 3, "NA"],
            "max_iterations_bins": [1, 2, 3, 5, "NA"],
            "validity_rules": [{"description": "serial means one candidate"}]},
        "system_state": {"active_workcells_bin": "1_2", "queue_depth_bin": null,
            "available_toolchains": ["codex"], "toolchain_health": null, "hour_bucket": "09",
            "budget_remaining_bin": null, "free_gpus": [0, 1]}
    });
    let input = PlannerInput::from_value(&document).unwrap();
    assert_eq!(input.to_value().unwrap(), document);
    assert_eq!(input.input_hash().unwrap(), input_hash(&document));
    assert_eq!(
        PlannerInput::with_hash(&document).unwrap().1,
        input_hash(&document)
    );
    assert_eq!(input.issue.world_id(), Some("w1"));
    for place in ["/issue/owner/since", "/system_state/free_gpus"] {
        let mut other = document.clone();
        *other.pointer_mut(place).unwrap() = json!([7]);
        let other = PlannerInput::from_value(&other).unwrap();
        assert_ne!(
            other.input_hash().unwrap(),
            input_hash(&document),
            "{place}"
        );
    }
}
