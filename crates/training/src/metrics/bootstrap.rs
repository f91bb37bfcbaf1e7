//! Percentile bootstrap, clustered: whole clusters (tasks) are drawn again, because decisions about
//! the same task are not independent (Efron & Tibshirani 1993, chapters 6 and 13; Cameron, Gelbach &
//! Miller 2008 on clusters).

use serde::{Deserialize, Deserializer, Serialize};

/// An estimate with the interval that holds it. What cannot be computed (a ratio without a denominator)
/// is NaN, in JSON null.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The statistic on the data itself.
    #[serde(deserialize_with = "null_is_nan")]
    pub estimate: f64,
    /// Lower end.
    #[serde(deserialize_with = "null_is_nan")]
    pub low: f64,
    /// Upper end.
    #[serde(deserialize_with = "null_is_nan")]
    pub high: f64,
}

/// Reads a number that JSON has no word for: it is written as null.
pub(crate) fn null_is_nan<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

impl Interval {
    /// Whether 0 lies outside, on the upper side: the estimate is positive beyond chance.
    pub fn above_zero(&self) -> bool {
        self.low > 0.0
    }
}

/// How often clusters are drawn, from which seed, for which confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Number of resamples.
    pub resamples: u32,
    /// Seed of the draws; the same seed gives the same interval.
    pub seed: u64,
    /// Coverage aimed at, for example 0.95.
    pub confidence: f64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            resamples: 2_000,
            seed: 0,
            confidence: 0.95,
        }
    }
}

impl Bootstrap {
    /// The interval of `statistic` over `clusters` clusters.
    ///
    /// The statistic gets the indices of the drawn clusters, with repetitions. Draws on which it is
    /// not finite (a ratio without a denominator) are left out. Without clusters everything is NaN.
    pub fn interval(&self, clusters: usize, statistic: impl Fn(&[usize]) -> f64) -> Interval {
        let all: Vec<usize> = (0..clusters).collect();
        let estimate = statistic(&all);
        if clusters == 0 {
            return Interval {
                estimate,
                low: f64::NAN,
                high: f64::NAN,
            };
        }
        let mut random = SplitMix64(self.seed);
        let mut drawn = vec![0; clusters];
        let mut values: Vec<f64> = (0..self.resamples)
            .filter_map(|_| {
                for slot in &mut drawn {
                    *slot = random.below(clusters);
                }
                Some(statistic(&drawn)).filter(|value| value.is_finite())
            })
            .collect();
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - self.confidence) / 2.0;
        Interval {
            estimate,
            low: quantile(&values, tail),
            high: quantile(&values, 1.0 - tail),
        }
    }

    /// The interval of a ratio of sums `sum(numerators) / sum(denominators)`, one of each for a
    /// cluster. With denominators 1 that is the mean over clusters.
    pub fn ratio(&self, clusters: &[(f64, f64)]) -> Interval {
        self.interval(clusters.len(), |drawn| {
            let (over, under) = drawn.iter().fold((0.0, 0.0), |(over, under), &index| {
                (over + clusters[index].0, under + clusters[index].1)
            });
            over / under
        })
    }

    /// The interval of the mean over clusters.
    pub fn mean(&self, clusters: &[f64]) -> Interval {
        self.interval(clusters.len(), |drawn| {
            drawn.iter().map(|&index| clusters[index]).sum::<f64>() / drawn.len() as f64
        })
    }
}

/// Linear interpolation between order statistics (type 7 of Hyndman & Fan 1996).
fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = probability.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// The generator of Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators".
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        // The high half of a 128-bit product: a bias below bound / 2^64, far under any resolution here.
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}
