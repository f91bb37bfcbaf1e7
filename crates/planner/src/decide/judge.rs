//! Whether a prediction may be executed.

use super::{Baseline, Reason};
use crate::action_space::{Action, ActionSpace, NamedAction, SERIAL};
use crate::contracts::{Bin, Mode};

/// A prediction, named.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Proposal {
    pub(super) action: NamedAction,
    /// A rule claims none.
    pub(super) confidence: Option<f64>,
}

/// Why the baseline is executed, and the same in words.
pub(super) type Refusal = (Reason, Option<String>);

/// The first reason, in the documents' order, not to execute a proposal. `valid` are the valid
/// actions.
pub(super) fn refusal(
    proposal: &Proposal,
    mode: Mode,
    threshold: f64,
    space: &ActionSpace,
    valid: &[Action],
    baseline: &Baseline,
) -> Result<(), Refusal> {
    let Proposal { action, confidence } = proposal;
    if mode != Mode::Enforce {
        return Err((Reason::LogOnly, None));
    }
    if let Some(confidence) = confidence {
        if *confidence < threshold {
            let detail = format!("{confidence:.6} is less than {threshold}");
            return Err((Reason::LowConfidence, Some(detail)));
        }
        if !(0.0..=1.0).contains(confidence) {
            let detail = format!("the confidence is {confidence}");
            return Err((Reason::MalformedPrediction, Some(detail)));
        }
    }
    let Some(classes) = space.index(action) else {
        return Err((Reason::PredictionOutOfSpace, Some(action.to_string())));
    };
    if !valid.contains(&classes) {
        return Err((Reason::PredictionInvalid, Some(action.to_string())));
    }
    within(action, baseline)
}

/// Whether an action departs from the baseline no further than it may.
fn within(action: &NamedAction, baseline: &Baseline) -> Result<(), Refusal> {
    let refuse = |reason, detail: String| Err((reason, Some(detail)));
    let swarm_id = &action.swarm_id;
    if baseline.forbids_swarm(swarm_id) {
        let detail = format!("{swarm_id}, where {} would run", baseline.swarm_id);
        return refuse(Reason::SwarmMismatch, detail);
    }
    let cap = baseline.candidate_cap(swarm_id);
    let candidates = action.max_candidates_bin.count().unwrap_or(cap);
    if candidates > cap {
        let detail = format!("{candidates} candidates, at most {cap}");
        return refuse(Reason::MaxCandidatesExceedsCap, detail);
    }
    if let Bin::Count(minutes) = action.max_minutes_bin {
        let seconds = u64::from(minutes) * 60;
        if seconds > u64::from(baseline.timeout_seconds) {
            let detail = format!("{seconds} s, at most {} s", baseline.timeout_seconds);
            return refuse(Reason::TimeoutExceedsCap, detail);
        }
    }
    if let (Bin::Count(iterations), Some(cap)) = (action.max_iterations_bin, baseline.iterations)
        && iterations > cap
    {
        let detail = format!("{iterations} iterations, at most {cap}");
        return refuse(Reason::PredictionInvalid, detail);
    }
    let needed = if swarm_id == SERIAL { 1 } else { candidates };
    if let Some(available) = baseline.speculation.toolchains
        && needed > available
    {
        let detail = format!("{needed} toolchains, {available} available");
        return refuse(Reason::ToolchainUnavailable, detail);
    }
    Ok(())
}
