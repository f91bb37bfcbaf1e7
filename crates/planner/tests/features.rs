//! Golden values of every field of the feature vector, at the documents' offsets.
//!
//! Expected buckets were computed apart (Python's `hashlib`).
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::PlannerInput;
use amphora_planner::encode::FeatureSchema;
use serde_json::{Value, json};

/// 2026-02-03T09:00:00Z.
const NOW_MS: u64 = 1_770_109_200_000;
const DAY_MS: u64 = 86_400_000;

fn run() -> Value {
    json!({
        "run_id": "r1", "started_ms": NOW_MS - 3 * DAY_MS, "job_type": "code", "domain": "code",
        "action_executed": {"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": 30},
        "outcome": {"status": "failed", "fail_codes": ["pytest_failed"],
            "gates": [{"name": "test", "passed": false}, {"name": "lint", "passed": true}]},
        "runtime": {"duration_ms": 91_000}, "cost_usd_est": 0.12, "tags": ["kernel"]
    })
}

fn input() -> Value {
    json!({
        "schema_version": "cyntra.planner_input.v1", "created_at": "2026-02-03T09:00:00Z",
        "universe_id": "u1", "job_type": "code",
        "universe_defaults": {"swarm_id": "serial_handoff", "objective_id": "realism"},
        "issue": {"issue_id": "42", "dk_priority": "P1", "dk_risk": "high", "dk_size": "M",
            "dk_tool_hint": "codex", "dk_attempts": 1, "tags": ["kernel", "cache", "kernel"]},
        "history": {"last_n_similar_runs": [run()]},
        "action_space": ActionSpace::default(),
        "system_state": {"active_workcells_bin": "1_2", "queue_depth_bin": "3_5",
            "available_toolchains": ["claude", "codex", "another"], "hour_bucket": "09",
            "budget_remaining_bin": "high"}
    })
}

fn schema() -> FeatureSchema {
    FeatureSchema::new(&ActionSpace::default(), 8)
}

fn encoded(schema: &FeatureSchema, input: &Value) -> Vec<u32> {
    let vector = schema.encode(&PlannerInput::from_value(input).unwrap());
    assert!(
        vector.indices.is_sorted_by(|a, b| a < b),
        "{:?}",
        vector.indices
    );
    assert!(
        vector
            .indices
            .iter()
            .all(|index| (*index as usize) < schema.width())
    );
    assert!(
        vector.values.len() == vector.indices.len()
            && vector.values.iter().all(|value| *value == 1.0)
    );
    vector.indices
}

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

/// A change of the input, the field it concerns, and the places that are then 1 within it.
type Row<'a> = (&'a str, Value, std::ops::Range<u32>, Vec<u32>);

fn check(rows: &[Row]) {
    let schema = schema();
    amphora_testing::each(rows, |(path, value, field, expected)| {
        let mut input = input();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = input.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(values) => values[key.parse::<usize>().unwrap()] = value.clone(),
            Value::Object(entries) => drop(entries.insert(key.to_owned(), value.clone())),
            _ => return Err("no such place".to_owned()),
        }
        let places = encoded(&schema, &input)
            .into_iter()
            .filter(|place| field.contains(place));
        let found: Vec<u32> = places.map(|place| place - field.start).collect();
        match found == *expected {
            true => Ok(()),
            false => Err(format!("found {found:?}")),
        }
    });
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

#[test]
fn runs_fill_the_slots_from_the_latest_on() {
    let mut input = input();
    let runs = (0..10).map(|age| {
        let mut run = run();
        run["run_id"] = json!(format!("r{age}"));
        run["started_ms"] = json!(NOW_MS - DAY_MS * (10 - age));
        run["outcome"]["status"] = json!(["success", "failed", "timeout"][age as usize % 3]);
        run
    });
    input["history"]["last_n_similar_runs"] = runs.collect();
    let places = encoded(&schema(), &input);
    // r9 is the latest; r1 and r0 do not fit.
    let statuses: Vec<u32> = (0..8)
        .map(|slot| 1052 + 332 * slot + 24 + (9 - slot) % 3)
        .collect();
    let found = statuses
        .iter()
        .filter(|place| places.contains(place))
        .count();
    assert_eq!(found, 8);
    let populated: Vec<u32> = (0..8).map(|slot| 1052 + 332 * slot + 331).collect();
    assert!(populated.iter().all(|place| places.contains(place)));
}

#[test]
fn the_width_follows_slots_and_action_space() {
    let default = ActionSpace::default();
    let widths = [(0, 1123), (1, 1455), (4, 2451), (8, 3779), (16, 6435)];
    amphora_testing::each(&widths, |(slots, width)| {
        let schema = FeatureSchema::new(&default, *slots);
        let mut end = 0;
        for field in schema.fields() {
            if field.offset != end {
                return Err(format!("a gap before {}", field.name));
            }
            end += field.width;
        }
        match (schema.width(), end) {
            (found, end) if found == *width && end as usize == *width => Ok(()),
            found => Err(format!("found {found:?}")),
        }
    });
    let wider = ActionSpace {
        swarm_ids: ["a", "b", "c"].map(str::to_owned).to_vec(),
        ..default.clone()
    };
    // One place more for the default swarm, and one in each slot.
    assert_eq!(FeatureSchema::new(&wider, 8).width(), 3779 + 9);
    let mut input = input();
    input["action_space"]["swarm_ids"] = json!(["a", "b", "c"]);
    input["universe_defaults"]["swarm_id"] = json!("c");
    input["history"]["last_n_similar_runs"][0]["action_executed"]["swarm_id"] = json!("c");
    let places = encoded(&FeatureSchema::new(&wider, 1), &input);
    assert!(places.contains(&(1052 + 6 + 2)) && places.contains(&(1052 + 333 + 32 + 2)));
}

#[test]
fn the_digest_names_the_layout() {
    let digest = |space: &ActionSpace, slots| FeatureSchema::new(space, slots).digest().unwrap();
    let default = ActionSpace::default();
    // Fixed: a bundle of today must be recognized tomorrow.
    assert_eq!(
        digest(&default, 8),
        "43bf72d2d5169e09571cf2f8d08bbebe770f292c7b30ce01a9d439147c71fcff"
    );
    let mut minutes = default.clone();
    minutes.max_minutes_bins.swap(0, 1);
    let mut renamed = default.clone();
    renamed.swarm_ids.reverse();
    let mut digests = vec![
        digest(&default, 8),
        digest(&default, 4),
        digest(&minutes, 8),
        digest(&renamed, 8),
    ];
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 4);
    let mut described = default.clone();
    described.validity_rules.clear();
    assert_eq!(
        digest(&described, 8),
        digest(&default, 8),
        "rules move no place"
    );
}
