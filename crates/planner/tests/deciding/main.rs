//! Documents, action space, decoding, rules and decisions.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod action_space;
mod bounds;
mod breaker;
mod checker;
mod contracts;
mod decide;
mod decode;
mod heuristic;
mod issues;
mod order;
mod reliability;
mod schemas;
mod support;
mod swarms;
mod universe;
