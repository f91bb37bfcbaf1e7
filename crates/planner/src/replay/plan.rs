//! What an action means for runs.

use crate::action_space::{NamedAction, SERIAL, SPECULATE};
use crate::contracts::Bin;

/// How many candidates a speculation runs when its action does not say: the orchestrator's default.
pub const DEFAULT_PARALLELISM: usize = 2;

/// How many runs an action starts, and how long each may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The number of runs, at least one.
    pub runs: usize,
    /// The cap of each run in milliseconds; none is no cap.
    pub cap_ms: Option<u64>,
}

impl Plan {
    /// The plan of a code job's action: `serial_handoff` or `speculate_vote`, without iterations. Other
    /// swarms and iterated jobs cannot be replayed from single runs: none.
    pub fn of(action: &NamedAction) -> Option<Self> {
        if action.max_iterations_bin != Bin::NotApplicable {
            return None;
        }
        let runs = match (action.swarm_id.as_str(), action.max_candidates_bin) {
            (SERIAL, Bin::NotApplicable | Bin::Count(1)) => 1,
            (SPECULATE, Bin::NotApplicable) => DEFAULT_PARALLELISM,
            (SPECULATE, Bin::Count(count)) if count > 0 => usize::try_from(count).ok()?,
            _ => return None,
        };
        let cap_ms = match action.max_minutes_bin {
            Bin::NotApplicable => None,
            Bin::Count(minutes) => Some(u64::from(minutes) * 60_000),
        };
        Some(Self { runs, cap_ms })
    }
}
