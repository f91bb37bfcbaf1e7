//! Rows as a model sees them: an entry, a target, a weight.

use amphora_error::{Error, Result};

use super::config::{Decoding, TrainConfig};
use crate::loss::{
    HeadTarget, OutcomeTarget, binary_cross_entropy, censored_duration, cross_entropy,
};
use crate::model::{Entry, Learner, Logits};

/// The heads of a value model and their widths: logit of passing, logit of a timeout, mean and raw log
/// deviation of the log seconds.
pub(crate) const VALUE_HEADS: [(&str, u64); 3] = [("pass", 1), ("timeout", 1), ("duration", 2)];

/// Examples to train or validate on.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    /// What each example shows.
    pub entries: Vec<Entry>,
    /// What each should give.
    pub targets: Targets,
    /// How much each counts; positive.
    pub weights: Vec<f64>,
}

/// The targets of all examples.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// For a policy: one target per head.
    Classes(Vec<Vec<HeadTarget>>),
    /// For a value model.
    Outcomes(Vec<OutcomeTarget>),
}

/// The sum of the losses and of the weights of some examples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loss {
    pub(crate) sum: f64,
    pub(crate) weight: f64,
}

impl Loss {
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.weight
    }
}

impl Examples {
    /// The number of examples.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Refuses examples that `learner` cannot read or answer.
    pub(crate) fn check(&self, learner: &Learner) -> Result<()> {
        let mismatch = |message: &str| Err(Error::incompatible("training-examples", message));
        let targets = match &self.targets {
            Targets::Classes(targets) => targets.len(),
            Targets::Outcomes(targets) => targets.len(),
        };
        if [targets, self.weights.len()] != [self.len(); 2] {
            return mismatch("the numbers of entries, targets and weights differ");
        }
        if !self.weights.iter().all(|w| w.is_finite() && *w > 0.0) {
            return mismatch("an example's weight is no positive number");
        }
        for entry in &self.entries {
            learner.check(entry)?;
        }
        let heads: Vec<usize> = learner
            .heads
            .iter()
            .map(|head| head.n_classes as usize)
            .collect();
        match &self.targets {
            Targets::Classes(targets) => {
                let fits = |target: &Vec<HeadTarget>| {
                    target
                        .iter()
                        .map(|head| head.valid.len())
                        .eq(heads.iter().copied())
                };
                if !targets.iter().all(fits) {
                    return mismatch("the targets have other heads or classes than the model");
                }
            }
            Targets::Outcomes(targets) => {
                if heads != VALUE_HEADS.map(|(_, width)| width as usize) {
                    return mismatch("outcomes are the targets of a value model only");
                }
                if !targets.iter().all(|target| target.log_seconds.is_finite()) {
                    return mismatch("the duration of an outcome is no finite number");
                }
            }
        }
        Ok(())
    }

    /// The mean loss of whoever holds every valid class for equally probable: what training has to beat.
    /// `None` for outcomes and without examples.
    pub(crate) fn uniform_loss(&self, head_weights: [f64; 4]) -> Option<f64> {
        let Targets::Classes(targets) = &self.targets else {
            return None;
        };
        let of_row = |row: &Vec<HeadTarget>| -> f64 {
            let heads = row.iter().zip(head_weights);
            let valid = |head: &HeadTarget| head.valid.iter().filter(|valid| **valid).count();
            heads
                .map(|(head, counts)| counts * (valid(head).max(1) as f64).ln())
                .sum()
        };
        let weighted = targets.iter().zip(&self.weights);
        let sum: f64 = weighted.map(|(row, weight)| weight * of_row(row)).sum();
        let weight: f64 = self.weights.iter().sum();
        (weight > 0.0).then(|| sum / weight)
    }

    /// The labels that conditioned heads assume of the heads before them.
    pub(crate) fn choices(&self, batch: &[usize], decoding: Decoding) -> Option<Vec<Vec<usize>>> {
        match (&self.targets, decoding) {
            (Targets::Classes(targets), Decoding::Autoregressive) => Some(
                batch
                    .iter()
                    .map(|row| targets[*row].iter().map(HeadTarget::class).collect())
                    .collect(),
            ),
            _ => None,
        }
    }

