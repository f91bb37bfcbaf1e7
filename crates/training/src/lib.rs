//! The swarm planner learns: from recorded runs to a calibrated, verified bundle.

#![forbid(unsafe_code)]

pub mod bench;
pub mod checkpoint;
pub mod dataset;
pub mod import;
pub mod loss;
pub mod model;
mod optimizer;
mod publish;
pub mod simulator;
pub mod stats;
pub mod train;
