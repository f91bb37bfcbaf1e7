//! Drift between two reports: how far a distribution has moved.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Counts by category.
pub type Histogram = BTreeMap<String, u64>;

/// How far one distribution moved between two reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftEntry {
    /// What was counted, for example `inputs.dk_risk`.
    pub name: String,
    /// Population stability index; above 0.1 is usually read as a shift, above 0.25 as a large one.
    pub psi: f64,
    /// Kullback-Leibler divergence of the new distribution from the old, in nats.
    pub kl: f64,
}

impl DriftEntry {
    /// Compares `new` with `old`.
    pub fn between(name: impl Into<String>, old: &Histogram, new: &Histogram) -> Self {
        Self {
            name: name.into(),
            psi: population_stability_index(old, new),
            kl: kl_divergence(old, new),
        }
    }
}

/// `sum_k (q_k - p_k) ln(q_k / p_k)` with `p` from `old` and `q` from `new`, both over the union
/// of the categories with half a count added to each. 0 when either is empty.
pub fn population_stability_index(old: &Histogram, new: &Histogram) -> f64 {
    shares(old, new)
        .iter()
        .map(|(p, q)| (q - p) * (q / p).ln())
        .sum()
}

/// `sum_k q_k ln(q_k / p_k)` with the same smoothing.
pub fn kl_divergence(old: &Histogram, new: &Histogram) -> f64 {
    shares(old, new).iter().map(|(p, q)| q * (q / p).ln()).sum()
}

/// Shares over the union of both sets of categories, with half a count added to each category
/// (Jeffreys), so that a category seen on one side only stays finite.
fn shares(old: &Histogram, new: &Histogram) -> Vec<(f64, f64)> {
    let categories: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let total = |histogram: &Histogram| histogram.values().sum::<u64>() as f64;
    let (all_old, all_new) = (total(old), total(new));
    if all_old == 0.0 || all_new == 0.0 {
        return Vec::new();
    }
    let extra = 0.5 * categories.len() as f64;
    let share = |histogram: &Histogram, category: &String, all: f64| {
        (histogram.get(category).copied().unwrap_or(0) as f64 + 0.5) / (all + extra)
    };
    categories
        .into_iter()
        .map(|category| (share(old, category, all_old), share(new, category, all_new)))
        .collect()
}
