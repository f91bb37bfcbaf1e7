//! A seeded simulator of toolchains: issues and recorded trials of agents that do not exist.
//!
//! It stands in for runs of one's own until there are some: it gives `quickstart` and the tests
//! something to learn from. Nothing that it makes is evidence about any real agent.
//!
//! # What it simulates
//!
//! An issue has a size, a risk and an area; they, and some luck, make it hard, from 0 to about 100
//! points. A toolchain has a skill, in the same points, and a speed. A run passes with probability
//! 1/2 + (skill - difficulty) / 60, kept within 2 % and 97 %; its time grows with the size, varies
//! by a heavy-tailed factor, and is longer when it fails. So easy issues want one short run, hard ones
//! several, and long ones a long cap: all of it visible in the issue's fields.

mod random;

use amphora_error::Result;
use amphora_planner::contracts::{Gate, RunStatus, time};
use amphora_planner::replay::{TRIAL_SCHEMA, Trial, Trials};
use serde_json::{Value, json};

use random::Random;

/// The simulated toolchains, in the order of their priority.
pub const TOOLCHAINS: [&str; 3] = ["simulated-steady", "simulated-swift", "simulated-thorough"];
/// Skill in points, and time relative to the first, of each of [`TOOLCHAINS`].
const ABILITIES: [(f64, f64); 3] = [(58.0, 1.0), (48.0, 0.6), (68.0, 1.6)];
/// Sizes, the points that they add to the difficulty, and the typical minutes of a run.
const SIZES: [(&str, f64, f64); 5] = [
    ("XS", 0.0, 2.0),
    ("S", 8.0, 4.0),
    ("M", 18.0, 7.0),
    ("L", 28.0, 12.0),
    ("XL", 38.0, 20.0),
];
/// Risks, and the points that they add.
const RISKS: [(&str, f64); 4] = [
    ("low", 0.0),
    ("medium", 8.0),
    ("high", 16.0),
    ("critical", 24.0),
];
/// Areas, and the points that they add.
const AREAS: [(&str, f64); 8] = [
    ("docs", 0.0),
    ("tests", 5.0),
    ("cli", 8.0),
    ("build", 12.0),
    ("parser", 16.0),
    ("network", 20.0),
    ("storage", 24.0),
    ("concurrency", 30.0),
];
const PRIORITIES: [&str; 4] = ["P0", "P1", "P2", "P3"];
const EXTRA_TAGS: [&str; 4] = ["regression", "performance", "security", "cleanup"];
const FAULTS: [&str; 6] = ["drift", "leak", "race", "mismatch", "overflow", "slowdown"];
const PARTS: [&str; 6] = ["cache", "index", "queue", "session", "report", "schema"];
const GATES: [&str; 3] = ["test", "lint", "build"];
/// Every run is stopped after two hours.
const LIMIT_MS: u64 = 120 * 60_000;
/// Issues arrive twenty minutes apart.
const ARRIVAL_MS: u64 = 20 * 60_000;

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simulation {
    /// How many issues.
    pub issues: usize,
    /// How many runs of each toolchain on each issue.
    pub runs: usize,
    /// The seed: the same seed gives the same bytes on every machine.
    pub seed: u64,
    /// When the first issue arrives, in milliseconds since 1970.
    pub start_ms: u64,
}

/// Issues, in the form of `.beads/issues.jsonl`, and the recorded trials of simulated agents on them.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// One object for each issue.
    pub issues: Vec<Value>,
    /// The runs.
    pub trials: Trials,
}

/// Simulates.
///
/// # Errors
///
/// A start so late that some run would end after the year 9999.
pub fn simulate(simulation: &Simulation) -> Result<Simulated> {
    let mut random = Random::new(simulation.seed);
    let mut issues = Vec::with_capacity(simulation.issues);
    let mut trials = Vec::new();
    for number in 0..simulation.issues {
        let arrival = simulation
            .start_ms
            .saturating_add((number as u64).saturating_mul(ARRIVAL_MS));
        let issue = IssueModel::draw(number, &mut random);
        issues.push(issue.fields(arrival)?);
        for repetition in 0..simulation.runs {
            for (toolchain, ability) in TOOLCHAINS.iter().zip(ABILITIES) {
                trials.push(issue.attempt(toolchain, ability, repetition, arrival, &mut random));
            }
        }
    }
    Ok(Simulated {
        issues,
        trials: Trials::new(trials)?,
    })
}

