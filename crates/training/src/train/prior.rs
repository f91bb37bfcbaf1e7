//! The frequencies of labels: where the training of a policy starts, and what it can be drawn back to.

use amphora_error::{Error, Result};

use crate::loss::ClassTarget;
use crate::model::Learner;

use super::config::ModelKind;
use super::examples::{Examples, Targets};
use super::rows::TrainingRow;
use super::trained::TrainedModel;

/// Smallest frequency that a bias stands for.
const RAREST: f64 = 1e-3;

/// Makes a fresh policy answer every input with the frequencies of the training labels: the weights of
/// its heads are 0, their biases the logarithms of the frequencies (the prior of Lin et al. 2017, "Focal
/// Loss for Dense Object Detection", section 3.3).
///
/// With random heads, features that no training row has would speak with random voices, and a few
/// hundred rows are too few to silence them. A value model starts as it is.
pub(super) fn start_at_frequencies(learner: &mut Learner, training: &Examples) {
    draw_to_frequencies(learner, training, 0.0);
}

impl TrainedModel {
    /// The policy, drawn back to the frequencies of the labels of `rows`: `share` of what it learned is
    /// kept (1: all, 0: every input is answered with the frequencies).
    ///
    /// Its logits are `share * learned + (1 - share) * ln(frequency)`, which is again a model of the same
    /// architecture, because heads are linear.
    ///
    /// # Errors
    ///
    /// Usage (`model-output`) for a value model; those of training for rows that are not this model's.
    pub fn drawn_back(&self, rows: &[TrainingRow], share: f64) -> Result<Self> {
        if self.config().model == ModelKind::Value {
            return Err(Error::usage(
                "model-output",
                "a value model has no labels to draw back to",
            ));
        }
        let examples = self.task.examples(rows)?;
        let mut drawn = self.clone();
        for learner in &mut drawn.members {
            draw_to_frequencies(learner, &examples, share);
        }
        Ok(drawn)
    }
}

fn draw_to_frequencies(learner: &mut Learner, examples: &Examples, share: f64) {
    let Targets::Classes(targets) = &examples.targets else {
        return;
    };
    for (number, head) in learner.heads.iter().enumerate() {
        let mut sums = vec![0.0; head.n_classes as usize];
        for (targets, weight) in targets.iter().zip(&examples.weights) {
            match targets.get(number).map(|target| &target.target) {
                Some(ClassTarget::Class(class)) => {
                    if let Some(sum) = sums.get_mut(*class) {
                        *sum += weight;
                    }
                }
                Some(ClassTarget::Soft(shares)) => {
                    let whole: f64 = shares.iter().copied().map(f64::from).sum();
                    for (sum, share) in sums.iter_mut().zip(shares) {
                        *sum += weight * f64::from(*share) / whole.max(f64::MIN_POSITIVE);
                    }
                }
                None => {}
            }
        }
        let all: f64 = sums.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{}_head.{part}", head.name));
        for parameter in &mut learner.parameters {
            if parameter.name == weight {
                parameter.values.iter_mut().for_each(|x| *x *= share as f32);
            } else if parameter.name == bias {
                for (bias, sum) in parameter.values.iter_mut().zip(&sums) {
                    let frequency = (sum / all).max(RAREST).ln();
                    *bias = (share * f64::from(*bias) + (1.0 - share) * frequency) as f32;
                }
            }
        }
    }
}
