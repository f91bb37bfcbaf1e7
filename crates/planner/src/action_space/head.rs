//! The four heads and the names that documents have for them.

use std::fmt;

/// The raw outputs of the four heads for one input, in the order of [`Head::ALL`].
pub type HeadLogits = [Vec<f32>; 4];

/// One part of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Head {
    /// Which swarm.
    Swarm,
    /// How many candidates.
    Candidates,
    /// How many minutes.
    Minutes,
    /// How many iterations.
    Iterations,
}

impl Head {
    /// Every head, in the order of the tuple.
    pub const ALL: [Self; 4] = [
        Self::Swarm,
        Self::Candidates,
        Self::Minutes,
        Self::Iterations,
    ];

    /// The heads that are limits.
    pub const BUDGETS: [Self; 3] = [Self::Candidates, Self::Minutes, Self::Iterations];

    /// Its position in the tuple.
    pub const fn position(self) -> usize {
        self as usize
    }

    /// Its name in an ONNX model, in `config.json` and in `calibration.json`.
    pub const fn onnx_name(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Candidates => "candidates",
            Self::Minutes => "minutes",
            Self::Iterations => "iterations",
        }
    }

    /// Its field in an action.
    pub const fn field_name(self) -> &'static str {
        match self {
            Self::Swarm => "swarm_id",
            Self::Candidates => "max_candidates_bin",
            Self::Minutes => "max_minutes_bin",
            Self::Iterations => "max_iterations_bin",
        }
    }

    /// Its list in `action_space.json`.
    pub const fn list_name(self) -> &'static str {
        match self {
            Self::Swarm => "swarm_ids",
            Self::Candidates => "max_candidates_bins",
            Self::Minutes => "max_minutes_bins",
            Self::Iterations => "max_iterations_bins",
        }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.onnx_name())
    }
}
