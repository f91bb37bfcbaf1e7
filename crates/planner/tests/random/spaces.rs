//! Action spaces that may make no sense at all.

use amphora_planner::action_space::{ActionSpace, Allowed, Condition, Demand, ValidityRule};
use amphora_planner::contracts::Bin;

use crate::inputs::{NUMBERS, word};
use crate::support::Random;

pub(crate) fn bin(random: &mut Random) -> Bin {
    match random.below(4) {
        0 => Bin::NotApplicable,
        _ => Bin::Count(*random.pick(&NUMBERS)),
    }
}

fn bins(random: &mut Random) -> Vec<Bin> {
    (0..random.below(6)).map(|_| bin(random)).collect()
}

/// The documents' space with something odd about it.
pub(crate) fn odd(random: &mut Random) -> ActionSpace {
    let mut space = ActionSpace::default();
    match random.below(16) {
        0 => space.swarm_ids.clear(),
        1 => space.max_minutes_bins = vec![Bin::Count(0), Bin::Count(u32::MAX)],
        2 => space.max_candidates_bins = vec![Bin::Count(1), Bin::Count(1)],
        // No action keeps both rules.
        3 => space.max_iterations_bins = vec![Bin::Count(1)],
        4 => space.swarm_ids.push(word(random)),
        5 => space.validity_rules.truncate(1),
        6 => space.validity_rules.clear(),
        // Words alone: the model's rules count.
        7 => {
            for rule in &mut space.validity_rules {
                (rule.condition, rule.demand, rule.allowed) = (None, None, None);
            }
        }
        8 => space.max_minutes_bins.reverse(),
        9 => space.max_minutes_bins = bins(random),
        10 => space.max_candidates_bins = bins(random),
        11 => space.max_iterations_bins = bins(random),
        12 => space.swarm_ids = (0..random.below(5)).map(|_| word(random)).collect(),
        13 => match random.below(20) {
            // As large as it may be, and larger.
            0 => space.max_iterations_bins = (1..1_300).map(Bin::Count).collect(),
            1 => space.max_iterations_bins = (1..70_000).map(Bin::Count).collect(),
            _ => space.max_iterations_bins = (1..40).map(Bin::Count).collect(),
        },
        14 if random.below(20) == 0 => {
            space.validity_rules = (0..100).map(|_| rule(random)).collect();
        }
        _ => space.validity_rules.push(rule(random)),
    }
    space
}

fn rule(random: &mut Random) -> ValidityRule {
    let maybe = |random: &mut Random| random.below(3) == 0;
    let some_bin = |random: &mut Random| maybe(random).then(|| bin(random));
    let some_word = |random: &mut Random| maybe(random).then(|| word(random));
    let condition = Condition {
        job_type: some_word(random),
        swarm_id: some_word(random),
        max_candidates_bin: some_bin(random),
        max_minutes_bin: some_bin(random),
        max_iterations_bin: some_bin(random),
    };
    let demand = Demand {
        swarm_id: some_word(random),
        max_candidates_bin: some_bin(random),
        max_minutes_bin: some_bin(random),
        max_iterations_bin: some_bin(random),
    };
    let allowed = Allowed {
        swarm_id: maybe(random).then(|| vec![word(random), word(random)]),
        max_minutes_bin: maybe(random).then(|| bins(random)),
        ..Allowed::default()
    };
    ValidityRule {
        description: word(random),
        condition: maybe(random).then_some(condition),
        demand: maybe(random).then_some(demand),
        allowed: maybe(random).then_some(allowed),
    }
}
