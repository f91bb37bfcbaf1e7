//! Action space, universe and the orchestrator's state.

use amphora_planner::action_space::ActionSpace;
use serde_json::json;

use crate::scene::{Row, check};

#[test]
fn surroundings() {
    let space = ActionSpace::default();
    let mut wide = serde_json::to_value(&space).unwrap();
    wide["max_minutes_bins"] = json!([1, 2, 3, 4, 5, 6, 7, 8, 9, "NA"]);
    wide["max_candidates_bins"] = json!([1]);
    let mut rows: Vec<Row> = vec![
        ("/action_space", wide.clone(), 3708..3716, vec![0, 1]),
        ("/action_space", wide.clone(), 3716..3724, vec![0]),
        ("/action_space", wide, 3724..3732, (0..8).collect()),
        (
            "/universe_defaults/swarm_id",
            json!("speculate_vote"),
            3740..3743,
            vec![1],
        ),
        (
            "/universe_defaults/swarm_id",
            json!(null),
            3740..3743,
            vec![2],
        ),
        (
            "/universe_defaults/swarm_id",
            json!("null"),
            3740..3743,
            vec![],
        ),
        (
            "/universe_defaults/objective_id",
            json!(null),
            3743..3754,
            vec![10],
        ),
        (
            "/system_state/active_workcells_bin",
            json!("0"),
            3754..3759,
            vec![0],
        ),
        (
            "/system_state/active_workcells_bin",
            json!("3_5"),
            3754..3759,
            vec![2],
        ),
        (
            "/system_state/active_workcells_bin",
            json!("6_plus"),
            3754..3759,
            vec![3],
        ),
        (
            "/system_state/active_workcells_bin",
            json!(null),
            3754..3759,
            vec![4],
        ),
        (
            "/system_state/active_workcells_bin",
            json!("7"),
            3754..3759,
            vec![],
        ),
        (
            "/system_state/queue_depth_bin",
            json!("0"),
            3759..3764,
            vec![0],
        ),
        (
            "/system_state/queue_depth_bin",
            json!("1_2"),
            3759..3764,
            vec![1],
        ),
        (
            "/system_state/queue_depth_bin",
            json!("6_plus"),
            3759..3764,
            vec![2],
        ),
        (
            "/system_state/queue_depth_bin",
            json!(null),
            3759..3764,
            vec![4],
        ),
        ("/system_state/queue_depth", json!(21), 3759..3764, vec![3]),
        ("/system_state/queue_depth", json!(20), 3759..3764, vec![2]),
        ("/system_state/queue_depth", json!(0), 3759..3764, vec![0]),
        (
            "/system_state/hour_bucket",
            json!("00"),
            3764..3769,
            vec![0],
        ),
        (
            "/system_state/hour_bucket",
            json!("06"),
            3764..3769,
            vec![1],
        ),
        (
            "/system_state/hour_bucket",
            json!("12"),
            3764..3769,
            vec![2],
        ),
        (
            "/system_state/hour_bucket",
            json!("18"),
            3764..3769,
            vec![3],
        ),
        (
            "/system_state/hour_bucket",
            json!(null),
            3764..3769,
            vec![4],
        ),
        ("/system_state/hour_bucket", json!("24"), 3764..3769, vec![]),
        (
            "/system_state/budget_remaining_bin",
            json!("unlimited"),
            3769..3774,
            vec![3],
        ),
        (
            "/system_state/budget_remaining_bin",
            json!(null),
            3769..3774,
            vec![4],
        ),
        (
            "/system_state/budget_remaining_bin",
            json!("little"),
            3769..3774,
            vec![],
        ),
        (
            "/system_state/available_toolchains",
            json!(null),
            3774..3778,
            vec![],
        ),
        (
            "/system_state/available_toolchains",
            json!(["crush", "opencode", "claude", "codex"]),
            3774..3778,
            vec![0, 1, 2, 3],
        ),
        (
            "/system_state",
            json!({}),
            3754..3779,
            vec![4, 9, 14, 19, 24],
        ),
        ("/system_state", json!(null), 3754..3779, vec![]),
    ];
    rows.push((
        "/history/last_n_similar_runs",
        json!([]),
        1052..3708,
        vec![],
    ));
    check(&rows);
}
