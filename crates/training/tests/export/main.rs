//! From checkpoints to planner bundles: what document 000 asks for, with the names of its sections.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod document_000;
mod identity;
mod refusals;
mod scene;
