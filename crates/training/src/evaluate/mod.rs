//! Offline evaluation: what a policy's decisions would have come to on recorded trials, how well it
//! knows when it is right, and whether that beats what an orchestrator does without it.
//!
//! * [`Outcomes`]: every valid action on every task, over many replays.
//! * [`Model`]: a checkpoint or a bundle that answers inputs.
//! * [`evaluate`]: a model on the held-out rows of a dataset; [`crate::crossvalidate`] trains and holds
//!   out by itself.
//! * [`Evaluation`]: every number, as JSON; [`crate::report`] draws it.
//!
//! # What is compared
//!
//! Utility is `pass - minute_cost * agent minutes`. Every task counts the same, however many decisions
//! it has; intervals are drawn over tasks. Policies: every fixed action, the heuristic, a uniform draw
//! (its exact expectation), models, the value model (the action of the highest expected utility),
//! `best-per-task` (the best mean over the replays of that task) and the oracle (the best action of each
//! single replay).

mod abstain;
mod decode;
mod gate;
mod judge;
mod measure;
mod model;
mod outcomes;
mod run;
mod snapshot;

use serde::{Deserialize, Serialize};

use crate::metrics::Bootstrap;
use crate::preference::Preference;

pub use decode::Decode;
pub use gate::{Gate, GateReport};
pub use judge::{Calibrated, HeadReport, Judged, ModelReport, Truth, summarize};
pub(crate) use judge::{calibrate, judge};
pub use measure::{Choice, Choices, FIXED, HEURISTIC, Intervals, PolicyReport, TaskValues};
pub(crate) use measure::{Measured, compare, measure};
pub use model::{Answer, Model, SpeaksOf};
pub use outcomes::{Outcome, Outcomes, Task};
pub use run::{EvaluateRequest, Evaluation, cross_validated, evaluate};
pub(crate) use run::{baselines, executed};
pub use snapshot::{Drift, Snapshot, drift};

/// How outcomes are replayed and judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The toolchains of the replay, in the order of their priority.
    pub toolchains: Vec<String>,
    /// What an agent minute costs, in passes.
    pub minute_cost: f64,
    /// Replays of every task.
    pub replays: u32,
    /// The seed of the first replay, of folds and of bootstrap draws.
    pub seed: u64,
    /// Softness of the preferences that policies learn: the difference in utility at which one class is
    /// preferred `e` times over another. 0.1 is the price of five agent minutes.
    pub label_temperature: f64,
    /// Agent minutes whose price is no difference in utility: actions that close are equally good.
    pub indifferent_minutes: f64,
    /// How the heads of policies come to one action.
    #[serde(default)]
    pub decode: Decode,
    /// The abstention threshold may leave no more than the rest to the baseline.
    pub minimum_coverage: f64,
    /// Intervals.
    pub bootstrap: Bootstrap,
}

impl Settings {
    /// The defaults for a replay of `toolchains`.
    pub fn new(toolchains: Vec<String>) -> Self {
        Self {
            toolchains,
            minute_cost: amphora_planner::replay::MINUTE_COST,
            replays: 32,
            seed: 0,
            label_temperature: Preference::TEMPERATURE,
            indifferent_minutes: Preference::INDIFFERENT_MINUTES,
            decode: Decode::Joint,
            minimum_coverage: 0.5,
            bootstrap: Bootstrap::default(),
        }
    }

    /// When actions are equally good, and how much better ones are preferred.
    pub fn preference(&self) -> Preference {
        Preference {
            temperature: self.label_temperature,
            indifference: Preference::indifference(self.indifferent_minutes, self.minute_cost),
        }
    }
}