    /// How many examples of the batch have the label as the best valid class of every head.
    pub(crate) fn exact_matches(&self, batch: &[usize], logits: &Logits) -> usize {
        let Targets::Classes(targets) = &self.targets else {
            return 0;
        };
        let matches = |(at, row): (usize, &usize)| {
            targets[*row].iter().zip(logits).all(|(target, logits)| {
                let width = target.valid.len();
                let allowed = logits[at * width..][..width].iter().zip(&target.valid);
                let masked = allowed.map(|(x, valid)| if *valid { *x } else { f64::NEG_INFINITY });
                crate::loss::first_largest(masked) == target.class()
            })
        };
        batch.iter().enumerate().filter(|row| matches(*row)).count()
    }
}

/// Target probabilities and weights of every example and head, computed once.
pub(crate) struct Scores {
    /// By example and head; empty for outcomes.
    probabilities: Vec<Vec<Vec<f64>>>,
    /// By example and head; by example alone for outcomes.
    weights: Vec<Vec<f64>>,
    /// What each head counts.
    heads: [f64; 4],
}

impl Scores {
    /// With the smoothing and the class weights of `config`.
    pub(crate) fn new(examples: &Examples, config: &TrainConfig) -> Result<Self> {
        let mut scores = Self::build(examples, config.label_smoothing, config)?;
        if let (Targets::Classes(targets), true) = (&examples.targets, config.class_weights) {
            scores.weigh_classes(targets);
        }
        Ok(scores)
    }

    /// Without smoothing or class weights.
    pub(crate) fn plain(examples: &Examples, config: &TrainConfig) -> Result<Self> {
        Self::build(examples, 0.0, config)
    }

    fn build(examples: &Examples, smoothing: f64, config: &TrainConfig) -> Result<Self> {
        let (probabilities, heads) = match &examples.targets {
            Targets::Outcomes(_) => (Vec::new(), 1),
            Targets::Classes(targets) => {
                let of_row = |(row, targets): (usize, &Vec<HeadTarget>)| {
                    let heads = targets.iter().map(|target| target.probabilities(smoothing));
                    heads
                        .collect::<Result<Vec<_>>>()
                        .map_err(|error| error.at(format!("example {}", row + 1)))
                };
                let all = targets.iter().enumerate().map(of_row);
                let heads = targets.first().map_or(0, Vec::len);
                (all.collect::<Result<_>>()?, heads)
            }
        };
        let weights = examples.weights.iter().map(|w| vec![*w; heads]).collect();
        Ok(Self {
            probabilities,
            weights,
            heads: config.head_weights,
        })
    }

    /// Multiplies the weights of every head by `n / (classes seen * count of the label)`.
    fn weigh_classes(&mut self, targets: &[Vec<HeadTarget>]) {
        let heads = targets.first().map_or(0, Vec::len);
        for head in 0..heads {
            let labels: Vec<usize> = targets.iter().map(|row| row[head].class()).collect();
            let mut counts = vec![0_usize; targets[0][head].valid.len()];
            labels.iter().for_each(|label| counts[*label] += 1);
            let seen = counts.iter().filter(|count| **count > 0).count();
            for (weights, label) in self.weights.iter_mut().zip(labels) {
                weights[head] *= targets.len() as f64 / (seen * counts[label]) as f64;
            }
        }
    }

    /// The loss of the batch for its `logits`, which become the gradient of its mean.
    pub(crate) fn score(
        &self,
        examples: &Examples,
        batch: &[usize],
        logits: &mut Logits,
    ) -> Result<Loss> {
        let count: f64 = batch.iter().map(|row| examples.weights[*row]).sum();
        let mean = match &examples.targets {
            Targets::Classes(targets) => self.score_classes(targets, batch, logits),
            Targets::Outcomes(targets) => {
                let mut gradient: Logits = logits.iter().map(|x| vec![0.0; x.len()]).collect();
                let mut sum = 0.0;
                for (at, row) in batch.iter().enumerate() {
                    let share = examples.weights[*row] / count;
                    sum += share * score_outcome(&targets[*row], at, share, logits, &mut gradient);
                }
                *logits = gradient;
                sum
            }
        };
        Ok(Loss {
            sum: mean * count,
            weight: count,
        })
    }

