//! The valid set against a brute force over the JSON, masks, bins, digests.

use std::collections::BTreeSet;

use amphora_planner::action_space::{Action, ActionSpace, Head, NamedAction};
use amphora_planner::checker;
use amphora_planner::contracts::Bin;
use amphora_testing::each;
use serde_json::{Value, json};

/// The space of short tasks: other minutes, and a rule that lists what it allows.
fn short() -> ActionSpace {
    let document = json!({
        "swarm_ids": ["serial_handoff", "speculate_vote"],
        "max_candidates_bins": [1, 2, 3, "NA"],
        "max_minutes_bins": [2, 5, 10, 15, 30, "NA"],
        "max_iterations_bins": [1, 2, 3, 5, "NA"],
        "validity_rules": [
            {"description": "one", "if": {"swarm_id": "serial_handoff"}, "then": {"max_candidates_bin": 1}},
            {"description": "several", "if": {"swarm_id": "speculate_vote"}, "then_in": {"max_candidates_bin": [2, 3]}},
            {"description": "none", "if": {"job_type": "code"}, "then": {"max_iterations_bin": "NA"}}
        ]
    });
    ActionSpace::from_json(document.to_string().as_bytes()).unwrap()
}

fn list(space: &Value, name: &str) -> Vec<Value> {
    space[name].as_array().unwrap().clone()
}

/// Every action of the space that the checker accepts, as JSON tuples in the documents' order.
fn brute_force(space: &ActionSpace, job_type: &str) -> Vec<[Value; 4]> {
    let space = serde_json::to_value(space).unwrap();
    let mut swarms = list(&space, "swarm_ids");
    swarms.sort_by_key(|swarm| swarm.as_str().unwrap().to_owned());
    let bins = |name| {
        let mut bins = list(&space, name);
        bins.sort_by_key(|bin| bin.as_u64().unwrap_or(u64::MAX));
        bins
    };
    let mut found = Vec::new();
    for swarm in &swarms {
        for candidates in &bins("max_candidates_bins") {
            for minutes in &bins("max_minutes_bins") {
                for iterations in &bins("max_iterations_bins") {
                    let action = json!({
                        "swarm_id": swarm, "max_candidates_bin": candidates,
                        "max_minutes_bin": minutes, "max_iterations_bin": iterations
                    });
                    if checker::action_violations(&space, job_type, &action).is_empty() {
                        found.push([swarm, candidates, minutes, iterations].map(Value::clone));
                    }
                }
            }
        }
    }
    found
}

fn enumerated(space: &ActionSpace, job_type: &str) -> Vec<[Value; 4]> {
    space
        .valid_actions(job_type)
        .into_iter()
        .map(|action| {
            let named = space.named(action).unwrap();
            let bin = |bin: Bin| serde_json::to_value(bin).unwrap();
            [
                json!(named.swarm_id),
                bin(named.max_candidates_bin),
                bin(named.max_minutes_bin),
                bin(named.max_iterations_bin),
            ]
        })
        .collect()
}

#[test]
fn the_valid_set_is_what_a_brute_force_finds_in_the_same_order() {
    let shuffled = ActionSpace {
        swarm_ids: vec![
            "speculate_vote".into(),
            "serial_handoff".into(),
            "another".into(),
        ],
        max_minutes_bins: vec![
            Bin::NotApplicable,
            Bin::Count(60),
            Bin::Count(15),
            Bin::Count(120),
        ],
        ..ActionSpace::default()
    };
    let rows = [
        ("the documents'", ActionSpace::default(), [30, 120, 150]),
        ("short tasks", short(), [18, 90, 90]),
        ("in another order", shuffled, [36, 140, 180]),
    ];
    each(&rows, |(_, space, sizes)| {
        for (job_type, size) in ["code", "fab-world", "anything"].into_iter().zip(sizes) {
            let found = enumerated(space, job_type);
            if found != brute_force(space, job_type) {
                return Err(format!("{job_type}: another set, or another order"));
            }
            if found.len() != *size {
                return Err(format!("{job_type}: {} actions", found.len()));
            }
        }
        Ok(())
    });
}

