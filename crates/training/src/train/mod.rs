//! Training: decisions in, the best weights and their curve out.
//!
//! * [`TrainConfig`]: everything that decides what becomes of the rows.
//! * [`TrainingRow`]: a decision to learn from.
//! * [`train`]: into a directory, resumable; [`train_in_memory`]: without a disk; [`fine_tune`]: from
//!   another model's weights.
//! * [`TrainedModel`]: what comes out, and what [`TrainedModel::open`] reads.
//! * [`TrainingReport`]: the curves.

mod actions;
mod config;
mod disk;
mod examples;
mod fit;
mod prior;
mod report;
mod rows;
mod trained;

pub use crate::optimizer::AdamWConfig;
pub use config::{Decoding, ModelKind, Sizes, Stage, TrainConfig};
pub(crate) use disk::replace_weights;
pub use disk::{Progress, REPORT, VOCABULARY, fine_tune, train};
pub use examples::{Examples, Targets};
pub(crate) use fit::{Best, State};
pub use report::{Curve, Ending, EpochRecord, Member, TrainingReport};
pub use rows::{ActionOutcome, Label, TrainingRow};
pub use trained::{TrainedModel, Value, train_in_memory};
