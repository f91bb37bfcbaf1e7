//! Agreement with labels and collapse of the action distribution (document 001, section 8.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Label mass that one decision hit: for each head, and for the whole tuple. With a hard label each
/// is 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelMatch {
    /// Swarm, candidates, minutes, iterations.
    pub heads: [f64; 4],
    /// The full action tuple.
    pub exact: f64,
}

/// Mean agreement with labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Rows that had a label.
    pub labelled: usize,
    /// Accuracy of swarm, candidates, minutes, iterations.
    pub heads: [f64; 4],
    /// Exact match of the full tuple.
    pub exact: f64,
}

impl Agreement {
    /// The mean over `matches`; zeros without any.
    pub fn of(matches: &[LabelMatch]) -> Self {
        let n = matches.len().max(1) as f64;
        let mut heads = [0.0; 4];
        for (head, slot) in heads.iter_mut().enumerate() {
            *slot = matches.iter().map(|m| m.heads[head]).sum::<f64>() / n;
        }
        Self {
            labelled: matches.len(),
            heads,
            exact: matches.iter().map(|m| m.exact).sum::<f64>() / n,
        }
    }
}

/// Whether a policy says the same thing to everybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Collapse {
    /// Entropy of the distribution over full tuples, in nats.
    pub entropy: f64,
    /// Entropy of the distribution over swarms alone, in nats.
    pub swarm_entropy: f64,
    /// Share of the most frequent tuple.
    pub top1_frequency: f64,
    /// Distinct tuples.
    pub unique_actions: usize,
    /// Decisions for each tuple, by its text.
    pub counts: BTreeMap<String, usize>,
}

impl Collapse {
    /// Measures decisions given as (swarm, text of the whole tuple).
    pub fn of<'a>(decisions: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut tuples: BTreeMap<String, usize> = BTreeMap::new();
        let mut swarms: BTreeMap<String, usize> = BTreeMap::new();
        for (swarm, tuple) in decisions {
            *tuples.entry(tuple.to_owned()).or_default() += 1;
            *swarms.entry(swarm.to_owned()).or_default() += 1;
        }
        let total: usize = tuples.values().sum();
        let top = tuples.values().copied().max().unwrap_or(0);
        Self {
            entropy: entropy(tuples.values().copied()),
            swarm_entropy: entropy(swarms.values().copied()),
            top1_frequency: if total == 0 {
                0.0
            } else {
                top as f64 / total as f64
            },
            unique_actions: tuples.len(),
            counts: tuples,
        }
    }
}

fn entropy(counts: impl Iterator<Item = usize> + Clone) -> f64 {
    let total = counts.clone().sum::<usize>() as f64;
    counts
        .filter(|count| *count > 0)
        .map(|count| {
            let share = count as f64 / total;
            -share * share.ln()
        })
        .sum()
}
