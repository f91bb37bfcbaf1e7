//! The swarm planner's decision: everything that an orchestrator links to choose a topology and budgets.

#![forbid(unsafe_code)]

pub mod action_space;
pub mod bundle;
pub mod checker;
pub mod contracts;
pub mod decide;
pub mod decode;
pub mod encode;
pub mod forward;
pub mod heuristic;
pub mod history;
pub mod issues;
pub mod replay;
pub mod universe;