#[test]
fn the_index_of_a_code_action_follows_the_formula() {
    let space = ActionSpace::default();
    let groups = [
        ("serial_handoff", Bin::Count(1)),
        ("speculate_vote", Bin::Count(1)),
        ("speculate_vote", Bin::Count(2)),
        ("speculate_vote", Bin::Count(3)),
        ("speculate_vote", Bin::NotApplicable),
    ];
    let valid = space.valid_actions("code");
    assert_eq!(valid.len(), 30);
    for (index, action) in valid.into_iter().enumerate() {
        let named = space.named(action).unwrap();
        let (swarm, candidates) = groups[index / 6];
        assert_eq!(
            (
                named.swarm_id.as_str(),
                named.max_candidates_bin,
                action.minutes
            ),
            (swarm, candidates, index % 6),
            "index {index}"
        );
    }
}

#[test]
fn masks_are_the_projection_of_the_valid_set() {
    let space = ActionSpace::default();
    let all = |width: usize| vec![true; width];
    let rows = [
        (
            "code",
            [
                all(2),
                all(4),
                all(6),
                vec![false, false, false, false, true],
            ],
        ),
        (
            "fab-world",
            [all(2), vec![true, true, true, false], all(6), all(5)],
        ),
        ("anything", [all(2), all(4), all(6), all(5)]),
    ];
    each(&rows, |(job_type, masks)| {
        let found = space.masks(job_type);
        (found == *masks).then_some(()).ok_or(format!("{found:?}"))
    });
}

#[test]
fn numbers_go_to_the_nearest_bin_and_ties_to_the_smaller() {
    use Bin::{Count, NotApplicable as Na};
    let space = ActionSpace::default();
    let rows = [
        (Head::Minutes, None, Na),
        (Head::Minutes, Some(0), Count(15)),
        (Head::Minutes, Some(15), Count(15)),
        (Head::Minutes, Some(22), Count(15)),
        (Head::Minutes, Some(23), Count(30)),
        (Head::Minutes, Some(37), Count(30)),
        (Head::Minutes, Some(38), Count(45)),
        (Head::Minutes, Some(90), Count(60)),
        (Head::Minutes, Some(91), Count(120)),
        (Head::Minutes, Some(200), Count(120)),
        (Head::Minutes, Some(u32::MAX), Count(120)),
        (Head::Iterations, Some(4), Count(3)),
        (Head::Candidates, Some(5), Count(3)),
        (Head::Candidates, None, Na),
    ];
    each(&rows, |(head, value, bin)| {
        let found = space.bins(*head)[space.nearest(*head, *value)];
        (found == *bin).then_some(()).ok_or(found.to_string())
    });
    let limited = ActionSpace {
        max_minutes_bins: vec![Count(15), Count(60), Count(30)],
        max_iterations_bins: vec![Na],
        ..ActionSpace::default()
    };
    assert_eq!(limited.nearest(Head::Minutes, None), 1);
    assert_eq!(limited.nearest(Head::Iterations, Some(3)), 0);
}

#[test]
fn names_and_classes_belong_together() {
    let space = ActionSpace::default();
    let names: BTreeSet<NamedAction> = space
        .valid_actions("anything")
        .into_iter()
        .map(|action| {
            let named = space.named(action).unwrap();
            assert_eq!(space.index(&named), Some(action));
            named
        })
        .collect();
    assert_eq!(names.len(), 150);
    let outside = Action {
        swarm: 2,
        candidates: 0,
        minutes: 0,
        iterations: 0,
    };
    assert_eq!(space.named(outside), None);
    assert!(!space.is_valid(outside, "code"));
}

