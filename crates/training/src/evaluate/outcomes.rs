//! What every valid action would have come to on every task, over many replays.

use std::collections::{BTreeMap, BTreeSet};

use amphora_error::{Error, Result};
use amphora_planner::action_space::{Action, ActionSpace};
use amphora_planner::contracts::PlannerInput;
use amphora_planner::replay::{Replay, Trials};

use crate::metrics::{Example, Pick};
use crate::preference::{Target, TieBreak};
use crate::train::ActionOutcome;

use super::Settings;

/// One action on one task in one replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether some run passed every gate within the cap.
    pub passed: bool,
    /// Whether nothing passed and the longest run was cut.
    pub timed_out: bool,
    /// Whether any run was cut, even where another passed.
    pub cut: bool,
    /// Time until the first run passed, else of the longest, in milliseconds.
    pub wall_ms: u64,
    /// Time of all runs together, in milliseconds.
    pub agent_ms: u64,
}

impl Outcome {
    fn pick(&self) -> Pick {
        Pick {
            passed: self.passed,
            duration_ms: self.wall_ms as f64,
            agent_minutes: self.agent_ms as f64 / 60_000.0,
            cost_usd: None,
        }
    }
}

/// One task: its valid actions, and what each came to in each replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The valid actions, in the order of enumeration.
    pub actions: Vec<Action>,
    /// For each replay, the outcome of each action.
    draws: Vec<Vec<Outcome>>,
    /// Mean utility of each action over the replays.
    utilities: Vec<f64>,
}

impl Task {
    /// How many replays there are.
    pub fn draws(&self) -> usize {
        self.draws.len()
    }

    /// The mean utility of each action, in the order of [`Self::actions`].
    pub fn utilities(&self) -> &[f64] {
        &self.utilities
    }

    /// How often an action passed.
    pub fn pass_rate(&self, place: usize) -> f64 {
        let passed = self.draws.iter().filter(|draw| draw[place].passed).count();
        passed as f64 / self.draws.len().max(1) as f64
    }

    /// The place of an action among the valid ones.
    pub fn place(&self, action: Action) -> Option<usize> {
        self.actions.iter().position(|other| *other == action)
    }

    /// The place of the action with the highest mean utility.
    pub fn best(&self) -> usize {
        first_largest(&self.utilities)
    }

    /// The place of the action that was best in one replay.
    pub fn best_in(&self, draw: usize, minute_cost: f64) -> usize {
        let utilities: Vec<f64> = self.draws[draw]
            .iter()
            .map(|outcome| outcome.pick().utility(minute_cost))
            .collect();
        first_largest(&utilities)
    }

    /// One decision for the outcome metrics; the oracle is the passing action of the shortest wall time,
    /// then of the least agent time, then the first.
    pub fn example(&self, draw: usize, place: usize, weight: f64) -> Example {
        let outcomes = &self.draws[draw];
        let oracle = (0..outcomes.len())
            .filter(|&other| outcomes[other].passed)
            .min_by_key(|&other| (outcomes[other].wall_ms, outcomes[other].agent_ms, other));
        let longest = outcomes.iter().map(|outcome| outcome.wall_ms).max();
        Example {
            pick: outcomes[place].pick(),
            oracle: oracle.map(|oracle| outcomes[oracle].pick()),
            is_oracle: oracle == Some(place),
            longest_ms: longest.unwrap_or(0) as f64,
            weight,
        }
    }

    /// What a policy should prefer here.
    pub fn target(
        &self,
        widths: [usize; 4],
        ties: &TieBreak,
        settings: &Settings,
    ) -> Option<Target> {
        let preference = settings.preference();
        Target::new(&self.actions, &self.utilities, widths, ties, preference)
    }

    /// What a value model learns of the task: every action in one of the replays.
    pub fn learned(&self, draw: usize) -> Vec<ActionOutcome> {
        let outcomes = &self.draws[draw % self.draws.len().max(1)];
        self.actions
            .iter()
            .zip(outcomes)
            .map(|(action, outcome)| ActionOutcome {
                action: *action,
                passed: outcome.passed,
                timed_out: outcome.timed_out,
                cut: outcome.cut,
                agent_ms: outcome.agent_ms,
            })
            .collect()
    }
}

