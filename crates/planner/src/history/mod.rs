//! Earlier runs: out of archives and world runs, and which of them resemble an issue.
//!
//! Nothing that a decision is made from may come from its future. A run counts only once it has
//! **ended**, and the decision that started it too; the siblings of a decision never count for it; times come from what was recorded,
//! never from a file's modification time.

pub mod archives;
mod collected;
mod decisions;
mod index;
mod input;
mod issue_runs;
mod keywords;
mod lists;
mod score;
mod similar;
pub mod world_runs;

pub use collected::{Collected, DropReason, DroppedRun};
pub use input::{Attempts, InputRequest, SIMILAR_RUNS, build_input};
pub use keywords::{MAX_KEYWORDS, keywords};
pub use similar::{DecisionKey, History, PastRun, Query};
