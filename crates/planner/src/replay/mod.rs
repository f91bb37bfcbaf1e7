//! What an action would have brought: its outcome computed from recorded runs, without spending a token.
//!
//! * [`Trials`]: the recorded runs, read strictly.
//! * [`Plan`]: what an action means for runs: how many, and how long each may take.
//! * [`Recorded`]: the runs by issue and toolchain, from which a seed makes a [`Draw`] for one issue.
//! * [`Replay`]: a draw for every issue; [`Replay::outcome`] answers for any action in well under a
//!   microsecond.
//!
//! # The rule
//!
//! Toolchains stand in the order of their priority; those without a recorded run of the issue are not
//! there for it. `serial_handoff` is one run of the first toolchain. `speculate_vote` with P candidates
//! is one run of each of the first P toolchains, or, when there are fewer, goes round them again with
//! other runs. Every run is cut at the action's minutes: longer, it is a timeout at the cap. The action
//! passes if any run passes. Its wall time is that of the first run that passes, else of the longest;
//! its agent time is the sum over all runs. Which recorded run stands for a slot is chosen by SHA-256 of
//! (seed, issue, toolchain, slot), never one run for two slots.

mod plan;
mod trials;

use std::collections::HashMap;

use amphora_error::{Error, Result, quoted};
use amphora_files::Hasher;

use crate::action_space::NamedAction;
use crate::contracts::RunStatus;

pub use plan::{DEFAULT_PARALLELISM, Plan};
pub use trials::{TRIAL_SCHEMA, Trial, Trials};

/// What one minute of one agent costs, in passes: the default of `--minute-cost`.
pub const MINUTE_COST: f64 = 0.02;
/// The most runs that are drawn for one issue; no action space asks for so many.
const MAX_SLOTS: usize = 64;

/// What an action came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayOutcome<'a> {
    /// Whether some run passed every gate within the cap.
    pub passed: bool,
    /// Whether nothing passed and the longest run was stopped, by the cap or by its own limit: the wall
    /// time is then a lower bound.
    pub timed_out: bool,
    /// Whether any run was stopped, by the cap or by its own limit, even where another passed: the agent
    /// time is then a lower bound.
    pub cut: bool,
    /// Time until the first run passed, else of the longest run, in milliseconds.
    pub wall_ms: u64,
    /// The time of all runs together, in milliseconds.
    pub agent_ms: u64,
    /// How many runs there were: fewer than asked for where too few are recorded.
    pub runs: usize,
    /// What failed in the runs that ended by themselves, each once, in the order of the runs; empty
    /// when some run passed.
    pub fail_codes: Vec<&'a str>,
}

impl ReplayOutcome<'_> {
    /// Agent time in minutes.
    pub fn agent_minutes(&self) -> f64 {
        minutes(self.agent_ms)
    }

    /// One for a pass, less `minute_cost` (see [`MINUTE_COST`]) for each agent minute.
    pub fn utility(&self, minute_cost: f64) -> f64 {
        f64::from(u8::from(self.passed)) - minute_cost * self.agent_minutes()
    }

    /// The outcome as a status: success, timeout or failed.
    pub fn status(&self) -> RunStatus {
        match (self.passed, self.timed_out) {
            (true, _) => RunStatus::Success,
            (false, true) => RunStatus::Timeout,
            (false, false) => RunStatus::Failed,
        }
    }
}

/// Milliseconds as minutes; exact for every time that the trials can hold.
#[expect(clippy::cast_precision_loss, reason = "times are below 2^53 ms")]
fn minutes(ms: u64) -> f64 {
    ms as f64 / 60_000.0
}

/// One recorded run as it looks when cut at a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its place in [`Trials::as_slice`].
    pub trial: usize,
    /// Its time, at most the cap, in milliseconds.
    pub duration_ms: u64,
    /// How it ended: a run longer than the cap is a timeout.
    pub status: RunStatus,
}

impl Run {
    /// The recorded run at `index`, cut at `cap_ms`.
    pub fn cut(trials: &Trials, index: usize, cap_ms: Option<u64>) -> Option<Self> {
        let trial = trials.as_slice().get(index)?;
        Some(match cap_ms {
            Some(cap) if trial.duration_ms > cap => Self {
                trial: index,
                duration_ms: cap,
                status: RunStatus::Timeout,
            },
            _ => Self {
                trial: index,
                duration_ms: trial.duration_ms,
                status: trial.status,
            },
        })
    }
}