#[test]
fn the_digest_is_of_the_meaning() {
    let space = ActionSpace::default();
    let digest = space.digest().unwrap();
    let mut reworded = space.clone();
    reworded.validity_rules[0].description = "In other words.".to_owned();
    let mut remarked = space.clone();
    let mut remark = remarked.validity_rules[0].clone();
    (remark.condition, remark.demand) = (None, None);
    remarked.validity_rules.push(remark);
    assert_eq!(reworded.digest().unwrap(), digest);
    assert_eq!(remarked.digest().unwrap(), digest);
    let mut reordered = space.clone();
    reordered.max_minutes_bins.swap(0, 1);
    let mut fewer = space.clone();
    fewer.validity_rules.pop();
    for other in [reordered, fewer, short()] {
        assert_ne!(other.digest().unwrap(), digest);
    }
}

#[test]
fn a_rule_that_names_what_is_in_no_list_is_found() {
    let rows = [
        (
            json!({"if": {"swarm_id": "serial_handof"}, "then": {"max_candidates_bin": 1}}),
            1,
        ),
        (
            json!({"if": {"swarm_id": "serial_handoff"}, "then": {"swarm_id": "nobody"}}),
            1,
        ),
        (
            json!({"then_in": {"swarm_id": ["speculate_vote", "specluate_vote"]}}),
            1,
        ),
        (
            json!({"if": {"max_minutes_bin": 31}, "then": {"max_candidates_bin": 4}}),
            2,
        ),
        (
            json!({"then_in": {"max_iterations_bin": [1, 4, 6, "NA"], "max_minutes_bin": [0]}}),
            3,
        ),
        (
            json!({"if": {"job_type": "any job at all"}, "then": {"max_iterations_bin": "NA"}}),
            0,
        ),
        (json!({}), 0),
    ];
    each(&rows, |(rule, strangers)| {
        let mut document = serde_json::to_value(ActionSpace::default()).unwrap();
        let mut rule = rule.clone();
        rule["description"] = json!("a rule");
        document["validity_rules"]
            .as_array_mut()
            .unwrap()
            .push(rule);
        // What comes out of data may name swarms that a universe has put others in the place of.
        let space = ActionSpace::from_json(document.to_string().as_bytes()).unwrap();
        let found = match space.check_rules() {
            Ok(()) => String::new(),
            Err(error) if error.rule() == "action-space-rule" => error.to_string(),
            Err(error) => return Err(error.rule().to_owned()),
        };
        (found.matches("validity_rules[3]").count() == *strangers)
            .then_some(())
            .ok_or(found)
    });
    ActionSpace::default().check_rules().unwrap();
    short().check_rules().unwrap();
}

#[test]
fn spaces_that_make_no_sense_are_refused() {
    let rule = json!({"description": "", "if": {"job_type": "code"}, "then": {"max_iterations_bin": "NA"}});
    let many = |count: usize| vec![rule.clone(); count];
    let bins: Vec<u32> = (1..70_000).collect();
    let rows = [
        ("swarm_ids", json!([]), "action-space-empty"),
        ("swarm_ids", json!(["a", "a"]), "action-space-double"),
        ("swarm_ids", json!(["a", ""]), "action-space-name"),
        ("max_minutes_bins", json!([]), "action-space-empty"),
        (
            "max_minutes_bins",
            json!([15, 30, 15]),
            "action-space-double",
        ),
        (
            "max_minutes_bins",
            json!(["NA", "NA"]),
            "action-space-double",
        ),
        ("max_candidates_bins", json!([0, 1]), "action-space-bin"),
        ("max_iterations_bins", json!(bins), "action-space-size"),
        ("validity_rules", json!(many(64)), ""),
        ("validity_rules", json!(many(65)), "action-space-rules"),
        (
            "validity_rules",
            json!([{"description": "", "unless": {}}]),
            "json",
        ),
        ("seconds", json!([]), "json"),
    ];
    each(&rows, |(field, value, rule)| {
        let mut document = serde_json::to_value(ActionSpace::default()).unwrap();
        document[*field] = value.clone();
        let read = ActionSpace::from_json(document.to_string().as_bytes());
        let found = read.map_or_else(|error| error.rule().to_owned(), |_| String::new());
        (found == *rule).then_some(()).ok_or(found)
    });
}
