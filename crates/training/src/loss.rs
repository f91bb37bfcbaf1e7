//! The losses of the planner models and their gradients, in f64 on plain slices.
//!
//! A loss is computed outside the graph of the model: its gradient with respect to the logits is what
//! starts backpropagation. Every loss is a weighted mean over the examples.

use amphora_error::{Error, Result};

/// What a head should have said about one example.
#[derive(Debug, Clone, PartialEq)]
pub enum ClassTarget {
    /// This class.
    Class(usize),
    /// Classes with these probabilities, which need not sum to one.
    Soft(Vec<f32>),
}

/// A head's target and the classes that the action space allows.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadTarget {
    /// The label.
    pub target: ClassTarget,
    /// Whether each class is valid.
    pub valid: Vec<bool>,
}

impl HeadTarget {
    /// The most probable class of the label.
    pub fn class(&self) -> usize {
        match &self.target {
            ClassTarget::Class(class) => *class,
            ClassTarget::Soft(shares) => first_largest(shares.iter().copied().map(f64::from)),
        }
    }

    /// The probabilities to learn: the label, smoothed towards uniform **over the valid classes**, so
    /// that a masked class never has a positive target and the loss stays finite.
    ///
    /// # Errors
    ///
    /// Incompatible (`training-label`) for a label outside the valid classes.
    pub fn probabilities(&self, smoothing: f64) -> Result<Vec<f64>> {
        let invalid = |message: &str| Err(Error::incompatible("training-label", message));
        let mut label = vec![0.0; self.valid.len()];
        match &self.target {
            ClassTarget::Class(class) => match label.get_mut(*class) {
                Some(share) => *share = 1.0,
                None => return invalid("a label names a class that the head does not have"),
            },
            ClassTarget::Soft(shares) => {
                let sum: f64 = shares.iter().copied().map(f64::from).sum();
                let sound =
                    shares.iter().all(|share| *share >= 0.0) && sum.is_finite() && sum > 0.0;
                if shares.len() != label.len() || !sound {
                    return invalid("a soft label is no distribution over the head's classes");
                }
                for (to, share) in label.iter_mut().zip(shares) {
                    *to = f64::from(*share) / sum;
                }
            }
        }
        let outside = label
            .iter()
            .zip(&self.valid)
            .any(|(q, valid)| *q > 0.0 && !valid);
        if outside {
            return invalid("a label is not valid in the action space");
        }
        let count = self.valid.iter().filter(|valid| **valid).count() as f64;
        Ok(label
            .iter()
            .zip(&self.valid)
            .map(|(q, valid)| match valid {
                true => q * (1.0 - smoothing) + smoothing / count,
                false => 0.0,
            })
            .collect())
    }
}

/// The index of the first largest value.
pub(crate) fn first_largest(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, value) in values.enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

/// What an executed action came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutcomeTarget {
    /// Whether every gate passed.
    pub passed: bool,
    /// Whether nothing passed and the longest run was cut at its minutes.
    pub timed_out: bool,
    /// Whether any run was cut: the duration is then only a lower bound.
    pub censored: bool,
    /// Natural logarithm of the agent seconds, summed over the candidates.
    pub log_seconds: f64,
}

/// Masked cross-entropy of one example with the target probabilities `q` (zero where `valid` is
/// false); adds `weight` times the gradient to `gradient` and returns the unweighted loss.
///
/// A head with a single valid class has loss and gradient zero.
pub fn cross_entropy(
    logits: &[f64],
    valid: &[bool],
    q: &[f64],
    weight: f64,
    gradient: &mut [f64],
) -> f64 {
    let allowed = || logits.iter().zip(valid).filter(|(_, valid)| **valid);
    let largest = allowed().fold(f64::NEG_INFINITY, |a, (x, _)| a.max(*x));
    let sum: f64 = allowed().map(|(x, _)| (x - largest).exp()).sum();
    // A NaN anywhere among the valid logits reaches the sum, and with it the loss.
    let log_sum = largest + sum.ln();
    let mut loss = 0.0;
    for (((x, valid), q), gradient) in logits.iter().zip(valid).zip(q).zip(gradient) {
        if *valid {
            let log_p = x - log_sum;
            loss -= q * log_p;
            *gradient += weight * (log_p.exp() - q);
        }
    }
    loss
}

