//! What a policy should have answered on a task.

use std::collections::{BTreeMap, BTreeSet};

use amphora_planner::action_space::{Action, Head};

use super::{Outcomes, Settings, Task};

/// What a policy should have preferred on a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// For each head the preference among its classes; sums to 1.
    pub shares: [Vec<f64>; 4],
    /// The label: of the actions that are equally good, the one that does best in general.
    pub best: Action,
    /// Every action that is less than [`Settings::indifference`] worse than the best of the task.
    pub equally_good: Vec<Action>,
    /// What a wrong choice can cost: the highest mean utility less the lowest.
    pub stake: f64,
}

impl Target {
    /// One action and no other.
    pub fn of_action(action: Action, widths: [usize; 4]) -> Self {
        Self {
            shares: Head::ALL.map(|head| one_hot(action.class(head), head, widths)),
            best: action,
            equally_good: vec![action],
            stake: 1.0,
        }
    }

    /// The preference to learn on `task`.
    ///
    /// A class is worth the mean utility of the best action that has it, and classes are preferred as the
    /// softmax of those worths over [`Settings::label_temperature`]. (A sum over actions would favor
    /// classes that merely occur in many.) On many tasks several actions come to the same, as limits do
    /// that no run reaches. Such a tie says nothing about the task, so the preference for all classes of
    /// equally good actions goes to one of them: the one that does best in general. Without that a right
    /// answer would never be more probable than its share of the tie.
    pub fn of_task(task: &Task, widths: [usize; 4], ties: &TieBreak, settings: &Settings) -> Self {
        let utilities = task.utilities();
        let highest = utilities[task.best()];
        let equally_good: Vec<Action> = task
            .actions
            .iter()
            .zip(utilities)
            .filter(|(_, utility)| **utility >= highest - settings.indifference())
            .map(|(action, _)| *action)
            .collect();
        let best = ties.first(&equally_good, task.actions[task.best()]);
        let shares = Head::ALL.map(|head| {
            let mut worths = vec![f64::NEG_INFINITY; widths[head.position()]];
            for (action, utility) in task.actions.iter().zip(utilities) {
                let worth = &mut worths[action.class(head)];
                *worth = worth.max(*utility);
            }
            let mut shares: Vec<f64> = worths
                .iter()
                .map(|worth| ((worth - highest) / settings.label_temperature).exp())
                .collect();
            let sum: f64 = shares.iter().sum();
            for share in &mut shares {
                *share /= sum;
            }
            let tied: BTreeSet<usize> = equally_good.iter().map(|a| a.class(head)).collect();
            let together = tied.iter().map(|class| shares[*class]).sum();
            for class in tied {
                shares[class] = 0.0;
            }
            shares[best.class(head)] = together;
            shares
        });
        let lowest = utilities.iter().copied().fold(f64::INFINITY, f64::min);
        Self {
            shares,
            best,
            equally_good,
            stake: highest - lowest,
        }
    }

    /// The label of one head.
    pub(crate) fn label(&self, head: Head, widths: [usize; 4]) -> Vec<f64> {
        one_hot(self.best.class(head), head, widths)
    }

    /// Whether a class is that of an equally good action.
    pub(crate) fn is_right(&self, head: Head, class: usize) -> bool {
        self.equally_good.iter().any(|a| a.class(head) == class)
    }
}

fn one_hot(class: usize, head: Head, widths: [usize; 4]) -> Vec<f64> {
    let mut shares = vec![0.0; widths[head.position()]];
    shares[class] = 1.0;
    shares
}

/// How ties are broken: by the mean utility of each action over the tasks that are learned from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TieBreak(BTreeMap<Action, f64>);

impl TieBreak {
    /// From the outcomes of `tasks`, which must be none that is judged.
    pub fn new<'a>(outcomes: &Outcomes, tasks: impl IntoIterator<Item = &'a String>) -> Self {
        let mut sums: BTreeMap<Action, (f64, f64)> = BTreeMap::new();
        let tasks: BTreeSet<&String> = tasks.into_iter().collect();
        for task in tasks.into_iter().filter_map(|id| outcomes.tasks.get(id)) {
            for (action, utility) in task.actions.iter().zip(task.utilities()) {
                let sum = sums.entry(*action).or_default();
                *sum = (sum.0 + utility, sum.1 + 1.0);
            }
        }
        let mean = |(action, (sum, count))| (action, sum / count);
        Self(sums.into_iter().map(mean).collect())
    }

    /// The one of `actions` that does best in general, the first among equals; `otherwise` without any.
    fn first(&self, actions: &[Action], otherwise: Action) -> Action {
        let mut best: Option<(f64, Action)> = None;
        for action in actions {
            let utility = self.0.get(action).copied().unwrap_or(f64::NEG_INFINITY);
            if best.is_none_or(|(most, _)| utility > most + 1e-12) {
                best = Some((utility, *action));
            }
        }
        best.map_or(otherwise, |(_, action)| action)
    }
}
