//! Slots, widths and digests.

use amphora_planner::action_space::ActionSpace;
use amphora_planner::encode::FeatureSchema;
use serde_json::json;

use crate::scene::{DAY_MS, NOW_MS, encoded, input, run, schema};

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
