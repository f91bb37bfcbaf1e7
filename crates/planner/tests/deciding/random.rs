//! A million decisions on anything: no panic, no invalid action, every reason counted.

use amphora_error::Error;
use amphora_planner::action_space::{ActionSpace, HeadLogits};
use amphora_planner::checker::action_violations;
use amphora_planner::contracts::{
    ActionVersion, Bin, Budgets, Mode, PlannerAction, PlannerInput, Risk, Size,
};
use amphora_planner::decide::{
    Baseline, BreakerSettings, Planner, Policy, Prediction, Reason, Settings, Speculation,
};
use amphora_planner::decode::Temperatures;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crate::support::{Random, input, model};

const PARTS: u64 = 4;
const DECISIONS_OF_A_PART: u64 = 250_000;
const NUMBERS: [u32; 9] = [0, 1, 2, 3, 5, 30, 120, 1_000_000, u32::MAX];

/// What the model is to answer travels in the input: as bits of the issue's title.
fn answer(input: &PlannerInput) -> amphora_error::Result<Prediction> {
    let seed = input.issue.title.as_deref().unwrap_or("0");
    let mut random = Random(seed.parse().unwrap_or(0));
    match random.below(16) {
        0 => Err(Error::internal("broken", "broken")),
        1..=4 => Ok(Prediction::Action(Box::new(proposal(&mut random)))),
        _ => Ok(Prediction::Logits(logits(&mut random))),
    }
}

fn logits(random: &mut Random) -> HeadLogits {
    let scale = *random.pick(&[0.0, 1.0, 20.0, 1e30]);
    let wrong = random.below(200);
    let mut logits = [2, 4, 6, 5].map(|width| {
        (0..width)
            .map(|_| ((random.unit() - 0.5) * scale) as f32)
            .collect::<Vec<f32>>()
    });
    match wrong {
        0 => logits[random.below(4)][0] = f32::NAN,
        1 => logits[random.below(4)][0] = f32::NEG_INFINITY,
        2 => logits[random.below(4)].clear(),
        3 => logits[random.below(4)].push(0.0),
        _ => {}
    }
    logits
}

fn bin(random: &mut Random) -> Bin {
    match random.below(4) {
        0 => Bin::NotApplicable,
        _ => Bin::Count(*random.pick(&NUMBERS)),
    }
}

fn proposal(random: &mut Random) -> PlannerAction {
    PlannerAction {
        schema_version: ActionVersion,
        created_at: String::new(),
        swarm_id: (*random.pick(&["serial_handoff", "speculate_vote", "", "other"])).to_owned(),
        budgets: Budgets {
            max_candidates_bin: bin(random),
            max_minutes_bin: bin(random),
            max_iterations_bin: bin(random),
        },
        probs: None,
        confidence: match random.below(6) {
            0 => None,
            1 => Some(f64::NAN),
            2 => Some(7.0),
            _ => Some(random.unit()),
        },
        abstain_to_default: false,
        reason: None,
        model: None,
        input_hash: None,
    }
}

fn baseline(random: &mut Random) -> Baseline {
    Baseline {
        swarm_id: (*random.pick(&["serial_handoff", "speculate_vote", "speculate_vote", "x"]))
            .to_owned(),
        candidates: *random.pick(&NUMBERS),
        timeout_seconds: *random.pick(&[0, 60, 1800, 7200, u32::MAX]),
        iterations: match random.below(4) {
            0 => Some(*random.pick(&NUMBERS)),
            _ => None,
        },
        speculation: Speculation {
            enabled: random.below(8) > 0,
            required: random.below(8) == 0,
            max_candidates: *random.pick(&NUMBERS),
            free_slots: *random.pick(&NUMBERS),
            toolchains: match random.below(3) {
                0 => None,
                _ => Some(*random.pick(&NUMBERS)),
            },
        },
    }
}

/// An action space that may make no sense at all.
fn odd_space(random: &mut Random) -> ActionSpace {
    let mut space = ActionSpace::default();
    match random.below(7) {
        0 => space.swarm_ids.clear(),
        1 => space.max_minutes_bins = vec![Bin::Count(0), Bin::Count(u32::MAX)],
        2 => space.max_candidates_bins = vec![Bin::Count(1), Bin::Count(1)],
        3 => space.max_iterations_bins = (1..70_000).map(Bin::Count).collect(),
        // No action keeps both rules.
        4 => space.max_iterations_bins = vec![Bin::Count(1)],
        5 => space.swarm_ids.push("third".to_owned()),
        _ => space.validity_rules.truncate(1),
    }
    space
}

