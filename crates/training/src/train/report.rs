//! What a training run tells about itself.

use serde::{Deserialize, Serialize};

use super::config::TrainConfig;

/// One epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Its number, from 1.
    pub epoch: usize,
    /// The mean loss over the training rows, with smoothing, weights and dropout.
    pub loss: f64,
    /// The mean loss over the validation rows, without them; absent when there are none.
    pub validation_loss: Option<f64>,
    /// The share of validation rows where every head's best valid class is the label; absent for a
    /// value model or without validation rows.
    pub validation_exact_match: Option<f64>,
    /// The learning rate.
    pub learning_rate: f64,
    /// The mean over the steps of the gradient's norm, before clipping.
    pub gradient_norm: f64,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Every epoch was run.
    Epochs,
    /// The validation loss did not fall any more.
    EarlyStopping,
}

/// The course of one model's training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The epochs, in order.
    pub epochs: Vec<EpochRecord>,
    /// The epoch whose weights were kept: the lowest validation loss, or the last without validation
    /// rows.
    pub best_epoch: usize,
    /// Why training ended.
    pub ending: Ending,
}

/// One trained member of a model; most models have a single one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// SHA-256 of its `model.safetensors`.
    pub digest: String,
    /// The number of its parameters.
    pub parameters: usize,
    /// How its training went.
    pub curve: Curve,
}

/// `training_report.json`. It holds no time and no path: equal runs give equal reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// Which document this is.
    pub schema_version: String,
    /// What was asked for.
    pub config: TrainConfig,
    /// Training examples; for a value model one for each outcome.
    pub examples: usize,
    /// Validation examples.
    pub validation_examples: usize,
    /// What the validation loss would be if every valid class were held for equally probable; absent for a
    /// value model or without validation rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uniform_loss: Option<f64>,
    /// The members.
    pub members: Vec<Member>,
    /// Digest of the configuration and the examples.
    pub fingerprint: String,
}

impl TrainingReport {
    /// The value of `schema_version`.
    pub const SCHEMA_VERSION: &'static str = "amphora.training_report.v1";
}