struct IssueModel {
    id: String,
    title: String,
    size: (&'static str, f64),
    risk: &'static str,
    priority: &'static str,
    tags: Vec<&'static str>,
    difficulty: f64,
}

impl IssueModel {
    fn draw(number: usize, random: &mut Random) -> Self {
        let (size, size_points, minutes) = SIZES[random.below(SIZES.len())];
        let (risk, risk_points) = RISKS[random.below(RISKS.len())];
        let (area, area_points) = AREAS[random.below(AREAS.len())];
        let mut tags = vec![area];
        if random.below(3) == 0 {
            tags.push(random.one_of(&EXTRA_TAGS));
        }
        tags.sort_unstable();
        let (part, fault) = (random.one_of(&PARTS), random.one_of(&FAULTS));
        Self {
            id: format!("sim-{number:04}"),
            title: format!("{area}: {part} {fault}"),
            size: (size, minutes),
            risk,
            priority: random.one_of(&PRIORITIES),
            tags,
            difficulty: size_points + risk_points + area_points + 16.0 * (random.unit() - 0.5),
        }
    }

    fn fields(&self, arrival: u64) -> Result<Value> {
        let created = time::format(arrival)?;
        Ok(json!({
            "id": self.id,
            "title": self.title,
            "description": format!("A simulated issue: {}.", self.title),
            "status": "done",
            "created": created,
            "updated": created,
            "tags": self.tags,
            "dk_priority": self.priority,
            "dk_risk": self.risk,
            "dk_size": self.size.0,
            "dk_attempts": "0",
        }))
    }

    fn attempt(
        &self,
        toolchain: &str,
        (skill, slowness): (f64, f64),
        repetition: usize,
        arrival: u64,
        random: &mut Random,
    ) -> Trial {
        let chance = (0.5 + (skill - self.difficulty) / 60.0).clamp(0.02, 0.97);
        let passed = random.unit() < chance;
        let tail = random.unit();
        let spread = 0.5 + 0.7 * random.unit() + 2.5 * (tail * tail) * (tail * tail);
        let minutes = self.size.1 * slowness * spread * if passed { 1.0 } else { 1.5 };
        // At most a few hundred minutes: a u32 holds the milliseconds.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number of milliseconds, far below 2^32"
        )]
        let wanted_ms = u64::from((minutes * 60_000.0) as u32).max(1_000);
        let status = match (wanted_ms > LIMIT_MS, passed) {
            (true, _) => RunStatus::Timeout,
            (false, true) => RunStatus::Success,
            (false, false) => RunStatus::Failed,
        };
        let all_passed = status == RunStatus::Success;
        let broken = GATES[random.below(GATES.len())];
        let gates: Vec<_> = GATES
            .iter()
            .filter(|_| status != RunStatus::Timeout)
            .map(|name| Gate {
                name: (*name).to_owned(),
                passed: all_passed || *name != broken,
                score: None,
            })
            .collect();
        let fail_codes = match status {
            RunStatus::Success => Vec::new(),
            RunStatus::Failed => vec![format!("{broken}_failed")],
            RunStatus::Timeout => vec!["status:timeout".to_owned()],
        };
        // A second try begins a day after the first, when its outcome is known.
        let delay = (repetition as u64).saturating_mul(86_400_000) + random.below(60_000) as u64;
        Trial {
            schema_version: TRIAL_SCHEMA.to_owned(),
            issue_id: self.id.clone(),
            toolchain: toolchain.to_owned(),
            trial: format!("{}.{}.{toolchain}", self.id, repetition + 1),
            started_ms: arrival.saturating_add(delay),
            duration_ms: wanted_ms.min(LIMIT_MS),
            status,
            all_passed,
            gates,
            fail_codes,
            cost_usd: None,
            tokens_in: None,
            tokens_out: None,
        }
    }
}
