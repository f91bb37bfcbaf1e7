//! The swarm planner: from recorded runs to a decision.

mod decide;

pub use amphora_planner::contracts::{PlannerAction, PlannerInput};
pub use decide::{DecideRequest, decide};
