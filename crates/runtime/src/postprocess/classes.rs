//! Probabilities, and the names of the most probable classes.

use std::collections::BTreeMap;

use serde::Serialize;

/// One class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Label {
    /// The number of the class.
    pub class: usize,
    /// Its name.
    pub label: String,
    /// Its probability, 0 to 1.
    pub probability: f64,
}

/// The `top_k` most probable classes of a row of probabilities, best first; of equal ones the lowest
/// number first.
pub(super) fn most_probable(
    row: &[f64],
    labels: &BTreeMap<u64, String>,
    top_k: usize,
) -> Vec<Label> {
    let mut classes: Vec<Label> = row
        .iter()
        .zip(labels.values())
        .enumerate()
        .map(|(class, (&probability, label))| Label {
            class,
            label: label.clone(),
            probability,
        })
        .collect();
    classes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    classes.truncate(top_k);
    classes
}

/// What the arithmetic of a graph may add to a probability.
pub(super) const ROUNDING: f64 = 1e-4;

/// Whether every value of a row can be a probability.
pub(super) fn are_probabilities(row: &[f64]) -> bool {
    let range = -ROUNDING..=1.0 + ROUNDING;
    row.iter().all(|value| range.contains(value))
}

/// Turns logits, divided by `temperature`, into probabilities.
pub(super) fn softmax(row: &mut [f64], temperature: f64) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut()
        .for_each(|value| *value = ((*value - largest) / temperature).exp());
    let total: f64 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= total);
}

/// The index of the largest value; of equal ones the lowest. NaN is never the largest.
pub(super) fn largest(row: &[f64]) -> i64 {
    let mut best = 0;
    let mut most = f64::NEG_INFINITY;
    for (index, &value) in (0..).zip(row) {
        if value > most {
            (best, most) = (index, value);
        }
    }
    best
}
