//! The issue, and all fields at once.

use amphora_planner::contracts::PlannerInput;
use serde_json::json;

use crate::scene::{Row, check, encoded, input, schema};

#[test]
fn a_whole_input() {
    let places = [
        1,
        4 + 2,
        8 + 2,
        13 + 1,
        17 + 4,
        28 + 283,
        28 + 736, // issue
        1052,
        1055,
        1058,
        1061,
        1065 + 1,
        1071 + 4,
        1076 + 1, // run: job, domain, swarm, limits, status
        1079 + 205,
        1335,
        1335 + 4,
        1335 + 5, // fail code; gates test, lint with its passing
        1367 + 1,
        1373 + 2,
        1379 + 1,
        1383, // duration, cost, recency, populated
        3708,
        3709,
        3716,
        3717,
        3718,
        3719,
        3724,
        3725,
        3726,
        3727,
        3728,
        3729,
        3732,
        3733,
        3734,
        3735,
        3736, // classes present
        3740,
        3743 + 5,
        3754 + 1,
        3759 + 1,
        3764 + 1,
        3769 + 2,
        3774,
        3775,
        3778,
    ];
    assert_eq!(encoded(&schema(), &input()), places);
    let dense = schema()
        .encode(&PlannerInput::from_value(&input()).unwrap())
        .to_dense(3779);
    let ones = dense
        .iter()
        .enumerate()
        .filter(|(_, value)| **value == 1.0)
        .map(|(at, _)| at as u32);
    assert_eq!(ones.collect::<Vec<_>>(), places);
}

#[test]
fn the_issue() {
    let words =
        |path: &'static str, words: &[&str], field: std::ops::Range<u32>| -> Vec<Row<'static>> {
            let place = |place: usize| vec![place as u32];
            words
                .iter()
                .enumerate()
                .map(|(at, word)| (path, json!(word), field.clone(), place(at)))
                .collect()
        };
    check(&words(
        "/issue/dk_priority",
        &["P0", "P1", "P2", "P3"],
        0..4,
    ));
    check(&words(
        "/issue/dk_risk",
        &["low", "medium", "high", "critical"],
        4..8,
    ));
    check(&words(
        "/issue/dk_size",
        &["XS", "S", "M", "L", "XL"],
        8..13,
    ));
    let ten =
        json!(["j", "i", "h", "g", "f", "e", "d", "c", "b", "a", "a"].map(|tag| format!("t{tag}")));
    // ta to th: the first eight by name, each once.
    let mut eight = vec![925, 670, 954, 563, 656, 721, 422, 899];
    eight.sort_unstable();
    check(&[
        ("/issue/dk_priority", json!("P9"), 0..4, vec![2]),
        ("/issue/dk_risk", json!("none"), 4..8, vec![1]),
        ("/issue/dk_size", json!("?"), 8..13, vec![2]),
        ("/issue/dk_attempts", json!(0), 13..17, vec![0]),
        ("/issue/dk_attempts", json!("2"), 13..17, vec![2]),
        ("/issue/dk_attempts", json!(3), 13..17, vec![3]),
        ("/issue/dk_attempts", json!(99), 13..17, vec![3]),
        ("/issue/dk_tool_hint", json!("claude"), 17..28, vec![7]),
        ("/issue/dk_tool_hint", json!(null), 17..28, vec![10]),
        ("/issue/tags", json!([]), 28..1052, vec![]),
        ("/issue/tags", ten, 28..1052, eight),
    ]);
}
