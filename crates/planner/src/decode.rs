//! From the logits of the heads to one valid action and its confidence.
//!
//! A head's probabilities are the softmax of its logits, divided by the head's temperature, over the
//! classes that a valid action can have. The decoded action is the valid one with the largest sum of
//! logarithms; sums that differ by no more than [`TIE`] are equal, and the first action wins, so that
//! two engines that differ in the last bit decide alike.
//!
//! ```
//! use amphora_planner::action_space::{ActionSpace, masks};
//! use amphora_planner::decode::{Distribution, Temperatures};
//!
//! let space = ActionSpace::default();
//! let valid = space.valid_actions("code");
//! let masks = masks(space.widths(), &valid);
//! let logits = [vec![0.0, 4.0], vec![0.0, 5.0, 0.0, 0.0], vec![0.0; 6], vec![0.0; 5]];
//! let distribution = Distribution::new(&logits, &masks, &Temperatures::ONE)?;
//! let best = distribution.best(&valid).unwrap();
//! assert_eq!(space.named(best.action).unwrap().to_string(), "speculate_vote/2/15/NA");
//! assert!((best.confidence - 1.0 / 6.0).abs() < 1e-12);
//! # Ok::<(), amphora_error::Error>(())
//! ```

use std::collections::BTreeMap;

use amphora_error::{Error, Result};

use crate::action_space::{Action, Head, HeadLogits};

/// Sums of logarithms that differ by no more are equal.
pub const TIE: f64 = 1e-9;
/// Smallest probability that enters a sum of logarithms.
pub const FLOOR: f64 = 1e-12;
/// Smallest temperature; a smaller one counts as this.
pub const MIN_TEMPERATURE: f64 = 1e-6;

/// What the logits of each head are divided by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperatures([f64; 4]);

impl Temperatures {
    /// No calibration.
    pub const ONE: Self = Self([1.0; 4]);

    /// In the order of the heads.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] for a temperature that is not finite or negative.
    pub fn new(temperatures: [f64; 4]) -> Result<Self> {
        for (head, temperature) in Head::ALL.iter().zip(temperatures) {
            if !temperature.is_finite() || temperature < 0.0 {
                return Err(Error::malformed(
                    "temperature",
                    "a temperature is a finite number that is not negative",
                )
                .found(temperature.to_string())
                .at(head.onnx_name()));
            }
        }
        Ok(Self(temperatures.map(|t| t.max(MIN_TEMPERATURE))))
    }

    /// Of `head`.
    pub fn get(&self, head: Head) -> f64 {
        self.0[head.position()]
    }
}

/// The masked, calibrated probabilities of every head.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Logarithms; negative infinity for a class that no valid action has.
    logs: [Vec<f64>; 4],
}

/// An action and what speaks for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decoded {
    /// The action.
    pub action: Action,
    /// The sum of the logarithms of its classes' probabilities.
    pub log_probability: f64,
    /// The smallest probability among its classes; a head without a choice counts 1.
    pub confidence: f64,
}

impl Distribution {
    /// The probabilities over the classes that `masks` allow. Where a mask allows nothing, no action
    /// is valid, and the head is not masked.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] when a head has another number of logits than classes,
    /// or a logit that is not finite.
    pub fn new(
        logits: &HeadLogits,
        masks: &[Vec<bool>; 4],
        temperatures: &Temperatures,
    ) -> Result<Self> {
        let mut logs = [const { Vec::new() }; 4];
        for head in Head::ALL {
            let place = head.position();
            logs[place] = log_softmax(head, &logits[place], &masks[place], temperatures)?;
        }
        Ok(Self { logs })
    }

    /// The probability of a class; 0 for one that is masked or that the head does not have.
    pub fn probability(&self, head: Head, class: usize) -> f64 {
        self.log(head, class).exp()
    }

    fn log(&self, head: Head, class: usize) -> f64 {
        let logs = &self.logs[head.position()];
        logs.get(class).copied().unwrap_or(f64::NEG_INFINITY)
    }

    /// The probabilities of every class, by the head's field in an action.
    pub fn by_field(&self) -> BTreeMap<String, Vec<f64>> {
        Head::ALL
            .iter()
            .map(|head| {
                let logs = &self.logs[head.position()];
                let probabilities = logs.iter().map(|log| log.exp()).collect();
                (head.field_name().to_owned(), probabilities)
            })
            .collect()
    }

    /// The sum of the logarithms of an action's probabilities, each at least [`FLOOR`].
    pub fn log_probability(&self, action: Action) -> f64 {
        let floor = FLOOR.ln();
        Head::ALL
            .iter()
            .map(|head| self.log(*head, action.class(*head)).max(floor))
            .sum()
    }

    /// The smallest probability among an action's classes.
    pub fn confidence(&self, action: Action) -> f64 {
        let probabilities = Head::ALL
            .iter()
            .map(|head| self.probability(*head, action.class(*head)));
        probabilities.fold(1.0, f64::min)
    }

