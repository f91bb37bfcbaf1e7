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

/// The `top_k` most probable classes of a row of logits, or of probabilities, best first; of equal ones
/// the lowest number first.
pub fn most_probable(row: &[f64], labels: &BTreeMap<u64, String>, top_k: usize) -> Vec<Label> {
    let mut classes: Vec<Label> = probabilities(row)
        .into_iter()
        .zip(labels.iter())
        .enumerate()
        .map(|(class, (probability, (_, label)))| Label {
            class,
            label: label.clone(),
            probability,
        })
        .collect();
    classes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    classes.truncate(top_k);
    classes
}

/// The softmax of a row of logits; a row that is a distribution already stays as it is.
fn probabilities(row: &[f64]) -> Vec<f64> {
    let sum: f64 = row.iter().sum();
    let mut row = row.to_vec();
    if !(row.iter().all(|value| (0.0..=1.0).contains(value)) && (sum - 1.0).abs() < 1e-4) {
        softmax(&mut row, 1.0);
    }
    row
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