/// The wall time of runs that start together: of the first that passes, else of the longest.
pub fn wall_ms(runs: &[Run]) -> u64 {
    let passing = runs.iter().filter(|run| run.status == RunStatus::Success);
    let first = passing.map(|run| run.duration_ms).min();
    first.unwrap_or_else(|| runs.iter().map(|run| run.duration_ms).max().unwrap_or(0))
}

/// Recorded runs by issue and toolchain: what draws are made from.
#[derive(Debug, Clone)]
pub struct Recorded<'a> {
    trials: &'a Trials,
    toolchains: Vec<String>,
    /// For each issue the runs of each toolchain.
    pools: HashMap<&'a str, Vec<Vec<usize>>>,
}

impl<'a> Recorded<'a> {
    /// Sorts the trials: `toolchains` in the order of their priority.
    ///
    /// # Errors
    ///
    /// No toolchain (`toolchains-empty`), one named twice (`toolchain-duplicate`), or one of which no
    /// run is recorded (`toolchain-unknown`).
    pub fn new(trials: &'a Trials, toolchains: &[String]) -> Result<Self> {
        if toolchains.is_empty() {
            return Err(Error::usage(
                "toolchains-empty",
                "a replay needs at least one toolchain",
            ));
        }
        for (place, name) in toolchains.iter().enumerate() {
            if toolchains[..place].contains(name) {
                return Err(
                    Error::usage("toolchain-duplicate", "a toolchain is named twice")
                        .found(quoted(name).to_string()),
                );
            }
        }
        let rank: HashMap<&str, usize> = toolchains
            .iter()
            .enumerate()
            .map(|(rank, name)| (name.as_str(), rank))
            .collect();
        let mut pools: HashMap<&'a str, Vec<Vec<usize>>> = HashMap::new();
        let mut seen = vec![false; toolchains.len()];
        for (index, trial) in trials.as_slice().iter().enumerate() {
            let Some(rank) = rank.get(trial.toolchain.as_str()) else {
                continue;
            };
            seen[*rank] = true;
            pools
                .entry(&trial.issue_id)
                .or_insert_with(|| vec![Vec::new(); toolchains.len()])[*rank]
                .push(index);
        }
        if let Some(unknown) = seen.iter().position(|seen| !seen) {
            return Err(
                Error::usage("toolchain-unknown", "no run of this toolchain is recorded")
                    .expected(format!("one of {}", trials.toolchains().join(", ")))
                    .found(quoted(&toolchains[unknown]).to_string()),
            );
        }
        Ok(Self {
            trials,
            toolchains: toolchains.to_vec(),
            pools,
        })
    }

    /// The draw of `seed` for one issue; none where nothing is recorded of it.
    pub fn draw(&self, issue_id: &str, seed: u64) -> Option<Draw<'a>> {
        let pools = self.pools.get(issue_id)?;
        Some(Draw {
            trials: self.trials,
            runs: draw(seed, issue_id, &self.toolchains, pools.clone()),
        })
    }
}

/// One draw of recorded runs for one issue: for slot 0, 1, ...
#[derive(Debug, Clone)]
pub struct Draw<'a> {
    trials: &'a Trials,
    runs: Vec<usize>,
}

impl<'a> Draw<'a> {
    /// The runs that `action` stands for, each cut at the action's cap; none where the action is no plan
    /// of runs ([`Plan::of`]).
    pub fn runs(&self, action: &NamedAction) -> Vec<Run> {
        Plan::of(action).map_or_else(Vec::new, |plan| self.planned(plan).collect())
    }

    fn planned(&self, plan: Plan) -> impl Iterator<Item = Run> {
        let runs = plan.runs.min(self.runs.len());
        self.runs[..runs]
            .iter()
            .filter_map(move |index| Run::cut(self.trials, *index, plan.cap_ms))
    }

