//! Why the baseline is executed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why the baseline is executed and not what a model predicts; the list is closed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code in the documents.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// The planner is off.
    PlannerOff = "planner_off",
    /// The planner may predict, not decide.
    LogOnly = "log_only",
    /// There is no model, or it is left alone for a while because it kept failing.
    ModelUnavailable = "model_unavailable",
    /// The model was made for other features, another action space or other toolchains.
    SchemaMismatch = "schema_mismatch",
    /// The model failed on this input.
    InferenceFailed = "inference_failed",
    /// The model did not answer in time.
    InferenceTimeout = "inference_timeout",
    /// The model is not sure enough.
    LowConfidence = "low_confidence",
    /// The prediction makes no sense: logits or a confidence that are no numbers, heads of another
    /// width.
    MalformedPrediction = "malformed_prediction",
    /// The prediction names a swarm or bin that the action space does not have.
    PredictionOutOfSpace = "prediction_out_of_space",
    /// The prediction breaks a rule of the action space.
    PredictionInvalid = "prediction_invalid",
    /// The prediction wants a swarm that the orchestrator cannot change to.
    SwarmMismatch = "swarm_mismatch",
    /// The prediction wants more candidates than may run.
    MaxCandidatesExceedsCap = "max_candidates_exceeds_cap",
    /// The prediction wants more time than a run may take.
    TimeoutExceedsCap = "timeout_exceeds_cap",
    /// The prediction needs more toolchains than are available.
    ToolchainUnavailable = "toolchain_unavailable",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// How often each reason was given.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; Reason::ALL.len()], AtomicU64);

impl Counts {
    pub(super) fn add(&self, reason: Option<Reason>) {
        let counter = match reason {
            Some(reason) => &self.0[reason as usize],
            None => &self.1,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn of(&self, reason: Option<Reason>) -> u64 {
        let counter = match reason {
            Some(reason) => &self.0[reason as usize],
            None => &self.1,
        };
        counter.load(Ordering::Relaxed)
    }
}
