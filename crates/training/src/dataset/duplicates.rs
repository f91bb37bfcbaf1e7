//! Archives that repeat another under a new name.

use std::collections::{BTreeMap, BTreeSet};

use amphora_error::Result;
use amphora_files::{Digest, sha256};
use amphora_planner::contracts::canonical_json;
use amphora_planner::history::DecisionKey;
use amphora_planner::history::archives::ArchivedRun;
use serde_json::json;

use super::file::value_of;

/// The runs without copies, and how many were copies.
///
/// Candidates of one decision may well look alike: all cut at one cap, by one toolchain. So a run is a
/// copy only where its decision has more runs than it executed, and one with a smaller id says the same.
pub(super) fn without_copies(mut runs: Vec<ArchivedRun>) -> Result<(Vec<ArchivedRun>, u64)> {
    runs.sort_by(|a, b| a.summary.run_id.cmp(&b.summary.run_id));
    let mut decisions: BTreeMap<&DecisionKey, Vec<usize>> = BTreeMap::new();
    for (place, run) in runs.iter().enumerate() {
        if let Some(key) = &run.decision {
            decisions.entry(key).or_default().push(place);
        }
    }
    let mut copies = BTreeSet::new();
    for places in decisions.values() {
        let executed = executed(&runs[places[0]]);
        let mut surplus = places.len().saturating_sub(executed);
        let mut met = BTreeSet::new();
        for place in places {
            if surplus > 0 && !met.insert(content(&runs[*place])?) {
                copies.insert(*place);
                surplus -= 1;
            } else if surplus == 0 {
                break;
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

/// What a run says, but for its id.
fn content(run: &ArchivedRun) -> Result<Digest> {
    let mut summary = run.summary.clone();
    summary.run_id.clear();
    let value = json!({"summary": value_of(&summary)?, "toolchain": run.toolchain});
    Ok(sha256(canonical_json(&value).as_bytes()))
}
