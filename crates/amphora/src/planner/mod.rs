//! The swarm planner: from recorded runs to a decision.

mod decide;
#[cfg(feature = "training")]
mod train;

pub use amphora_planner::contracts::{PlannerAction, PlannerInput};
#[cfg(feature = "training")]
pub use amphora_training::train::{ModelKind, Progress, Stage, TrainConfig, TrainingReport};
pub use decide::{DecideRequest, decide};
#[cfg(feature = "training")]
pub use train::{TrainRequest, train};