    /// The best of `candidates`, which are in the order of enumeration: every valid action, or those
    /// that a bench tries. `None` when there are none.
    pub fn best(&self, candidates: &[Action]) -> Option<Decoded> {
        let scores: Vec<f64> = candidates
            .iter()
            .map(|action| self.log_probability(*action))
            .collect();
        let place = first_best(&scores)?;
        Some(self.decoded(candidates[place]))
    }

    /// The `n` best of `candidates`, the best first; equal ones in their order.
    pub fn ranked(&self, candidates: &[Action], n: usize) -> Vec<Decoded> {
        let mut ranked: Vec<Decoded> = candidates.iter().map(|a| self.decoded(*a)).collect();
        ranked.sort_by(|a, b| b.log_probability.total_cmp(&a.log_probability));
        ranked.truncate(n);
        ranked
    }

    /// The best class of each head by itself. The action may be invalid: heads do not know of each
    /// other.
    pub fn independent(&self) -> Decoded {
        let classes = Head::ALL.map(|head| first_best(&self.logs[head.position()]).unwrap_or(0));
        self.decoded(Action::from_classes(classes))
    }

    fn decoded(&self, action: Action) -> Decoded {
        Decoded {
            action,
            log_probability: self.log_probability(action),
            confidence: self.confidence(action),
        }
    }
}

/// Decodes head by head, each conditioned on the choices before it: `logits` is asked for a head
/// together with the classes chosen so far, and the classes that no valid action with those choices
/// has are masked. `valid` is in the order of enumeration; `None` when it is empty.
///
/// # Errors
///
/// Those of `logits`, and those of [`Distribution::new`].
pub fn autoregressive(
    valid: &[Action],
    widths: [usize; 4],
    temperatures: &Temperatures,
    mut logits: impl FnMut(Head, &[usize]) -> Result<Vec<f32>>,
) -> Result<Option<Decoded>> {
    let mut left = valid.to_vec();
    let mut chosen = Vec::with_capacity(4);
    let (mut log_probability, mut confidence) = (0.0, 1.0_f64);
    for head in Head::ALL {
        if left.is_empty() {
            return Ok(None);
        }
        let mut mask = vec![false; widths[head.position()]];
        for action in &left {
            if let Some(allowed) = mask.get_mut(action.class(head)) {
                *allowed = true;
            }
        }
        let logs = log_softmax(head, &logits(head, &chosen)?, &mask, temperatures)?;
        // In the order of enumeration, so that the first of equal classes is the same as elsewhere.
        let mut classes: Vec<usize> = left.iter().map(|action| action.class(head)).collect();
        let mut seen = vec![false; widths[head.position()]];
        classes.retain(|&class| {
            seen.get_mut(class)
                .is_some_and(|seen| !std::mem::replace(seen, true))
        });
        let scores: Vec<f64> = classes.iter().map(|&class| logs[class]).collect();
        let Some(place) = first_best(&scores) else {
            return Ok(None);
        };
        log_probability += scores[place].max(FLOOR.ln());
        confidence = confidence.min(scores[place].exp());
        chosen.push(classes[place]);
        left.retain(|action| action.class(head) == classes[place]);
    }
    Ok(left.first().map(|&action| Decoded {
        action,
        log_probability,
        confidence,
    }))
}

/// The first of the scores that are the largest up to [`TIE`].
fn first_best(scores: &[f64]) -> Option<usize> {
    let largest = scores.iter().copied().reduce(f64::max)?;
    scores.iter().position(|score| *score >= largest - TIE)
}

/// Logarithms of the softmax of `logits` over the classes that `mask` allows, all if it allows none.
fn log_softmax(
    head: Head,
    logits: &[f32],
    mask: &[bool],
    temperatures: &Temperatures,
) -> Result<Vec<f64>> {
    if logits.len() != mask.len() {
        return Err(Error::malformed(
            "logits-width",
            "a head has another number of logits than classes",
        )
        .expected(mask.len().to_string())
        .found(logits.len().to_string())
        .at(head.onnx_name()));
    }
    if !logits.iter().all(|logit| logit.is_finite()) {
        return Err(
            Error::malformed("logits-not-finite", "a head has a logit that is not finite")
                .at(head.onnx_name()),
        );
    }
    let temperature = temperatures.get(head);
    let free = !mask.contains(&true);
    let scaled: Vec<f64> = logits
        .iter()
        .zip(mask)
        .map(|(logit, allowed)| match free || *allowed {
            true => f64::from(*logit) / temperature,
            false => f64::NEG_INFINITY,
        })
        .collect();
    let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scaled.iter().map(|value| (value - largest).exp()).sum();
    // Not `value - (largest + sum.ln())`: beside a huge logit the second term would vanish.
    Ok(scaled
        .iter()
        .map(|value| (value - largest) - sum.ln())
        .collect())
}
