//! Earlier runs.

use serde_json::{Value, json};

use crate::scene::{DAY_MS, NOW_MS, Row, check};

#[test]
fn an_earlier_run() {
    let at = |path: &str| format!("/history/last_n_similar_runs/0/{path}");
    let minute = 60_000;
    let gates = |names: &[(&str, bool)]| -> Value {
        names
            .iter()
            .map(|(name, passed)| json!({"name": name, "passed": passed}))
            .collect()
    };
    let known = [
        "test",
        "typecheck",
        "lint",
        "build",
        "fab-realism",
        "fab-godot",
        "fab-playability",
    ];
    let known: Vec<(&str, bool)> = known.into_iter().map(|name| (name, true)).collect();
    let codes: Vec<String> = ["a", "b", "c", "d", "e", "f"]
        .iter()
        .map(|code| format!("c{code}"))
        .collect();
    let mut rows: Vec<(String, Value, std::ops::Range<u32>, Vec<u32>)> = vec![
        (at("job_type"), json!("fab-world"), 1052..1055, vec![1]),
        (at("job_type"), json!("fab-asset"), 1052..1055, vec![2]),
        (at("job_type"), json!("another"), 1052..1055, vec![]),
        (at("domain"), json!("fab_world"), 1055..1058, vec![1]),
        (at("domain"), json!("fab_asset"), 1055..1058, vec![2]),
        (
            at("action_executed/swarm_id"),
            json!("speculate_vote"),
            1058..1061,
            vec![1],
        ),
        (
            at("action_executed/swarm_id"),
            json!(null),
            1058..1061,
            vec![2],
        ),
        (
            at("action_executed/swarm_id"),
            json!("another"),
            1058..1061,
            vec![],
        ),
        (
            at("action_executed/max_candidates"),
            json!(3),
            1061..1065,
            vec![2],
        ),
        (
            at("action_executed/max_candidates"),
            json!(5),
            1061..1065,
            vec![2],
        ),
        (
            at("action_executed/max_candidates"),
            json!(null),
            1061..1065,
            vec![3],
        ),
        (
            at("action_executed/max_minutes"),
            json!(0),
            1065..1071,
            vec![0],
        ),
        (
            at("action_executed/max_minutes"),
            json!(37),
            1065..1071,
            vec![1],
        ),
        (
            at("action_executed/max_minutes"),
            json!(38),
            1065..1071,
            vec![2],
        ),
        (
            at("action_executed/max_minutes"),
            json!(90),
            1065..1071,
            vec![3],
        ),
        (
            at("action_executed/max_minutes"),
            json!(200),
            1065..1071,
            vec![4],
        ),
        (
            at("action_executed/max_minutes"),
            json!(null),
            1065..1071,
            vec![5],
        ),
        (
            at("action_executed/max_iterations"),
            json!(4),
            1071..1076,
            vec![2],
        ),
        (
            at("action_executed/max_iterations"),
            json!(5),
            1071..1076,
            vec![3],
        ),
        (at("outcome/status"), json!("success"), 1076..1079, vec![0]),
        (at("outcome/status"), json!("timeout"), 1076..1079, vec![2]),
        (at("outcome/fail_codes"), json!([]), 1079..1335, vec![]),
        // The first five: ca to ce.
        (
            at("outcome/fail_codes"),
            json!(codes),
            1079..1335,
            vec![84, 107, 112, 191, 195],
        ),
        (at("outcome/gates"), gates(&[]), 1335..1367, vec![]),
        (
            at("outcome/gates"),
            gates(&known),
            1335..1367,
            (0..14).collect(),
        ),
        // Buckets 3, 3 and 7 of the nine that other gates share.
        (
            at("outcome/gates"),
            gates(&[("custom", true), ("e2e", false), ("fmt", true)]),
            1335..1367,
            vec![20, 28, 29],
        ),
        (
            at("outcome/gates"),
            gates(&[("e2e", false), ("custom", true)]),
            1335..1367,
            vec![20],
        ),
        (
            at("outcome/gates"),
            gates(&[("e2e", true), ("custom", true)]),
            1335..1367,
            vec![20, 21],
        ),
        (at("cost_usd_est"), json!(null), 1373..1379, vec![5]),
    ];
    let durations = [(0, 0), (1, 1), (5, 2), (15, 3), (30, 4), (60, 5)];
    for (edge, bin) in durations {
        rows.push((
            at("runtime/duration_ms"),
            json!(edge * minute),
            1367..1373,
            vec![bin],
        ));
        if bin > 0 {
            rows.push((
                at("runtime/duration_ms"),
                json!(edge * minute - 1),
                1367..1373,
                vec![bin - 1],
            ));
        }
    }
    for (cost, bin) in [
        (0.0, 0),
        (0.01, 1),
        (0.1, 2),
        (1.0, 3),
        (10.0, 4),
        (9.99, 3),
    ] {
        rows.push((at("cost_usd_est"), json!(cost), 1373..1379, vec![bin]));
    }
    for (days, bin) in [(0, 0), (1, 1), (7, 2), (30, 3)] {
        let started = NOW_MS - days * DAY_MS;
        rows.push((at("started_ms"), json!(started), 1379..1383, vec![bin]));
        rows.push((
            at("started_ms"),
            json!(started + 1),
            1379..1383,
            vec![bin.saturating_sub(1)],
        ));
    }
    let rows: Vec<Row> = rows
        .iter()
        .map(|(path, value, field, places)| {
            (path.as_str(), value.clone(), field.clone(), places.clone())
        })
        .collect();
    check(&rows);
}
