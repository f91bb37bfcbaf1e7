//! Language models that write text.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

#[path = "../common/mod.rs"]
mod common;

mod batches;
mod cache;
mod grammars;
mod machines;
mod recorded;
mod refusals;
mod sampling;
mod scene;
mod stops;
mod texts;
