//! What a policy's choices come to.

use std::collections::BTreeMap;

use amphora_planner::action_space::Action;
use serde::{Deserialize, Serialize};

use crate::metrics::{Bootstrap, Collapse, Example, Interval, OutcomeMetrics};

use super::outcomes::{Outcomes, Task};

/// What a policy does on one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This action.
    Action(Action),
    /// Any valid action, all equally likely; measured by its exact expectation.
    Uniform,
    /// The best action of every single replay: what nobody can know beforehand.
    Hindsight,
    /// The action with the best mean over the replays of the task.
    Expected,
}

/// What a policy came to on one task, as means over its rows and replays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TaskValues {
    /// Share passed.
    pub pass: f64,
    /// Agent minutes.
    pub minutes: f64,
    /// Wall time in minutes.
    pub wall_minutes: f64,
    /// Utility.
    pub utility: f64,
    /// Utility of the best action of each replay, less the policy's.
    pub regret: f64,
}

/// Intervals around the numbers that matter, over tasks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Share passed.
    pub pass_rate: Interval,
    /// Agent minutes of all picks / passes.
    pub agent_minutes_per_pass: Interval,
    /// Mean utility.
    pub utility: Interval,
    /// Mean regret in utility, against the best action of each replay.
    pub utility_regret: Interval,
}

/// A policy and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// Its name: `heuristic`, `uniform`, `oracle`, a model, or `fixed:` and an action.
    pub name: String,
    /// Outcome metrics; every task counts as one example.
    pub metrics: OutcomeMetrics,
    /// Intervals over tasks.
    pub intervals: Intervals,
    /// Utility less the heuristic's, paired by task.
    pub minus_heuristic: Interval,
    /// Utility less that of the best fixed action (best on these very tasks), paired by task.
    pub minus_best_fixed: Interval,
    /// How often each action was chosen; absent for policies that are no function of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Collapse>,
    /// By task.
    pub tasks: BTreeMap<String, TaskValues>,
}

/// A policy's choices: the issue of each row, and what is done there.
#[derive(Debug, Clone, PartialEq)]
pub struct Choices {
    /// The policy.
    pub name: String,
    /// One for each row.
    pub rows: Vec<(String, Choice)>,
}

/// Choices measured, before they are compared.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    name: String,
    metrics: OutcomeMetrics,
    actions: Option<Collapse>,
    pub(crate) tasks: BTreeMap<String, TaskValues>,
}

/// Measures choices. Every task weighs the same, however many rows it has; rows of tasks without
/// outcomes are left out.
pub(crate) fn measure(choices: &Choices, outcomes: &Outcomes, minute_cost: f64) -> Measured {
    let mut by_task: BTreeMap<&str, Vec<Choice>> = BTreeMap::new();
    for (issue, choice) in &choices.rows {
        if outcomes.tasks.contains_key(issue) {
            by_task.entry(issue).or_default().push(*choice);
        }
    }
    let mut all = Vec::new();
    let mut tasks = BTreeMap::new();
    for (issue, chosen) in by_task {
        let task = &outcomes.tasks[issue];
        let examples = examples_of(task, &chosen, minute_cost);
        tasks.insert(issue.to_owned(), values_of(task, &examples, minute_cost));
        all.extend(examples);
    }
    let named: Vec<(String, String)> = choices
        .rows
        .iter()
        .filter_map(|(_, choice)| match choice {
            Choice::Action(action) => outcomes.space.named(*action),
            _ => None,
        })
        .map(|action| (action.swarm_id.clone(), action.to_string()))
        .collect();
    Measured {
        name: choices.name.clone(),
        metrics: OutcomeMetrics::of(&all, minute_cost),
        actions: (named.len() == choices.rows.len())
            .then(|| Collapse::of(named.iter().map(|(swarm, text)| (&**swarm, &**text)))),
        tasks,
    }
}

