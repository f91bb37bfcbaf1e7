//! Calibration of decisions: reliability bins, ECE, MCE, Brier score, the coverage curve and the
//! abstention threshold chosen on it.

use serde::{Deserialize, Serialize};

/// Bins of the reliability diagram.
const BINS: usize = 10;

/// A decision with a stated confidence, and how right it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Probability that the policy gave, in [0, 1].
    pub confidence: f64,
    /// 1 when right, 0 when wrong; for a value model, which speaks of passing, the share passed.
    pub correct: f64,
}

/// One bin of the reliability diagram; the last bin includes confidence 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower edge of the bin.
    pub from: f64,
    /// Upper edge of the bin.
    pub to: f64,
    /// Decisions in it.
    pub count: usize,
    /// Their mean confidence; 0 when empty.
    pub confidence: f64,
    /// Their mean correctness; 0 when empty.
    pub accuracy: f64,
}

/// How far confidence is from being right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Decisions counted.
    pub count: usize,
    /// Mean confidence.
    pub confidence: f64,
    /// Mean correctness.
    pub accuracy: f64,
    /// Expected calibration error: `sum_b (n_b / n) |accuracy_b - confidence_b|` over ten bins.
    pub ece: f64,
    /// Maximum calibration error: the largest gap of a bin that is not empty.
    pub mce: f64,
    /// Brier score `mean (confidence - correct)^2`.
    pub brier: f64,
    /// The diagram.
    pub bins: Vec<Bin>,
}

impl Reliability {
    /// Measures `decisions`; all zeros without any.
    pub fn of(decisions: &[Decision]) -> Self {
        let mut sums = [(0_usize, 0.0_f64, 0.0_f64); BINS];
        for decision in decisions {
            let bin = ((decision.confidence * BINS as f64) as usize).min(BINS - 1);
            sums[bin].0 += 1;
            sums[bin].1 += decision.confidence;
            sums[bin].2 += decision.correct;
        }
        let count = decisions.len();
        let share = |sum: f64, of: usize| if of == 0 { 0.0 } else { sum / of as f64 };
        let bins: Vec<Bin> = sums
            .iter()
            .enumerate()
            .map(|(index, &(n, confidence, correct))| Bin {
                from: index as f64 / BINS as f64,
                to: (index + 1) as f64 / BINS as f64,
                count: n,
                confidence: share(confidence, n),
                accuracy: share(correct, n),
            })
            .collect();
        let gap = |bin: &Bin| (bin.accuracy - bin.confidence).abs();
        Self {
            count,
            confidence: share(decisions.iter().map(|d| d.confidence).sum(), count),
            accuracy: share(decisions.iter().map(|d| d.correct).sum(), count),
            ece: share(bins.iter().map(|b| b.count as f64 * gap(b)).sum(), count),
            mce: bins
                .iter()
                .filter(|bin| bin.count > 0)
                .map(gap)
                .fold(0.0, f64::max),
            brier: share(
                decisions
                    .iter()
                    .map(|d| (d.confidence - d.correct).powi(2))
                    .sum(),
                count,
            ),
            bins,
        }
    }
}

/// What happens at one abstention threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Decisions below this confidence are left to the baseline.
    pub threshold: f64,
    /// Share of decisions that the policy takes itself.
    pub coverage: f64,
    /// Mean correctness of those; 0 when there are none.
    pub accuracy: f64,
    /// Mean utility of all decisions when the rest go to the baseline.
    pub utility: f64,
}

/// The coverage curve: every distinct confidence as threshold, from "take everything" (0) upwards,
/// and one step above the highest, where everything goes to the baseline.
///
/// Each row is a decision, its utility, and the utility of the baseline at the same place.
pub fn coverage_curve(rows: &[(Decision, f64, f64)]) -> Vec<Coverage> {
    let mut sorted: Vec<&(Decision, f64, f64)> = rows.iter().collect();
    sorted.sort_by(|a, b| a.0.confidence.total_cmp(&b.0.confidence));
    let total = sorted.len() as f64;
    let mut correct: f64 = sorted.iter().map(|row| row.0.correct).sum();
    let mut utility: f64 = sorted.iter().map(|row| row.1).sum();
    let mut curve = Vec::new();
    let mut start = 0;
    let mut threshold = 0.0;
    while start < sorted.len() {
        let taken = (sorted.len() - start) as f64;
        curve.push(Coverage {
            threshold,
            coverage: taken / total,
            accuracy: correct / taken,
            utility: utility / total,
        });
        let lowest = sorted[start].0.confidence;
        while start < sorted.len() && sorted[start].0.confidence <= lowest {
            let (decision, own, baseline) = sorted[start];
            correct -= decision.correct;
            utility += baseline - own;
            start += 1;
        }
        threshold = match sorted.get(start) {
            Some(next) => next.0.confidence,
            None => lowest.next_up(),
        };
    }
    if !sorted.is_empty() {
        curve.push(Coverage {
            threshold,
            coverage: 0.0,
            accuracy: 0.0,
            utility: utility / total,
        });
    }
    curve
}

/// The threshold of `curve` with the highest utility among those that keep at least
/// `minimum_coverage`; the lowest threshold wins a tie. 0 without a curve.
pub fn choose_threshold(curve: &[Coverage], minimum_coverage: f64) -> f64 {
    let mut best: Option<&Coverage> = None;
    for point in curve.iter().filter(|p| p.coverage >= minimum_coverage) {
        if best.is_none_or(|best| point.utility > best.utility + 1e-12) {
            best = Some(point);
        }
    }
    best.map_or(0.0, |point| point.threshold)
}