/// Binary cross-entropy of a logit; adds to the gradient as [`cross_entropy`] does.
pub fn binary_cross_entropy(logit: f64, target: bool, weight: f64, gradient: &mut f64) -> f64 {
    let signed = if target { logit } else { -logit };
    // ln(1 + e^-s), without overflow.
    let loss = (-signed).max(0.0) + (-signed.abs()).exp().ln_1p();
    let wrong = sigmoid(-signed);
    *gradient += weight * if target { -wrong } else { wrong };
    loss
}

/// `1 / (1 + e^-x)` without overflow.
pub fn sigmoid(x: f64) -> f64 {
    let small = (-x.abs()).exp();
    if x >= 0.0 {
        1.0 / (1.0 + small)
    } else {
        small / (1.0 + small)
    }
}

/// Bound of the logarithm of a duration's deviation.
const LOG_DEVIATION_BOUND: f64 = 3.0;

/// The logarithm of the deviation for what the network said, smoothly within
/// `±LOG_DEVIATION_BOUND`.
pub fn log_deviation(raw: f64) -> f64 {
    LOG_DEVIATION_BOUND * (raw / LOG_DEVIATION_BOUND).tanh()
}

/// Negative log-likelihood of a log-normal duration whose observation may be censored from the right
/// (Tobin 1958): `[mean, raw log deviation]` and the observed logarithm; constants are left out.
/// Adds to the gradient as [`cross_entropy`] does.
pub fn censored_duration(
    [mean, raw]: [f64; 2],
    observed: f64,
    censored: bool,
    weight: f64,
    gradient: &mut [f64; 2],
) -> f64 {
    let log_deviation = log_deviation(raw);
    let deviation = log_deviation.exp();
    let z = (observed - mean) / deviation;
    // Derivatives by z and directly by the log deviation.
    let (loss, by_z, direct) = if censored {
        let (loss, hazard) = survival(z);
        (loss, hazard, 0.0)
    } else {
        (0.5 * z * z + log_deviation, z, 1.0)
    };
    let chain = 1.0 - (log_deviation / LOG_DEVIATION_BOUND).powi(2);
    gradient[0] -= weight * by_z / deviation;
    gradient[1] += weight * (direct - by_z * z) * chain;
    loss
}

/// `-ln(1 - Phi(z))` and its derivative, the hazard of the normal distribution.
fn survival(z: f64) -> (f64, f64) {
    /// Beyond this, the first terms of the asymptotic series are exact to 1e-6.
    const FAR: f64 = 20.0;
    const LN_SQRT_TAU: f64 = 0.918_938_533_204_672_7;
    if z > FAR {
        let loss = 0.5 * z * z + z.ln() + LN_SQRT_TAU - (-1.0 / (z * z)).ln_1p();
        return (loss, z + 1.0 / z - 2.0 / (z * z * z));
    }
    let tail = 0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2);
    let density = (-0.5 * z * z - LN_SQRT_TAU).exp();
    (-tail.ln(), density / tail)
}

/// `E[min(D, limit)]` of a log-normal `D` with these parameters: the time that a run costs when it is
/// cut at `limit`; without a limit the mean of `D`.
pub fn expected_duration(mean: f64, deviation: f64, limit: Option<f64>) -> f64 {
    let whole = (mean + 0.5 * deviation * deviation).exp();
    let Some(limit) = limit else { return whole };
    let below = |x: f64| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
    let z = (limit.ln() - mean) / deviation;
    whole * below(z - deviation) + limit * (1.0 - below(z))
}
