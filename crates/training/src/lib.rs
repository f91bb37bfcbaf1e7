//! The swarm planner learns: from recorded runs to a calibrated, verified bundle.

#![forbid(unsafe_code)]

pub mod ablate;
pub mod bench;
pub mod calibration;
pub mod checkpoint;
pub mod crossvalidate;
pub mod dataset;
pub mod evaluate;
pub mod export;
pub mod import;
pub mod loss;
pub mod metrics;
pub mod model;
mod optimizer;
pub mod preference;
pub mod report;
pub mod simulator;
pub mod stats;
pub mod train;
