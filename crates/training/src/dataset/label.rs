//! What a decision executed, as an action of the space.

use amphora_planner::action_space::{Action, ActionSpace, Head, NamedAction, SERIAL};
use amphora_planner::contracts::{ActionExecuted, Bin};
use amphora_planner::history::archives::ArchivedRun;

use super::duplicates::executed;

/// Why a decision has no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unusable {
    /// What was executed is recorded and cannot be read.
    UnreadablePlan,
    /// Its runs do not agree on what was executed.
    SiblingsDisagree,
    /// It says that fewer runs were started than there are.
    MoreRunsThanExecuted,
    /// The planner's action was followed, and something else executed.
    ContradictsAction,
    /// No swarm is named, or one that the action space does not have.
    OutOfSpace,
    /// No candidate, no iteration, or against a rule.
    Invalid,
}

impl Unusable {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::UnreadablePlan => "label_unreadable_plan",
            Self::SiblingsDisagree => "label_siblings_disagree",
            Self::MoreRunsThanExecuted => "label_fewer_than_runs",
            Self::ContradictsAction => "label_contradicts_action",
            Self::OutOfSpace => "label_out_of_space",
            Self::Invalid => "label_invalid",
        }
    }
}

/// A label, and what had to be done for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) action: NamedAction,
    /// A serial run without a number of candidates: it has one.
    pub(super) repaired: bool,
    /// A number between bins, which went to the nearest.
    pub(super) binned: bool,
    /// No run has an executed plan: they are older than those, and nothing says what minutes they had.
    pub(super) legacy_minutes: bool,
}

/// The label of the decision that started `runs`, which are not empty.
pub(super) fn label(
    space: &ActionSpace,
    job_type: &str,
    runs: &[&ArchivedRun],
) -> Result<Label, Unusable> {
    if runs.iter().any(|run| run.planner.plan_is_unreadable) {
        return Err(Unusable::UnreadablePlan);
    }
    let ran = &runs[0].summary.action_executed;
    if runs.iter().any(|run| run.summary.action_executed != *ran) {
        return Err(Unusable::SiblingsDisagree);
    }
    if runs.len() > executed(runs[0]) {
        return Err(Unusable::MoreRunsThanExecuted);
    }
    let mut label = fitted(space, job_type, ran)?;
    label.legacy_minutes = runs.iter().all(|run| run.planner.executed_plan.is_none());
    match runs
        .iter()
        .any(|run| contradicts(space, run, &label.action))
    {
        true => Err(Unusable::ContradictsAction),
        false => Ok(label),
    }
}

/// The action of the space that is what `ran`.
fn fitted(space: &ActionSpace, job_type: &str, ran: &ActionExecuted) -> Result<Label, Unusable> {
    let swarm_id = ran.swarm_id.as_deref().ok_or(Unusable::OutOfSpace)?;
    let swarm = space.swarm_class(swarm_id).ok_or(Unusable::OutOfSpace)?;
    if ran.max_candidates == Some(0) || ran.max_iterations == Some(0) {
        return Err(Unusable::Invalid);
    }
    let repaired = swarm_id == SERIAL && ran.max_candidates.is_none();
    let candidates = if repaired {
        Some(1)
    } else {
        ran.max_candidates
    };
    let mut binned = false;
    let mut class = |head: Head, value: Option<u32>| {
        let class = space.nearest(head, value);
        let wanted = value.map_or(Bin::NotApplicable, Bin::Count);
        binned |= space.bins(head).get(class) != Some(&wanted);
        class
    };
    let action = Action {
        swarm,
        candidates: class(Head::Candidates, candidates),
        minutes: class(Head::Minutes, ran.max_minutes),
        iterations: class(Head::Iterations, ran.max_iterations),
    };
    space
        .named(action)
        .filter(|_| space.is_valid(action, job_type))
        .map(|action| Label {
            action,
            repaired,
            binned,
            legacy_minutes: false,
        })
        .ok_or(Unusable::Invalid)
}

/// Whether a planner's action was followed without fallback, and yet another one ran. Fewer candidates
/// than planned are none: too few toolchains may have been free.
fn contradicts(space: &ActionSpace, run: &ArchivedRun, executed: &NamedAction) -> bool {
    let (Some(planned), Some(plan)) = (&run.planner.action, &run.planner.executed_plan) else {
        return false;
    };
    if plan.fallback_applied || planned.abstain_to_default {
        return false;
    }
    let minutes = |bin: Bin| space.nearest(Head::Minutes, bin.count());
    let more = match (
        planned.budgets.max_candidates_bin,
        executed.max_candidates_bin,
    ) {
        (Bin::Count(planned), Bin::Count(executed)) => executed > planned,
        _ => false,
    };
    planned.swarm_id != executed.swarm_id
        || more
        || minutes(planned.budgets.max_minutes_bin) != minutes(executed.max_minutes_bin)
}
