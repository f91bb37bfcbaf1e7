//! The swarm planner learns: from recorded runs to a calibrated, verified bundle.

#![forbid(unsafe_code)]

pub mod bench;
pub mod dataset;
pub mod import;
mod publish;
pub mod simulator;
pub mod stats;
