//! The checker finds what is wrong.

use amphora_planner::action_space::ActionSpace;
use amphora_planner::checker::action_violations;
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
