//! Archives that repeat another under a new name.

use std::collections::{BTreeMap, BTreeSet};

use amphora_error::Result;
use amphora_files::{Digest, sha256};
use amphora_planner::contracts::{RunStatus, canonical_json};
use amphora_planner::history::DecisionKey;
use amphora_planner::history::archives::ArchivedRun;
use serde_json::json;

use super::file::value_of;

/// The runs without copies, and how many were copies.
///
/// A run is a copy of one with a smaller id that says the same. Candidates of one decision may well look
/// alike where the clock does not tell them apart, all cut at one cap or without a measured time: those
/// are copies only where their decision has more runs than it executed.
pub(super) fn without_copies(mut runs: Vec<ArchivedRun>) -> Result<(Vec<ArchivedRun>, u64)> {
    runs.sort_by(|a, b| a.summary.run_id.cmp(&b.summary.run_id));
    let mut decisions: BTreeMap<Option<&DecisionKey>, Vec<usize>> = BTreeMap::new();
    for (place, run) in runs.iter().enumerate() {
        let decision = run.decision.as_ref();
        decisions.entry(decision).or_default().push(place);
    }
    let mut copies = BTreeSet::new();
    for (decision, places) in decisions {
        let executed = match decision {
            Some(_) => executed(&runs[places[0]]),
            None => usize::MAX,
        };
        let mut surplus = places.len().saturating_sub(executed);
        let mut met = BTreeSet::new();
        for place in places {
            let is_known = !met.insert(content(&runs[place])?);
            if is_known && (surplus > 0 || is_timed(&runs[place])) {
                copies.insert(place);
                surplus = surplus.saturating_sub(1);
            }
        }
    }
    let count = copies.len() as u64;
    let mut place = 0;
    runs.retain(|_| {
        place += 1;
        !copies.contains(&(place - 1))
    });
    Ok((runs, count))
}

/// How many runs the decision of `run` started; without a number, as many as there are.
pub(super) fn executed(run: &ArchivedRun) -> usize {
    let action = &run.summary.action_executed;
    let serial = action.swarm_id.as_deref() == Some(amphora_planner::action_space::SERIAL);
    match action.max_candidates {
        _ if serial => 1,
        Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
        None => usize::MAX,
    }
}

/// Whether a run ended by itself, and its time was measured: no other takes exactly as long.
fn is_timed(run: &ArchivedRun) -> bool {
    let summary = &run.summary;
    summary.outcome.status != RunStatus::Timeout && summary.runtime.duration_ms > 0
}

/// What a run says, but for its id.
fn content(run: &ArchivedRun) -> Result<Digest> {
    let mut summary = run.summary.clone();
    summary.run_id.clear();
    let value = json!({"summary": value_of(&summary)?, "toolchain": run.toolchain});
    Ok(sha256(canonical_json(&value).as_bytes()))
}
