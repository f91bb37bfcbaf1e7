//! What is measured: calibration, agreement with labels, collapse, outcomes, regret, drift, and the
//! intervals around them. Plain arithmetic over plain values; nothing here knows a model.

mod bootstrap;
mod diagnostics;
mod drift;
mod outcome;
mod reliability;

pub(crate) use bootstrap::null_is_nan;
pub use bootstrap::{Bootstrap, Interval};
pub use diagnostics::{Agreement, Collapse, LabelMatch};
pub use drift::{DriftEntry, Histogram, kl_divergence, population_stability_index};
pub use outcome::{Example, OutcomeMetrics, Pick};
pub use reliability::{Bin, Coverage, Decision, Reliability, choose_threshold, coverage_curve};

/// Softmax of `logits / temperature` over the classes that `mask` allows, in f64; classes that are
/// not allowed get 0. Without an allowed class every probability is 0.
pub fn masked_softmax(logits: &[f32], mask: &[bool], temperature: f64) -> Vec<f64> {
    let scaled: Vec<Option<f64>> = logits
        .iter()
        .enumerate()
        .map(|(class, logit)| {
            mask.get(class)
                .copied()
                .unwrap_or(false)
                .then(|| f64::from(*logit) / temperature.max(1e-6))
        })
        .collect();
    let highest = scaled
        .iter()
        .flatten()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scaled
        .iter()
        .map(|value| value.map_or(0.0, |value| (value - highest).exp()))
        .collect();
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 {
        weights.iter().map(|weight| weight / sum).collect()
    } else {
        weights
    }
}