fn first_largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if *value > values[best] + 1e-12 {
            best = place;
        }
    }
    best
}

/// Every task of a dataset that trials are recorded of.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcomes {
    /// By issue.
    pub tasks: BTreeMap<String, Task>,
    /// The action space of all of them.
    pub space: ActionSpace,
}

impl Outcomes {
    /// How ties are broken by what `tasks` came to, which must be none that is judged.
    pub fn tie_break<'a>(&self, tasks: impl IntoIterator<Item = &'a String>) -> TieBreak {
        let tasks: BTreeSet<&String> = tasks.into_iter().collect();
        let known = tasks.into_iter().filter_map(|id| self.tasks.get(id));
        TieBreak::new(known.map(|task| (&task.actions[..], &task.utilities[..])))
    }

    /// Replays every valid action on the issue of every input, [`Settings::replays`] times with the seeds
    /// `seed`, `seed + 1`, ...
    ///
    /// Issues without recorded trials are left out.
    ///
    /// # Errors
    ///
    /// Incompatible (`evaluation-action-space`) when inputs differ in their action space;
    /// incompatible (`evaluation-empty`) when no issue has a trial; those of [`Replay::new`].
    pub fn replay<'a>(
        inputs: impl IntoIterator<Item = &'a PlannerInput>,
        trials: &Trials,
        settings: &Settings,
    ) -> Result<Self> {
        let replays = (0..u64::from(settings.replays.max(1)))
            .map(|draw| {
                let seed = settings.seed.wrapping_add(draw);
                Replay::new(trials, &settings.toolchains, seed)
            })
            .collect::<Result<Vec<_>>>()?;
        let mut space: Option<&ActionSpace> = None;
        let mut tasks = BTreeMap::new();
        for input in inputs {
            if space.get_or_insert(&input.action_space) != &&input.action_space {
                return Err(Error::incompatible(
                    "evaluation-action-space",
                    "the rows have different action spaces",
                ));
            }
            let issue = &input.issue.issue_id;
            if tasks.contains_key(issue) {
                continue;
            }
            if let Some(task) = replay_task(input, &replays, settings.minute_cost) {
                tasks.insert(issue.clone(), task);
            }
        }
        match space {
            Some(space) if !tasks.is_empty() => Ok(Self {
                tasks,
                space: space.clone(),
            }),
            _ => Err(Error::incompatible(
                "evaluation-empty",
                "no row of the dataset is of an issue that trials are recorded of",
            )
            .hint("give the trials that were recorded on the dataset's issues")),
        }
    }
}

fn replay_task(input: &PlannerInput, replays: &[Replay], minute_cost: f64) -> Option<Task> {
    let space = &input.action_space;
    let actions: Vec<Action> = space.valid_actions(&input.job_type);
    let named: Vec<_> = actions.iter().filter_map(|a| space.named(*a)).collect();
    let draws = replays
        .iter()
        .map(|replay| {
            named
                .iter()
                .map(|action| {
                    let outcome = replay.outcome(&input.issue.issue_id, action)?;
                    Some(Outcome {
                        passed: outcome.passed,
                        timed_out: outcome.timed_out,
                        cut: outcome.cut,
                        wall_ms: outcome.wall_ms,
                        agent_ms: outcome.agent_ms,
                    })
                })
                .collect::<Option<Vec<Outcome>>>()
        })
        .collect::<Option<Vec<_>>>()?;
    if actions.is_empty() {
        return None;
    }
    let utilities = (0..actions.len())
        .map(|place| {
            let sum: f64 = draws
                .iter()
                .map(|outcomes| outcomes[place].pick().utility(minute_cost))
                .sum();
            sum / draws.len() as f64
        })
        .collect();
    Some(Task {
        actions,
        draws,
        utilities,
    })
}
