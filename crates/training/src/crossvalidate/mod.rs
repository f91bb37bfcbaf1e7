//! Cross-validation: tasks, not decisions, are dealt into folds, so that nothing of a held-out task is
//! seen in training; and a split by time, where nothing after a moment is.
//!
//! On every fold each model is trained on the training tasks, calibrated on the validation tasks, and
//! judged on the held-out ones. The *shipped* policy of a fold is the exportable model (mlp, transformer
//! or urm) whose utility was highest on that fold's validation tasks: choosing it is part of what is
//! cross-validated.

mod folds;
mod learn;
mod run;
mod shipped;

pub use folds::{Fold, grouped_folds, parts_by_time};
pub use learn::{Recipe, training_rows};
pub use run::{CrossValidation, FoldModel, SHIPPED, Scheme, cross_validate};
pub use shipped::fit_shipped;
