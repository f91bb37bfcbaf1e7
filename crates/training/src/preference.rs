//! What a policy should have answered, given what each action came to.

use std::collections::{BTreeMap, BTreeSet};

use amphora_planner::action_space::{Action, Head};

use crate::train::{ActionOutcome, Label, ModelKind, TrainingRow};

/// When actions are equally good, and how much better ones are preferred.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preference {
    /// The difference in utility at which one class is preferred `e` times over another.
    pub temperature: f64,
    /// The difference in utility that is none.
    pub indifference: f64,
}

impl Preference {
    /// Softness: the price of five agent minutes at the usual 0.02 passes.
    pub const TEMPERATURE: f64 = 0.1;
    /// Agent minutes whose price is no difference.
    pub const INDIFFERENT_MINUTES: f64 = 1.0;

    /// The defaults where an agent minute costs `minute_cost` passes.
    pub fn new(minute_cost: f64) -> Self {
        Self {
            temperature: Self::TEMPERATURE,
            indifference: Self::indifference(Self::INDIFFERENT_MINUTES, minute_cost),
        }
    }

    /// The price of `minutes`, and never nothing: equal sums may differ in their last bit.
    pub fn indifference(minutes: f64, minute_cost: f64) -> f64 {
        (minutes * minute_cost).max(1e-9)
    }
}

/// What a policy should have preferred on one task.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// For each head the preference among its classes; sums to 1.
    pub shares: [Vec<f64>; 4],
    /// The label: of the actions that are equally good, the one that does best in general.
    pub best: Action,
    /// Every action that is at most [`Preference::indifference`] worse than the best.
    pub equally_good: Vec<Action>,
    /// What a wrong choice can cost: the highest utility less the lowest.
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

    /// The preference to learn where each of `actions` has one of `utilities`; `None` without actions.
    ///
    /// A class is worth the utility of the best action that has it, and classes are preferred as the
    /// softmax of those worths over [`Preference::temperature`]. (A sum over actions would favor classes
    /// that merely occur in many.) On many tasks several actions come to the same, as limits do that no
    /// run reaches. Such a tie says nothing about the task, so the preference for all classes of equally
    /// good actions goes to one of them: the one that does best in general. Without that a right answer
    /// would never be more probable than its share of the tie.
    pub fn new(
        actions: &[Action],
        utilities: &[f64],
        widths: [usize; 4],
        ties: &TieBreak,
        preference: Preference,
    ) -> Option<Self> {
        let scored = || actions.iter().zip(utilities);
        let highest = utilities.iter().copied().reduce(f64::max)?;
        let equally_good: Vec<Action> = scored()
            .filter(|(_, utility)| **utility >= highest - preference.indifference)
            .map(|(action, _)| *action)
            .collect();
        let best = ties.first(&equally_good)?;
        let shares = Head::ALL.map(|head| {
            let mut worths = vec![f64::NEG_INFINITY; widths[head.position()]];
            for (action, utility) in scored() {
                let worth = &mut worths[action.class(head)];
                *worth = worth.max(*utility);
            }
            let mut shares: Vec<f64> = worths
                .iter()
                .map(|worth| ((worth - highest) / preference.temperature).exp())
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
        Some(Self {
            shares,
            best,
            equally_good,
            stake: highest - lowest,
        })
    }

    /// What a model of this kind learns.
    pub(crate) fn to_label(&self, kind: ModelKind) -> Label {
        let narrow = |shares: &Vec<f64>| shares.iter().map(|share| *share as f32).collect();
        match kind {
            ModelKind::Joint => Label::Action(self.best),
            _ => Label::Shares(self.shares.each_ref().map(narrow)),
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
    /// From the actions of tasks and their utilities; of no task that is judged.
    pub fn new<'a>(tasks: impl IntoIterator<Item = (&'a [Action], &'a [f64])>) -> Self {
        let mut sums: BTreeMap<Action, (f64, f64)> = BTreeMap::new();
        for (actions, utilities) in tasks {
            for (action, utility) in actions.iter().zip(utilities) {
                let sum = sums.entry(*action).or_default();
                *sum = (sum.0 + utility, sum.1 + 1.0);
            }
        }
        let mean = |(action, (sum, count))| (action, sum / count);
        Self(sums.into_iter().map(mean).collect())
    }

    /// The one of `actions` that does best in general, the first among equals.
    fn first(&self, actions: &[Action]) -> Option<Action> {
        let mut best: Option<(f64, Action)> = None;
        for action in actions {
            let utility = self.0.get(action).copied().unwrap_or(f64::MIN);
            if best.is_none_or(|(most, _)| utility > most + 1e-12) {
                best = Some((utility, *action));
            }
        }
        best.map(|(_, action)| action)
    }
}

/// Labels rows by the utilities of their outcomes instead of by a winner: `1` for a pass less
/// `minute_cost` for each agent minute. Ties are broken by the rows of `training`; a row weighs what a
/// wrong choice on it can cost, and the mean weight of `training` is 1.
pub fn label_by_utility(
    training: &mut [TrainingRow],
    validation: &mut [TrainingRow],
    minute_cost: f64,
    kind: ModelKind,
) {
    let scores = |row: &TrainingRow| -> (Vec<Action>, Vec<f64>) {
        let score = |outcome: &ActionOutcome| (outcome.action, outcome.utility(minute_cost));
        row.outcomes.iter().map(score).unzip()
    };
    let known: Vec<_> = training.iter().map(scores).collect();
    let ties = TieBreak::new(known.iter().map(|(a, u)| (&a[..], &u[..])));
    let preference = Preference::new(minute_cost);
    for row in training.iter_mut().chain(validation.iter_mut()) {
        let (actions, utilities) = scores(row);
        let widths = row.input.action_space.widths();
        let target = Target::new(&actions, &utilities, widths, &ties, preference);
        row.label = target.as_ref().map(|target| target.to_label(kind));
        row.weight = target.map_or(0.0, |target| target.stake).max(LEAST_WEIGHT);
    }
    let mean = training.iter().map(|row| row.weight).sum::<f64>() / training.len().max(1) as f64;
    for row in training.iter_mut().chain(validation) {
        row.weight /= mean.max(LEAST_WEIGHT);
    }
}

/// The least that a row counts before weights are scaled.
pub(crate) const LEAST_WEIGHT: f64 = 1e-3;
