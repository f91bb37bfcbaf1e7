//! Stored documents that hold more than they may.

use amphora_planner::action_space::ActionSpace;
use amphora_planner::checker::{Caps, plan_violations};
use amphora_planner::contracts::{ExecutedPlan, PlannerInput};
use amphora_planner::decide::{Baseline, Planner, Policy, Settings};
use amphora_planner::encode::{FeatureSchema, Tokenizer, TokenizerConfig, Vocabulary};
use amphora_testing::each;
use serde_json::{Value, json};

use crate::support::input;

#[test]
fn limits_of_a_stored_plan_are_at_least_one() {
    let fields = [
        "max_candidates_executed",
        "timeout_seconds_executed",
        "max_iterations_executed",
    ];
    let values = [
        (json!(1), true),
        (json!(u32::MAX), true),
        (json!(null), true),
        (json!(0), false),
        (json!(-1), false),
        (json!(1.5), false),
        (json!("1"), false),
        (json!(1_u64 << 32), false),
    ];
    let rows: Vec<(&str, &Value, bool)> = fields
        .iter()
        .flat_map(|field| values.iter().map(|(value, read)| (*field, value, *read)))
        .collect();
    each(&rows, |(field, value, read)| {
        let mut plan = json!({
            "schema_version": "cyntra.executed_plan.v1", "swarm_id_executed": "serial_handoff",
            "fallback_applied": false
        });
        plan[*field] = (*value).clone();
        match serde_json::from_value::<ExecutedPlan>(plan) {
            Ok(_) if *read => Ok(()),
            Err(_) if !*read => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn thirty_two_tags_and_sixteen_keywords_count() {
    let space = ActionSpace::default();
    let features = FeatureSchema::new(&space, 8);
    let config = TokenizerConfig::new(&features);
    let tokenizer = Tokenizer::new(config, Vocabulary::new(&space, [])).unwrap();
    let with = |tags: usize, words: usize| {
        let mut input = input("code");
        // The later, the earlier by name.
        let name = |kind: &str, place: usize| format!("{kind}{:04}", 9_999 - place);
        input.issue.tags = (0..tags).map(|place| name("tag", place)).collect();
        input.issue.keywords = Some((0..words).map(|place| name("word", place)).collect());
        input
    };
    let encoded = |input: &PlannerInput| (features.encode(input), tokenizer.ids(input));
    assert_eq!(encoded(&with(32, 16)), encoded(&with(33, 17)));
    assert_eq!(encoded(&with(32, 16)), encoded(&with(5_000, 5_000)));
    let (full, full_ids) = encoded(&with(32, 16));
    let (fewer_tags, fewer_tags_ids) = encoded(&with(31, 16));
    assert!(full != fewer_tags && full_ids != fewer_tags_ids);
    assert_ne!(full_ids, tokenizer.ids(&with(32, 15)));
    // What is read keeps its bytes, and so its hash.
    let stored = with(40, 20).to_json().unwrap();
    let read = PlannerInput::from_json(stored.as_bytes()).unwrap();
    assert_eq!(read.to_json().unwrap(), stored);
}

#[test]
fn a_baseline_without_iterations_makes_no_limit_of_zero() {
    let planner = Planner::new(Policy::heuristic(), Settings::default()).unwrap();
    let baseline = Baseline {
        iterations: Some(0),
        ..Baseline::default()
    };
    let decision = planner.decide(&input("code"), &baseline);
    assert_eq!(decision.reason, None);
    let plan = serde_json::to_value(&decision.executed_plan).unwrap();
    assert_eq!(plan_violations(&plan, Caps::default()), [""; 0]);
}
