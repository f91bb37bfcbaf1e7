//! Temperature scaling: one temperature for each head, fitted on the validation split (Guo et al.
//! 2017, "On Calibration of Modern Neural Networks").
//!
//! Logits are divided by the temperature before the masked softmax. The temperature minimizes the
//! mean negative log-likelihood of the targets, which may be soft: `-sum_k y_k ln p_k(T)`. That is
//! convex in `1/T`, so it has one minimum over `ln T` and a golden-section search finds it.

use amphora_error::{Error, Result};
use amphora_planner::action_space::{Head, HeadLogits};
use amphora_planner::decode::Temperatures;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::metrics::masked_softmax;

/// Search interval for the temperature.
pub const TEMPERATURE_BOUNDS: (f64, f64) = (0.05, 20.0);

/// Fewer validation rows than this leave a head's temperature at 1.
pub const MINIMUM_ROWS: usize = 30;

/// One validation row: what the model said, what was allowed, what was right.
#[derive(Debug, Clone)]
pub struct CalibrationRow {
    /// Raw logits of each head, one for each class.
    pub logits: HeadLogits,
    /// The classes that the row's valid actions contain, for each head.
    pub masks: [Vec<bool>; 4],
    /// Target distribution of each head (one-hot for a hard label); sums to 1 over valid classes.
    pub targets: [Vec<f64>; 4],
}

/// The temperature of one head and what it bought.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeadCalibration {
    /// Divides the logits; 1 where nothing was fitted.
    pub temperature: f64,
    /// Rows on which the head had more than one valid class.
    pub rows: usize,
    /// Mean negative log-likelihood at temperature 1, in nats; 0 without rows.
    pub nll_before: f64,
    /// The same at the fitted temperature.
    pub nll_after: f64,
}

/// One temperature for each head, in head order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FittedTemperatures {
    /// Swarm, candidates, minutes, iterations.
    pub heads: [HeadCalibration; 4],
}

impl FittedTemperatures {
    /// No scaling: every temperature is 1.
    pub fn identity() -> Self {
        let head = HeadCalibration {
            temperature: 1.0,
            rows: 0,
            nll_before: 0.0,
            nll_after: 0.0,
        };
        Self { heads: [head; 4] }
    }

    /// Temperatures that were fitted elsewhere.
    pub fn given(temperatures: [f64; 4]) -> Self {
        let mut given = Self::identity();
        for (head, temperature) in given.heads.iter_mut().zip(temperatures) {
            head.temperature = temperature;
        }
        given
    }

    /// Fits every head on `rows`.
    ///
    /// Rows on which a head has one valid class say nothing about its temperature and are left out;
    /// with fewer than [`MINIMUM_ROWS`] left the temperature stays 1.
    pub fn fit(rows: &[CalibrationRow]) -> Result<Self> {
        let mut fitted = Self::identity();
        for (head, slot) in fitted.heads.iter_mut().enumerate() {
            let relevant: Vec<&CalibrationRow> = rows
                .iter()
                .filter(|row| row.masks[head].iter().filter(|valid| **valid).count() > 1)
                .collect();
            slot.rows = relevant.len();
            let numbers = |row: &&CalibrationRow| {
                row.logits[head].iter().all(|logit| logit.is_finite())
                    && row.targets[head].iter().all(|target| *target >= 0.0)
            };
            if relevant.is_empty() {
                continue;
            }
            let loss = |temperature: f64| mean_nll(&relevant, head, temperature);
            slot.nll_before = loss(1.0);
            if !relevant.iter().all(numbers) || !slot.nll_before.is_finite() {
                return Err(Error::malformed(
                    "calibration-logits",
                    "a validation row has logits or targets that give no finite likelihood",
                )
                .at(format!("head '{}'", Head::ALL[head])));
            }
            if relevant.len() >= MINIMUM_ROWS {
                slot.temperature = minimize(loss);
            }
            slot.nll_after = loss(slot.temperature);
        }
        Ok(fitted)
    }

    /// The four temperatures, as decoding takes them.
    ///
    /// # Errors
    ///
    /// None in practice: fitted temperatures are finite and positive.
    pub fn temperatures(&self) -> Result<Temperatures> {
        Temperatures::new(self.values())
    }

    /// The four temperatures.
    pub fn values(&self) -> [f64; 4] {
        self.heads.map(|head| head.temperature)
    }

    /// `calibration.json`: method `temperature_scaling` with a temperature for each head, the
    /// expected calibration error on the validation split and, when one is given, the date.
    pub fn to_json(&self, validation_ece: Option<f64>, date: Option<&str>) -> Value {
        let temperatures: serde_json::Map<String, Value> = Head::ALL
            .iter()
            .zip(self.values())
            .map(|(head, temperature)| (head.onnx_name().to_owned(), json!(temperature)))
            .collect();
        let mut document = json!({
            "method": "temperature_scaling",
            "temperature": temperatures,
            "validation_ece": validation_ece,
        });
        if let (Some(date), Some(object)) = (date, document.as_object_mut()) {
            object.insert("calibration_date".to_owned(), json!(date));
        }
        document
    }
}

fn mean_nll(rows: &[&CalibrationRow], head: usize, temperature: f64) -> f64 {
    let sum: f64 = rows
        .iter()
        .map(|row| {
            let probabilities = masked_softmax(&row.logits[head], &row.masks[head], temperature);
            row.targets[head]
                .iter()
                .zip(&probabilities)
                .filter(|(target, _)| **target > 0.0)
                .map(|(target, p)| -target * p.max(f64::MIN_POSITIVE).ln())
                .sum::<f64>()
        })
        .sum();
    sum / rows.len() as f64
}

/// Golden-section search over `ln T` within [`TEMPERATURE_BOUNDS`], to 1e-7 in `ln T`.
fn minimize(loss: impl Fn(f64) -> f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let (mut low, mut high) = (TEMPERATURE_BOUNDS.0.ln(), TEMPERATURE_BOUNDS.1.ln());
    let mut left = high - RATIO * (high - low);
    let mut right = low + RATIO * (high - low);
    let (mut at_left, mut at_right) = (loss(left.exp()), loss(right.exp()));
    while high - low > 1e-7 {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - RATIO * (high - low);
            at_left = loss(left.exp());
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + RATIO * (high - low);
            at_right = loss(right.exp());
        }
    }
    ((low + high) / 2.0).exp()
}
