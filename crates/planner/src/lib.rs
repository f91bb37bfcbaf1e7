//! The swarm planner's decision: everything that an orchestrator links to choose a topology and budgets.
//!
//! * [`contracts`]: the documents that go in and out; [`issues`], [`universe`]: where they come from.
//! * [`action_space`]: the finite set of actions, out of `action_space.json`.
//! * [`history`]: earlier runs out of archives, and which of them resemble an issue.
//! * [`encode`]: an input as features or tokens; [`forward`]: the planner MLP without an engine.
//! * [`bundle`]: a trained model with everything that belongs to it.
//! * [`decode`]: from logits to one valid action; [`checker`]: proves it, with code of its own.
//! * [`heuristic`]: decisions by rule; [`decide`]: decisions by model, and back to the rule when in doubt.
//! * [`replay`]: what an action would have brought, computed from recorded trials.
//!
//! ```
//! use amphora_planner::decide::{Baseline, Planner, Policy, Settings};
//! use amphora_planner::history::{Attempts, History, InputRequest, SIMILAR_RUNS, build_input};
//! use amphora_planner::issues::parse_issues;
//!
//! let read = parse_issues(br#"{"id": "7", "title": "Comments are cut off", "dk_size": "S"}"#);
//! let input = build_input(&InputRequest {
//!     issue: &read.issues[0],
//!     history: &History::new(Vec::new()),
//!     action_space: &Default::default(),
//!     universe_id: "unknown",
//!     universe_defaults: &Default::default(),
//!     system_state: None,
//!     now_ms: 1_770_109_200_000,
//!     similar: SIMILAR_RUNS,
//!     attempts: Attempts::OfIssue,
//!     decision: None,
//!     world_id: None,
//! })?;
//! let planner = Planner::new(Policy::heuristic(), Settings::default())?;
//! let decision = planner.decide(&input, &Baseline::default());
//! assert_eq!(decision.executed_plan.swarm_id_executed, "serial_handoff");
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! Nothing here learns, and without the feature `engines` nothing here needs an inference engine. The
//! classes, their meaning and their rules are data: no width and no bin is written into the code. The
//! same input gives the same bytes; the present, seeds and limits are arguments.

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
