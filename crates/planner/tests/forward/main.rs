//! The sparse forward pass against engines, a double-precision reference and graphs that only look
//! like a planner MLP.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;
mod graphs;
mod recognition;
mod writer;
