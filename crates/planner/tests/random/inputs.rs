//! Inputs out of the ordinary in every field.

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{
    ActionExecuted, Domain, Gate, Outcome, PlannerInput, Priority, Risk, RunStatus, RunSummary,
    Runtime, Size, SystemState, UniverseDefaults,
};
use amphora_planner::decide::{Baseline, Speculation};

use crate::spaces;
use crate::support::Random;

pub(crate) const NUMBERS: [u32; 9] = [0, 1, 2, 3, 5, 30, 120, 1_000_000, u32::MAX];
/// 2026-02-03T09:00:00Z.
const NOW_MS: u64 = 1_770_109_200_000;
const WORDS: [&str; 36] = [
    "",
    " ",
    "kernel",
    "cache",
    "test",
    "lint",
    "pytest_failed",
    "realism",
    "codex",
    "claude",
    "serial_handoff",
    "speculate_vote",
    "code",
    "fab-world",
    "fab-asset",
    "asset:world",
    "NONE",
    "[PAD]",
    "[SEP]",
    "[VAL:BIN:0]",
    "0",
    "1_2",
    "3_5",
    "6_plus",
    "20+",
    "low",
    "unlimited",
    "09",
    "24",
    "-1",
    "\u{0}x",
    "\u{1b}[2J",
    "\u{202e}desrever",
    "\u{1F980}\u{1F980}",
    "e\u{301}",
    "NaN",
];
const MOMENTS: [&str; 9] = [
    "",
    "yesterday",
    "2026-02-30T09:00:00Z",
    "2026-02-03T09:00:00",
    "2026-02-03T09:00:00+14:00",
    "1970-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "-2026-02-03T09:00:00Z",
];

pub(crate) fn word(random: &mut Random) -> String {
    match random.below(64) {
        0 => {
            let letters = 0..random.below(40);
            let letter = |random: &mut Random| char::from_u32(random.below(0x11_0000) as u32);
            letters.filter_map(|_| letter(random)).collect()
        }
        1 if random.below(100) == 0 => "long ".repeat(20_000),
        _ => (*random.pick(&WORDS)).to_owned(),
    }
}

fn maybe(random: &mut Random) -> Option<String> {
    match random.below(3) {
        0 => None,
        _ => Some(word(random)),
    }
}

/// A few, none or, now and then, thousands.
fn many<T>(random: &mut Random, mut one: impl FnMut(&mut Random) -> T) -> Vec<T> {
    let count = match random.below(20_000) {
        0 => 5_000,
        1..8_000 => 0,
        _ => 1 + random.below(4),
    };
    (0..count).map(|_| one(random)).collect()
}

fn moment(random: &mut Random) -> u64 {
    match random.below(12) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX - random.below(3) as u64,
        3 => NOW_MS,
        4 => NOW_MS + 1,
        5 => random.next(),
        6 => 1 << random.below(64),
        _ => NOW_MS - random.below(5_000_000_000) as u64,
    }
}

fn number(random: &mut Random) -> f64 {
    const ODD: [f64; 12] = [
        0.0,
        -0.0,
        -1.0,
        0.01,
        1.0,
        10.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    match random.below(2) {
        0 => *random.pick(&ODD),
        _ => random.unit() * 20.0,
    }
}

fn limit(random: &mut Random) -> Option<u32> {
    match random.below(3) {
        0 => None,
        _ => Some(*random.pick(&NUMBERS)),
    }
}

fn run(random: &mut Random) -> RunSummary {
    RunSummary {
        run_id: word(random),
        started_ms: moment(random),
        job_type: word(random),
        domain: *random.pick(Domain::ALL),
        action_executed: ActionExecuted {
            swarm_id: maybe(random),
            max_candidates: limit(random),
            max_minutes: limit(random),
            max_iterations: limit(random),
        },
        outcome: Outcome {
            status: *random.pick(RunStatus::ALL),
            fail_codes: many(random, word),
            gates: many(random, |random| Gate {
                name: word(random),
                passed: random.below(2) == 0,
                score: (random.below(2) == 0).then(|| number(random)),
            }),
        },
        runtime: Runtime {
            duration_ms: moment(random),
        },
        cost_usd_est: (random.below(3) > 0).then(|| number(random)),
        tokens_in: (random.below(3) == 0).then(|| moment(random)),
        tokens_out: None,
        tags: many(random, word),
        issue_id: maybe(random),
        universe_id: None,
        world_id: None,
        objective_id: None,
    }
}

fn system_state(random: &mut Random) -> SystemState {
    SystemState {
        active_workcells_bin: maybe(random),
        queue_depth_bin: maybe(random),
        queue_depth: (random.below(3) == 0).then(|| moment(random)),
        available_toolchains: (random.below(2) == 0).then(|| many(random, word)),
        toolchain_health: None,
        hour_bucket: maybe(random),
        budget_remaining_bin: maybe(random),
        extra: serde_json::Map::new(),
    }
}

/// Another input in the place of the last one.
pub(crate) fn refill(random: &mut Random, input: &mut PlannerInput) {
    input.created_at = match random.below(12) {
        0 => word(random),
        1 => (*random.pick(&MOMENTS)).to_owned(),
        _ => "2026-02-03T09:00:00Z".to_owned(),
    };
    input.universe_id = word(random);
    input.job_type = match random.below(8) {
        0 => word(random),
        _ => ["code", "fab-world", ""][random.below(3)].to_owned(),
    };
    input.universe_defaults = UniverseDefaults {
        swarm_id: maybe(random),
        objective_id: maybe(random),
    };
    let issue = &mut input.issue;
    issue.issue_id = word(random);
    issue.dk_priority = *random.pick(Priority::ALL);
    issue.dk_risk = *random.pick(Risk::ALL);
    issue.dk_size = *random.pick(Size::ALL);
    issue.dk_tool_hint = maybe(random);
    issue.dk_attempts = *random.pick(&NUMBERS);
    issue.tags = many(random, word);
    issue.title = maybe(random);
    issue.description = maybe(random);
    issue.keywords = (random.below(3) > 0).then(|| many(random, word));
    let runs = match random.below(20_000) {
        0 => 3_000,
        1..100 => 20,
        100..8_000 => 0,
        _ => 1 + random.below(3),
    };
    let history = &mut input.history.last_n_similar_runs;
    history.clear();
    history.extend((0..runs).map(|_| run(random)));
    input.system_state = (random.below(2) == 0).then(|| system_state(random));
    // The documents' space is there already, or almost.
    if random.below(16) == 0 {
        input.action_space = spaces::odd(random);
    } else if input.action_space != ActionSpace::default() {
        input.action_space = ActionSpace::default();
    }
}

pub(crate) fn baseline(random: &mut Random) -> Baseline {
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
