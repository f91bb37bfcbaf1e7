//! Evaluation against brute force on simulated trials, and every model through one small fold.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod ablation;
mod decoding;
mod judging;
mod policies;
mod reports;
mod scene;
mod shipping;
mod stage_b;
