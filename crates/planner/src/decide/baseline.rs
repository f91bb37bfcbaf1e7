//! What is executed without a planner, and how far a planner may go.

use crate::action_space::{ActionSpace, Head, NamedAction, SERIAL};
use crate::contracts::Bin;

/// What the orchestrator does without a planner, and how far a planner may depart from it.
///
/// A planner only reduces: fewer candidates, less time. It may change from several candidates to one
/// unless they are required, and from one to several where [`Speculation`] has room for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// The swarm.
    pub swarm_id: String,
    /// How many candidates run.
    pub candidates: u32,
    /// The time limit of each, in seconds.
    pub timeout_seconds: u32,
    /// How many iterations each may take, if that is limited.
    pub iterations: Option<u32>,
    /// Whether several candidates may run.
    pub speculation: Speculation,
}

/// Whether several candidates may run, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speculation {
    /// Whether the orchestrator can do it.
    pub enabled: bool,
    /// Whether the issue or the configuration demands it.
    pub required: bool,
    /// How many candidates the controller allows.
    pub max_candidates: u32,
    /// How many workcells are free.
    pub free_slots: u32,
    /// How many toolchains are available, if known.
    pub toolchains: Option<u32>,
}

impl Default for Baseline {
    /// One run of half an hour; speculation as an orchestrator is configured by default.
    fn default() -> Self {
        Self {
            swarm_id: SERIAL.to_owned(),
            candidates: 1,
            timeout_seconds: 1800,
            iterations: None,
            speculation: Speculation {
                enabled: true,
                required: false,
                max_candidates: 3,
                free_slots: 3,
                toolchains: None,
            },
        }
    }
}

impl Baseline {
    /// The action of `space` that stands for the baseline: each number in its nearest bin.
    pub fn binned(&self, space: &ActionSpace) -> NamedAction {
        let bin = |head: Head, value: Option<u32>| {
            let bins = space.bins(head);
            bins.get(space.nearest(head, value))
                .copied()
                .unwrap_or(Bin::NotApplicable)
        };
        NamedAction {
            swarm_id: self.swarm_id.clone(),
            max_candidates_bin: bin(Head::Candidates, Some(self.candidates)),
            max_minutes_bin: bin(Head::Minutes, Some(self.timeout_seconds / 60)),
            max_iterations_bin: bin(Head::Iterations, self.iterations),
        }
    }

    /// Whether `swarm_id` is another swarm that the orchestrator cannot change to.
    pub(super) fn forbids_swarm(&self, swarm_id: &str) -> bool {
        let Speculation {
            enabled,
            required,
            free_slots,
            toolchains,
            ..
        } = self.speculation;
        if swarm_id == self.swarm_id {
            false
        } else if swarm_id == SERIAL {
            required
        } else if self.swarm_id == SERIAL {
            !enabled || free_slots < 2 || toolchains.is_some_and(|count| count < 2)
        } else {
            true
        }
    }

    /// How many candidates `swarm_id` may run.
    pub(super) fn candidate_cap(&self, swarm_id: &str) -> u32 {
        if swarm_id == self.swarm_id {
            self.candidates
        } else if swarm_id == SERIAL {
            1
        } else {
            let Speculation {
                max_candidates,
                free_slots,
                ..
            } = self.speculation;
            max_candidates.min(free_slots)
        }
    }
}