    /// The sum over the heads of their mean cross-entropies, each times what the head counts.
    fn score_classes(
        &self,
        targets: &[Vec<HeadTarget>],
        batch: &[usize],
        logits: &mut Logits,
    ) -> f64 {
        let mut mean = 0.0;
        for (head, logits) in logits.iter_mut().enumerate() {
            let total: f64 = batch.iter().map(|row| self.weights[*row][head]).sum();
            let counts = self.heads.get(head).copied().unwrap_or(1.0);
            let mut gradient = vec![0.0; logits.len()];
            for (at, row) in batch.iter().enumerate() {
                let target = &targets[*row][head];
                let width = target.valid.len();
                let share = counts * self.weights[*row][head] / total;
                mean += share
                    * cross_entropy(
                        &logits[at * width..][..width],
                        &target.valid,
                        &self.probabilities[*row][head],
                        share,
                        &mut gradient[at * width..][..width],
                    );
            }
            *logits = gradient;
        }
        mean
    }
}

/// The loss of one outcome: passing, timeout and duration together.
fn score_outcome(
    target: &OutcomeTarget,
    at: usize,
    share: f64,
    logits: &Logits,
    gradient: &mut Logits,
) -> f64 {
    let mut binary = |head: usize, truth: bool| {
        binary_cross_entropy(logits[head][at], truth, share, &mut gradient[head][at])
    };
    let events = binary(0, target.passed) + binary(1, target.timed_out);
    let duration = [logits[2][2 * at], logits[2][2 * at + 1]];
    let mut by_duration = [0.0; 2];
    let loss = censored_duration(
        duration,
        target.log_seconds,
        target.censored,
        share,
        &mut by_duration,
    );
    gradient[2][2 * at..2 * at + 2].copy_from_slice(&by_duration);
    events + loss
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::ClassTarget;
    use crate::train::ModelKind;

    fn examples(labels: &[usize]) -> Examples {
        let target = |label: &usize| {
            vec![HeadTarget {
                target: ClassTarget::Class(*label),
                valid: vec![true; 4],
            }]
        };
        Examples {
            entries: vec![Entry::Tokens(vec![1]); labels.len()],
            targets: Targets::Classes(labels.iter().map(target).collect()),
            weights: vec![1.0; labels.len()],
        }
    }

    #[test]
    fn class_weights_make_every_class_seen_count_the_same() {
        let labels = [0, 0, 0, 1, 1, 3];
        let mut config = TrainConfig::new(ModelKind::Mlp);
        (config.class_weights, config.label_smoothing) = (true, 0.0);
        let examples = examples(&labels);
        let scores = Scores::new(&examples, &config).unwrap();
        for class in [0, 1, 3] {
            let of_class = labels
                .iter()
                .zip(&scores.weights)
                .filter(|(l, _)| **l == class);
            let total: f64 = of_class.map(|(_, weights)| weights[0]).sum();
            assert!((total - 2.0).abs() < 1e-12, "class {class}: {total}");
        }
        // The mean by hand: every class a third, each with its own loss.
        let mut logits: Logits = vec![[0.5, -1.0, 0.25, 2.0].repeat(6)];
        let rows: Vec<usize> = (0..6).collect();
        let sum: f64 = [0.5_f64, -1.0, 0.25, 2.0].iter().map(|x| x.exp()).sum();
        let expected = [0.5, -1.0, 2.0]
            .map(|x: f64| sum.ln() - x)
            .iter()
            .sum::<f64>()
            / 3.0;
        let found = scores.score(&examples, &rows, &mut logits).unwrap().mean();
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }
}
