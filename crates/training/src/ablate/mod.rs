//! Ablations (document 001, section 8.3): a grid of changes, one at a time, each cross-validated by task.
//!
//! A grid is a TOML file: what every run shares, and axes of named changes.
//!
//! ```toml
//! folds = 3
//! rows_per_task = 4
//! base = { model = "mlp", epochs = 40 }
//!
//! [axes.hist]
//! 0 = { similar_runs = 0 }
//! 8 = { similar_runs = 8 }
//!
//! [axes.depth]
//! 2 = { sizes = { n_layers = 2 } }
//! ```
//!
//! The fields are those of [`crate::train::TrainConfig`], and `decode` ([`crate::evaluate::Decode`]); what
//! is not said is the default of the run's model. A run may show no more earlier runs than the dataset
//! holds. Each run has a directory `<axis>_<name>` with `report.json`; a run whose report is there
//! already, made from the same configuration and data, is not repeated.

mod grid;
mod run;

pub use grid::{Grid, GridRun};
pub use run::{Ablation, AblationRow, ablate};
