//! Which action wins.

use amphora_planner::action_space::NamedAction;
use amphora_planner::contracts::{Bin, Objective};

use super::{Candidate, CandidateOutcome};

/// What `NA` counts as where fewer win.
const NOT_LIMITED: u32 = 999;

/// The place of the winner: among those that passed every gate, the best by the objective; among
/// equals the one with fewer candidates, then with fewer minutes (`NA` counts as 999), then the smaller
/// text. None where nothing passed.
pub fn best(candidates: &[Candidate], objective: Objective) -> Option<usize> {
    let key = |candidate: &Candidate| {
        let action = &candidate.action;
        let count = |bin: Bin| bin.count().unwrap_or(NOT_LIMITED);
        (
            cost(&candidate.outcome, objective),
            count(action.max_candidates_bin),
            count(action.max_minutes_bin),
            text(action),
        )
    };
    (0..candidates.len())
        .filter(|place| candidates[*place].outcome.all_gates_passed)
        .min_by_key(|place| key(&candidates[*place]))
}

/// What is to be small.
fn cost(outcome: &CandidateOutcome, objective: Objective) -> u64 {
    match objective {
        Objective::MinimizeDuration => outcome.duration_ms,
        // Trials hold no prices: an agent's minutes are what it costs. Among actions that pass, the
        // highest utility is the lowest cost, whatever a minute costs.
        Objective::MinimizeCost | Objective::MaximizeUtility => outcome.agent_ms,
        Objective::MaximizeQuality => outcome.fail_codes.len() as u64,
    }
}

fn text(action: &NamedAction) -> (String, String, String, String) {
    (
        action.swarm_id.clone(),
        action.max_candidates_bin.to_string(),
        action.max_minutes_bin.to_string(),
        action.max_iterations_bin.to_string(),
    )
}
