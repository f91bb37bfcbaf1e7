//! The plan that is executed.

use super::Baseline;
use crate::action_space::NamedAction;
use crate::contracts::{Bin, ExecutedPlan, PlanVersion};

/// The plan of an action that may be executed, and the time limit that it sets.
pub(super) fn enforced(action: &NamedAction, baseline: &Baseline) -> (ExecutedPlan, Option<u32>) {
    let cap = baseline.candidate_cap(&action.swarm_id);
    let seconds = match action.max_minutes_bin {
        Bin::Count(minutes) => minutes.checked_mul(60),
        Bin::NotApplicable => None,
    };
    let plan = ExecutedPlan {
        schema_version: PlanVersion,
        swarm_id_executed: action.swarm_id.clone(),
        max_candidates_executed: positive(action.max_candidates_bin.count().unwrap_or(cap)),
        timeout_seconds_executed: positive(seconds.unwrap_or(baseline.timeout_seconds)),
        max_iterations_executed: action
            .max_iterations_bin
            .count()
            .or(baseline.iterations)
            .and_then(positive),
        fallback_applied: false,
        fallback_reason: None,
        fallback_detail: None,
    };
    (plan, seconds)
}

/// The plan of the baseline.
pub(super) fn unchanged(baseline: &Baseline) -> ExecutedPlan {
    ExecutedPlan {
        schema_version: PlanVersion,
        swarm_id_executed: baseline.swarm_id.clone(),
        max_candidates_executed: positive(baseline.candidates),
        timeout_seconds_executed: positive(baseline.timeout_seconds),
        max_iterations_executed: baseline.iterations.and_then(positive),
        fallback_applied: false,
        fallback_reason: None,
        fallback_detail: None,
    }
}

fn positive(count: u32) -> Option<u32> {
    (count > 0).then_some(count)
}
