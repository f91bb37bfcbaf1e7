//! What a decision must keep, by the checker's code and by nothing of the decision's.

use amphora_planner::checker::{Caps, action_violations, plan_violations};
use amphora_planner::contracts::PlannerInput;
use amphora_planner::decide::{Baseline, Decision};
use serde_json::json;

/// What the decision breaks.
pub(crate) fn violations(
    decision: &Decision,
    input: &PlannerInput,
    baseline: &Baseline,
) -> Vec<String> {
    let plan = &decision.executed_plan;
    let positive = |count: u32| (count > 0).then_some(count);
    let candidates = match plan.swarm_id_executed.as_str() {
        swarm if swarm == baseline.swarm_id => baseline.candidates,
        "serial_handoff" => 1,
        _ => baseline
            .speculation
            .max_candidates
            .min(baseline.speculation.free_slots),
    };
    let cap = |count: u32| positive(count).map(u64::from);
    let caps = Caps {
        max_candidates: cap(candidates),
        timeout_seconds: cap(baseline.timeout_seconds),
        max_iterations: baseline.iterations.and_then(cap),
    };
    let mut found = plan_violations(&serde_json::to_value(plan).unwrap(), caps);
    let action = &decision.action;
    if action.abstain_to_default != decision.reason.is_some() {
        found.push("abstains without a reason, or the other way round".to_owned());
    }
    if action.confidence.is_some_and(|c| !(0.0..=1.0).contains(&c)) {
        found.push("the confidence is no probability".to_owned());
    }
    let probabilities = action.probs.iter().flat_map(|probs| probs.values());
    if probabilities.flatten().any(|p| !(0.0..=1.0).contains(p)) {
        found.push("a probability is none".to_owned());
    }
    match decision.reason {
        Some(reason) => {
            let whole = plan.swarm_id_executed == baseline.swarm_id
                && plan.max_candidates_executed == positive(baseline.candidates)
                && plan.timeout_seconds_executed == positive(baseline.timeout_seconds)
                && plan.max_iterations_executed == baseline.iterations.and_then(positive)
                && decision.timeout_seconds_override.is_none();
            if !whole {
                found.push(format!("{reason}: not the whole baseline"));
            }
        }
        None => {
            let space = serde_json::to_value(&input.action_space).unwrap();
            let named = json!({
                "swarm_id": action.swarm_id,
                "max_candidates_bin": action.budgets.max_candidates_bin,
                "max_minutes_bin": action.budgets.max_minutes_bin,
                "max_iterations_bin": action.budgets.max_iterations_bin
            });
            found.extend(action_violations(&space, &input.job_type, &named));
        }
    }
    found
}