fn examples_of(task: &Task, chosen: &[Choice], minute_cost: f64) -> Vec<Example> {
    let weight = 1.0 / (chosen.len() * task.draws()) as f64;
    let mut examples = Vec::new();
    for choice in chosen {
        for draw in 0..task.draws() {
            match choice {
                Choice::Action(action) => {
                    // Every policy chooses among the valid actions; anything else would be no outcome.
                    if let Some(place) = task.place(*action) {
                        examples.push(task.example(draw, place, weight));
                    }
                }
                Choice::Uniform => {
                    let share = weight / task.actions.len() as f64;
                    examples.extend(
                        (0..task.actions.len()).map(|place| task.example(draw, place, share)),
                    );
                }
                Choice::Hindsight => {
                    let place = task.best_in(draw, minute_cost);
                    examples.push(task.example(draw, place, weight));
                }
                Choice::Expected => examples.push(task.example(draw, task.best(), weight)),
            }
        }
    }
    examples
}

fn values_of(task: &Task, examples: &[Example], minute_cost: f64) -> TaskValues {
    let total: f64 = examples.iter().map(|e| e.weight).sum();
    let mean = |value: &dyn Fn(&Example) -> f64| {
        examples.iter().map(|e| e.weight * value(e)).sum::<f64>() / total
    };
    let utility = mean(&|e| e.pick.utility(minute_cost));
    let best: f64 = (0..task.draws())
        .map(|draw| {
            let place = task.best_in(draw, minute_cost);
            task.example(draw, place, 1.0).pick.utility(minute_cost)
        })
        .sum();
    TaskValues {
        pass: mean(&|e| f64::from(u8::from(e.pick.passed))),
        minutes: mean(&|e| e.pick.agent_minutes),
        wall_minutes: mean(&|e| e.pick.duration_ms / 60_000.0),
        utility,
        regret: best / task.draws() as f64 - utility,
    }
}

/// Compares policies that were measured on the same tasks: each against `heuristic`, and against the
/// best of the policies named `fixed:...`.
pub(crate) fn compare(measured: &[Measured], bootstrap: &Bootstrap) -> Vec<PolicyReport> {
    let heuristic = measured.iter().find(|policy| policy.name == HEURISTIC);
    let best_fixed = measured
        .iter()
        .filter(|policy| policy.name.starts_with(FIXED))
        .reduce(|best, policy| {
            if policy.metrics.utility > best.metrics.utility + 1e-12 {
                policy
            } else {
                best
            }
        });
    measured
        .iter()
        .map(|policy| PolicyReport {
            name: policy.name.clone(),
            metrics: policy.metrics,
            intervals: intervals(policy, bootstrap),
            minus_heuristic: difference(policy, heuristic, bootstrap),
            minus_best_fixed: difference(policy, best_fixed, bootstrap),
            actions: policy.actions.clone(),
            tasks: policy.tasks.clone(),
        })
        .collect()
}

/// The name of the heuristic.
pub const HEURISTIC: &str = "heuristic";
/// How the names of fixed actions begin.
pub const FIXED: &str = "fixed:";

fn intervals(policy: &Measured, bootstrap: &Bootstrap) -> Intervals {
    let of = |value: &dyn Fn(&TaskValues) -> (f64, f64)| {
        let clusters: Vec<(f64, f64)> = policy.tasks.values().map(value).collect();
        bootstrap.ratio(&clusters)
    };
    Intervals {
        pass_rate: of(&|task| (task.pass, 1.0)),
        agent_minutes_per_pass: of(&|task| (task.minutes, task.pass)),
        utility: of(&|task| (task.utility, 1.0)),
        utility_regret: of(&|task| (task.regret, 1.0)),
    }
}

fn difference(policy: &Measured, other: Option<&Measured>, bootstrap: &Bootstrap) -> Interval {
    let paired: Vec<f64> = policy
        .tasks
        .iter()
        .filter_map(|(task, own)| Some(own.utility - other?.tasks.get(task)?.utility))
        .collect();
    bootstrap.mean(&paired)
}
