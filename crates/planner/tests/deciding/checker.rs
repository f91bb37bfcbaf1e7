//! The checker finds what is wrong.

use amphora_planner::action_space::ActionSpace;
use amphora_planner::checker::{Caps, action_violations, plan_violations};
use amphora_planner::decide::Reason;
use amphora_testing::each;
use serde_json::{Value, json};

#[test]
fn every_fault_of_an_action_is_found() {
    let rows: [(&str, Value, usize); 10] = [
        ("code", json!(["serial_handoff", 1, 30, "NA"]), 0),
        ("code", json!(["speculate_vote", "NA", "NA", "NA"]), 0),
        ("fab-world", json!(["speculate_vote", 3, 120, 5]), 0),
        ("code", json!(["serial_handoff", 2, 30, "NA"]), 1),
        ("code", json!(["serial_handoff", 2, 30, 1]), 2),
        ("fab-world", json!(["speculate_vote", "NA", 30, 1]), 1),
        ("code", json!(["another", 1, 30, "NA"]), 1),
        ("code", json!(["speculate_vote", 4, 31, "NA"]), 2),
        ("code", json!(["speculate_vote", 0, 30, "NA"]), 2),
        ("code", json!([null, null, null, null]), 5),
    ];
    let space = serde_json::to_value(ActionSpace::default()).unwrap();
    each(&rows, |(job_type, tuple, faults)| {
        let action = json!({
            "swarm_id": tuple[0], "max_candidates_bin": tuple[1],
            "max_minutes_bin": tuple[2], "max_iterations_bin": tuple[3]
        });
        let found = action_violations(&space, job_type, &action);
        (found.len() == *faults)
            .then_some(())
            .ok_or(found.join("; "))
    });
}

#[test]
fn what_is_not_understood_is_a_violation() {
    let action = json!({"swarm_id": "a", "max_candidates_bin": 1, "max_minutes_bin": 1, "max_iterations_bin": 1});
    let rules = [
        json!({"description": "", "if": {"weekday": "Sunday"}}),
        json!({"description": "", "unless": {"swarm_id": "a"}}),
        json!({"description": "", "then": "one"}),
        json!({"description": "", "then": {"max_dollars": 1}}),
        json!({"description": "", "then_in": {"swarm_id": "a"}}),
        json!("serial means one candidate"),
        json!(null),
        json!([]),
    ];
    each(&rules, |rule| {
        let space = json!({
            "swarm_ids": ["a"], "max_candidates_bins": [1], "max_minutes_bins": [1],
            "max_iterations_bins": [1], "validity_rules": [rule]
        });
        let found = action_violations(&space, "code", &action);
        (found.len() == 1).then_some(()).ok_or(found.join("; "))
    });
    assert!(!action_violations(&json!({}), "code", &action).is_empty());
}

#[test]
fn every_fault_of_a_plan_is_found() {
    let caps = Caps {
        max_candidates: Some(2),
        timeout_seconds: Some(1800),
        max_iterations: None,
    };
    let rows = [
        ("within", json!({}), 0),
        (
            "at the caps",
            json!({"max_candidates_executed": 2, "timeout_seconds_executed": 1800}),
            0,
        ),
        ("uncapped", json!({"max_iterations_executed": 1_000_000}), 0),
        (
            "fell back",
            json!({"fallback_applied": true, "fallback_reason": "low_confidence"}),
            0,
        ),
        (
            "an open object",
            json!({"fallback_detail": "0.1 is less than 0.2", "more": 1}),
            0,
        ),
        ("too many", json!({"max_candidates_executed": 3}), 1),
        ("too long", json!({"timeout_seconds_executed": 1801}), 1),
        (
            "both",
            json!({"max_candidates_executed": 9, "timeout_seconds_executed": 9999}),
            2,
        ),
        (
            "unlimited",
            json!({"max_candidates_executed": null, "timeout_seconds_executed": null}),
            2,
        ),
        (
            "none",
            json!({"max_candidates_executed": 0, "max_iterations_executed": 0}),
            2,
        ),
        ("negative", json!({"timeout_seconds_executed": -60}), 1),
        (
            "words",
            json!({"timeout_seconds_executed": "1800", "max_iterations_executed": 1.5}),
            2,
        ),
        (
            "another document",
            json!({"schema_version": "cyntra.planner_action.v1"}),
            1,
        ),
        ("no swarm", json!({"swarm_id_executed": ""}), 1),
        ("no verdict", json!({"fallback_applied": null}), 1),
        ("no reason", json!({"fallback_applied": true}), 1),
        (
            "a free reason",
            json!({"fallback_applied": true, "fallback_reason": "low_confidence_0.1"}),
            1,
        ),
        (
            "off is none",
            json!({"fallback_applied": true, "fallback_reason": "planner_off"}),
            1,
        ),
        (
            "a reason for nothing",
            json!({"fallback_reason": "log_only"}),
            1,
        ),
    ];
    each(&rows, |(_, change, faults)| {
        let mut plan = json!({
            "schema_version": "cyntra.executed_plan.v1", "swarm_id_executed": "serial_handoff",
            "max_candidates_executed": 1, "timeout_seconds_executed": 900,
            "max_iterations_executed": null, "fallback_applied": false, "fallback_reason": null
        });
        let changes = change.as_object().unwrap().clone();
        plan.as_object_mut().unwrap().extend(changes);
        let found = plan_violations(&plan, caps);
        (found.len() == *faults)
            .then_some(())
            .ok_or(found.join("; "))
    });
    assert!(!plan_violations(&json!("serial_handoff"), Caps::default()).is_empty());
    each(Reason::ALL, |reason| {
        let plan = json!({
            "schema_version": "cyntra.executed_plan.v1", "swarm_id_executed": "serial_handoff",
            "fallback_applied": true, "fallback_reason": reason.code()
        });
        let accepted = plan_violations(&plan, Caps::default()).is_empty();
        (accepted == (*reason != Reason::PlannerOff))
            .then_some(())
            .ok_or("the lists differ")
    });
}
