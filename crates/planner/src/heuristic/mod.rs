//! Decisions by rule: what is done without a model.
//!
//! [`action`] is a rule over the planner's input, the first thing that a model has to beat;
//! [`kernel`] is what an orchestrator does today, the baseline that every fallback returns to.

pub mod kernel;
mod pattern;

use crate::action_space::{Action, ActionSpace, Head, SERIAL, SPECULATE};
use crate::contracts::{PlannerInput, Risk, Size};

/// The `checkpoint_id` of actions that [`action`] chose.
pub const CHECKPOINT_ID: &str = "baseline_heuristic_v0";

/// What the rule wants before it is fitted to an action space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// The swarm.
    pub swarm_id: &'static str,
    /// How many candidates.
    pub candidates: u32,
    /// How many minutes each.
    pub minutes: u32,
}

/// The rule: a high or critical risk takes three candidates, else a large or huge issue two, else one
/// run does; minutes grow with the size; iterations are left open.
pub fn wish(risk: Risk, size: Size) -> Wish {
    let (swarm_id, candidates) = match (risk, size) {
        (Risk::High | Risk::Critical, _) => (SPECULATE, 3),
        (_, Size::L | Size::Xl) => (SPECULATE, 2),
        _ => (SERIAL, 1),
    };
    let minutes = match size {
        Size::Xs => 15,
        Size::S => 30,
        Size::M => 45,
        Size::L => 60,
        Size::Xl => 120,
    };
    Wish {
        swarm_id,
        candidates,
        minutes,
    }
}

/// The valid action of the input's space that is nearest to the rule's wish; `None` when no action is
/// valid.
pub fn action(input: &PlannerInput) -> Option<Action> {
    let wish = wish(input.issue.dk_risk, input.issue.dk_size);
    nearest_valid(
        &input.action_space,
        &input.action_space.valid_actions(&input.job_type),
        wish,
    )
}

/// The action of `valid` that is nearest to `wish`: of its swarm if there is one, then with the
/// nearest candidates, then the nearest minutes, then the nearest iterations, then the first.
pub fn nearest_valid(space: &ActionSpace, valid: &[Action], wish: Wish) -> Option<Action> {
    let swarm = space.swarm_class(wish.swarm_id);
    let wanted = [
        (
            Head::Candidates,
            space.nearest(Head::Candidates, Some(wish.candidates)),
        ),
        (
            Head::Minutes,
            space.nearest(Head::Minutes, Some(wish.minutes)),
        ),
        (Head::Iterations, space.nearest(Head::Iterations, None)),
    ];
    let far = |action: &Action| {
        let [candidates, minutes, iterations] =
            wanted.map(|(head, class)| steps(space, head, class, action.class(head)));
        (Some(action.swarm) != swarm, candidates, minutes, iterations)
    };
    valid.iter().min_by_key(|action| far(action)).copied()
}

/// How many bins of `head` lie from class `a` to class `b` when they are sorted.
fn steps(space: &ActionSpace, head: Head, a: usize, b: usize) -> usize {
    let bins = space.bins(head);
    let rank = |class: usize| bins.iter().filter(|bin| **bin < bins[class]).count();
    rank(a).abs_diff(rank(b))
}
