//! Planner bundles, sealed and flat: what they answer, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod deciding;
mod opening;
mod refusals;
mod scene;
#[cfg(feature = "engines")]
mod tokens;
