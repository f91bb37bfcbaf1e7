//! Datasets: what a planner learns from, one row for each decision.
//!
//! * [`build`]: archived runs become rows. A decision counts once, however many candidates it ran. Its
//!   input is what was known when it was made, its label what was executed.
//! * [`Dataset`]: the rows and what is known about them, on disk `dataset.jsonl` and `meta.json`.
//!
//! The same archives give the same bytes, whatever the order of their folders, on every machine.
//!
//! # What cannot get in
//!
//! * The future: an input's history holds runs that had **ended** before the decision.
//! * Siblings: runs of one decision never see each other, and make one row.
//! * Copies: an archive that repeats another, under its own name or a new one, does not count.
//! * Labels that nothing could have executed: contradictory, outside the action space, against a rule.
//!
//! All of it is counted in [`DatasetMeta::dropped`] and [`DatasetMeta::findings`].
//!
//! # Splits
//!
//! Rows stand in the order (start, run). The first 80 % are for training, the next 10 % for validation,
//! the rest for the test. Rows of one issue whose inputs are equal but for the time stay together: all
//! of them go where the last of them is, so that nothing after a boundary is trained on.

mod build;
mod checks;
mod duplicates;
mod file;
mod label;
mod space;
mod split;

use amphora_planner::contracts::{DatasetMeta, DatasetRow, Split};

pub use build::{BuildRequest, build};
pub use checks::NOTABLE_SHIFT;
pub(crate) use checks::class;
pub(crate) use file::{sorted_line, value_of};

/// The name of the file of rows.
pub const ROWS_FILE: &str = "dataset.jsonl";
/// The name of the file about them.
pub const META_FILE: &str = "meta.json";

/// The rows of a dataset, in order, and what is known about them.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// One for each decision.
    pub rows: Vec<DatasetRow>,
    /// About them.
    pub meta: DatasetMeta,
}

impl Dataset {
    /// The rows of one split.
    pub fn split(&self, split: Split) -> impl Iterator<Item = &DatasetRow> {
        self.rows.iter().filter(move |row| row.split == split)
    }
}
