//! Training through the public door: it learns, it repeats itself, it goes on after a kill.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod checkpoints;
mod curves;
mod learning;
mod refusals;
mod scene;