    /// What `action` would have come to; none as for [`Draw::runs`].
    pub fn outcome(&self, action: &NamedAction) -> Option<ReplayOutcome<'a>> {
        let plan = Plan::of(action)?;
        let (mut passing, mut longest) = (None::<u64>, None::<Run>);
        let (mut agent_ms, mut runs, mut cut) = (0_u64, 0, false);
        for run in self.planned(plan) {
            runs += 1;
            agent_ms = agent_ms.saturating_add(run.duration_ms);
            cut |= run.status == RunStatus::Timeout;
            if run.status == RunStatus::Success {
                passing = Some(passing.map_or(run.duration_ms, |ms| ms.min(run.duration_ms)));
            }
            if longest.is_none_or(|longest| longest.duration_ms < run.duration_ms) {
                longest = Some(run);
            }
        }
        let longest = longest?;
        let fail_codes = match passing {
            Some(_) => Vec::new(),
            None => self.fail_codes(plan),
        };
        Some(ReplayOutcome {
            passed: passing.is_some(),
            timed_out: passing.is_none() && longest.status == RunStatus::Timeout,
            cut,
            wall_ms: passing.unwrap_or(longest.duration_ms),
            agent_ms,
            runs,
            fail_codes,
        })
    }

    fn fail_codes(&self, plan: Plan) -> Vec<&'a str> {
        let mut codes = Vec::new();
        for run in self.planned(plan) {
            let trial = &self.trials.as_slice()[run.trial];
            if trial.duration_ms != run.duration_ms {
                continue;
            }
            for code in &trial.fail_codes {
                if !codes.contains(&code.as_str()) {
                    codes.push(code.as_str());
                }
            }
        }
        codes
    }
}

/// One draw of recorded runs for every issue.
#[derive(Debug, Clone)]
pub struct Replay<'a> {
    draws: HashMap<&'a str, Draw<'a>>,
}

impl<'a> Replay<'a> {
    /// Draws runs for every issue: `toolchains` in the order of their priority.
    ///
    /// # Errors
    ///
    /// As [`Recorded::new`].
    pub fn new(trials: &'a Trials, toolchains: &[String], seed: u64) -> Result<Self> {
        let recorded = Recorded::new(trials, toolchains)?;
        let issues = recorded.pools.keys();
        let draws = issues.filter_map(|issue| Some((*issue, recorded.draw(issue, seed)?)));
        Ok(Self {
            draws: draws.collect(),
        })
    }

    /// [`Draw::runs`] of the issue's draw; none where the issue is not recorded.
    pub fn runs(&self, issue_id: &str, action: &NamedAction) -> Vec<Run> {
        let draw = self.draws.get(issue_id);
        draw.map_or_else(Vec::new, |draw| draw.runs(action))
    }

    /// [`Draw::outcome`] of the issue's draw; none where the issue is not recorded.
    pub fn outcome(&self, issue_id: &str, action: &NamedAction) -> Option<ReplayOutcome<'a>> {
        self.draws.get(issue_id)?.outcome(action)
    }
}

/// The recorded runs for slot 0, 1, ... of one issue: round the toolchains, never the same run twice.
fn draw(seed: u64, issue: &str, toolchains: &[String], mut pools: Vec<Vec<usize>>) -> Vec<usize> {
    let recorded: usize = pools.iter().map(Vec::len).sum();
    let mut draws = Vec::with_capacity(recorded.min(MAX_SLOTS));
    while draws.len() < recorded.min(MAX_SLOTS) {
        for (toolchain, pool) in toolchains.iter().zip(&mut pools) {
            if pool.is_empty() || draws.len() == MAX_SLOTS {
                continue;
            }
            let choice = choose(seed, issue, toolchain, draws.len(), pool.len());
            draws.push(pool.remove(choice));
        }
    }
    draws
}

/// The seeded choice of one of `count` runs for a slot.
fn choose(seed: u64, issue: &str, toolchain: &str, slot: usize, count: usize) -> usize {
    let mut hasher = Hasher::default();
    hasher.update(format!("{seed}\n{issue}\n{toolchain}\n{slot}").as_bytes());
    let mut head = [0; 8];
    head.copy_from_slice(&hasher.finish().bytes()[..8]);
    // The remainder is below `count`.
    usize::try_from(u64::from_be_bytes(head) % count.max(1) as u64).unwrap_or(0)
}