/// What the decision breaks; `space` is the input's action space as JSON.
fn violations(
    decision: &amphora_planner::decide::Decision,
    input: &PlannerInput,
    baseline: &Baseline,
    space: &Value,
) -> Vec<String> {
    let mut found = Vec::new();
    let plan = &decision.executed_plan;
    let positive = |count: u32| (count > 0).then_some(count);
    match decision.reason {
        Some(reason) => {
            let whole = plan.swarm_id_executed == baseline.swarm_id
                && plan.max_candidates_executed == positive(baseline.candidates)
                && plan.timeout_seconds_executed == positive(baseline.timeout_seconds)
                && plan.max_iterations_executed == baseline.iterations.and_then(positive)
                && decision.timeout_seconds_override.is_none();
            if !whole {
                found.push(format!("{reason}: not the whole baseline"));
            }
        }
        None => {
            let action = &decision.action;
            let named = json!({
                "swarm_id": action.swarm_id,
                "max_candidates_bin": action.budgets.max_candidates_bin,
                "max_minutes_bin": action.budgets.max_minutes_bin,
                "max_iterations_bin": action.budgets.max_iterations_bin
            });
            found.extend(action_violations(space, &input.job_type, &named));
            if plan.timeout_seconds_executed > positive(baseline.timeout_seconds) {
                found.push("more time than the baseline".to_owned());
            }
            let most = baseline.candidates.max(
                baseline
                    .speculation
                    .max_candidates
                    .min(baseline.speculation.free_slots),
            );
            if plan.max_candidates_executed > Some(most.max(1)) {
                found.push("more candidates than allowed".to_owned());
            }
        }
    }
    found
}

/// Most decisions are of the first planner; the others meet what it cannot.
fn decide_at_random(seed: u64, planners: &[Planner; 6]) {
    let mut random = Random(seed);
    let mut input = input("code");
    let usual = input.action_space.clone();
    let usual_json = serde_json::to_value(&usual).unwrap();
    for round in 0..DECISIONS_OF_A_PART {
        let job_type = ["code", "fab-world", "", "\u{0}x"][random.below(4)];
        input.job_type.clear();
        input.job_type.push_str(job_type);
        input.issue.dk_risk = *random.pick(Risk::ALL);
        input.issue.dk_size = *random.pick(Size::ALL);
        input.issue.title = Some(random.next().to_string());
        let odd = random.below(5000) == 0;
        let space = if odd {
            input.action_space = odd_space(&mut random);
            &serde_json::to_value(&input.action_space).unwrap()
        } else {
            &usual_json
        };
        let baseline = baseline(&mut random);
        let planner = match random.below(40) {
            place @ 1..=5 => &planners[place],
            _ => &planners[0],
        };
        let decision = planner.decide_hashed(&input, None, &baseline);
        let wrong = violations(&decision, &input, &baseline, space);
        assert!(wrong.is_empty(), "round {round}: {wrong:?}\n{decision:#?}");
        if odd {
            input.action_space = usual.clone();
        }
    }
}

#[test]
fn a_million_decisions_keep_every_rule() {
    // No rest, so that failures do not hide what comes after them.
    let breaker = BreakerSettings {
        failures: u32::MAX,
        rest: Duration::ZERO,
    };
    let settings = |mode, threshold| Settings {
        mode,
        threshold,
        deadline: None,
        breaker,
        toolchains: None,
    };
    let policy = |predict: fn(&PlannerInput) -> amphora_error::Result<Prediction>| {
        Policy::new(
            model("test"),
            ActionSpace::default(),
            Temperatures::new([1.3, 1.1, 1.0, 1.0]).unwrap(),
            predict,
        )
        .quick()
    };
    let late = Settings {
        deadline: Some(Duration::ZERO),
        ..settings(Mode::Enforce, 0.0)
    };
    let missing = Error::not_found("bundle", "there is none");
    let planners = [
        Planner::new(policy(answer), settings(Mode::Enforce, 0.2)).unwrap(),
        Planner::new(Policy::heuristic(), settings(Mode::Enforce, 0.9)).unwrap(),
        Planner::new(policy(answer), settings(Mode::Log, 0.2)).unwrap(),
        Planner::new(policy(answer), settings(Mode::Off, 0.2)).unwrap(),
        Planner::new(Policy::missing(&missing), settings(Mode::Enforce, 0.2)).unwrap(),
        Planner::new(policy(answer), late).unwrap(),
    ];
    thread::scope(|scope| {
        for seed in 0..PARTS {
            let planners = &planners;
            scope.spawn(move || decide_at_random(seed, planners));
        }
    });
    let count = |reason| {
        planners
            .iter()
            .map(|planner| planner.count(reason))
            .sum::<u64>()
    };
    let counts: BTreeMap<&str, u64> = Reason::ALL
        .iter()
        .map(|reason| (reason.code(), count(Some(*reason))))
        .collect();
    assert!(counts.values().all(|count| *count > 0), "{counts:#?}");
    let total = counts.values().sum::<u64>() + count(None);
    assert_eq!(total, PARTS * DECISIONS_OF_A_PART);
}

#[test]
fn documents_of_random_bytes_and_shapes_never_panic() {
    let healthy = input("code").to_json().unwrap().into_bytes();
    let mut random = Random(11);
    let planner = Planner::new(Policy::heuristic(), Settings::default()).unwrap();
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = healthy.clone();
        for _ in 0..=random.below(4) {
            let place = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[place] = random.next() as u8,
                1 => bytes[place] = *random.pick(b"0123456789\"{}[],:-.eE"),
                2 => drop(bytes.drain(place..(place + 20).min(bytes.len()))),
                _ => bytes.insert(place, *random.pick(b"0123456789\"{}[]")),
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        if let Ok(input) = PlannerInput::from_json(&bytes) {
            accepted += 1;
            let _ = planner.decide(&input, &Baseline::default());
        }
    }
    assert!(accepted > 100, "{accepted}");
}
