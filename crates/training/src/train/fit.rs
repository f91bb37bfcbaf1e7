//! The training loop: epochs of steps, validation, early stopping, and a state that can be kept.

use amphora_error::{Error, Result};

use super::config::{Decoding, TrainConfig};
use super::examples::{Examples, Scores, Targets};
use super::report::{Curve, Ending, EpochRecord};
use crate::model::{Gather, Learner, Noise, Parameter, Purpose, Random};
use crate::optimizer::{AdamW, Gradient, clip};

/// Where training stands between two epochs: everything that the rest depends on.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) optimizer: AdamW,
    pub(crate) best: Best,
    pub(crate) epochs: Vec<EpochRecord>,
}

/// The weights with the lowest validation loss so far, by copy.
#[derive(Clone)]
pub(crate) struct Best {
    pub(crate) epoch: usize,
    pub(crate) loss: f64,
    pub(crate) parameters: Vec<Parameter>,
}

/// What the loop calls back: after every step with its progress, and after every epoch with the state
/// to keep.
pub(crate) struct Hooks<'a> {
    pub(crate) step: &'a mut dyn FnMut(Step<'_>) -> Result<()>,
    pub(crate) epoch: &'a mut dyn FnMut(&State) -> Result<()>,
}

/// A step that has been done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    /// The epoch, from 1.
    pub(crate) epoch: usize,
    /// Steps done in it, and steps that it has.
    pub(crate) done: usize,
    pub(crate) steps: usize,
    /// The mean loss of the epoch so far.
    pub(crate) loss: f64,
    /// The epochs before.
    pub(crate) epochs: &'a [EpochRecord],
}

/// Examples per pass in validation.
const VALIDATION_BATCH: usize = 64;

/// Trains `learner` from `resumed` or from its fresh parameters on; afterwards it holds the best
/// weights.
///
/// # Errors
///
/// Incompatible: `training-empty` without rows, `training-label` and `training-entry` for rows that do
/// not fit the model, `training-loss` and `training-gradient` when the numbers stop being finite. And
/// whatever a hook returns.
pub(crate) fn fit(
    learner: &mut Learner,
    training: &Examples,
    validation: &Examples,
    config: &TrainConfig,
    resumed: Option<State>,
    hooks: &mut Hooks<'_>,
) -> Result<Curve> {
    config.check()?;
    if training.len() == 0 {
        return Err(Error::incompatible(
            "training-empty",
            "there are no rows to train on",
        ));
    }
    training.check(learner)?;
    validation.check(learner)?;
    let scores = Scores::new(training, config)?;
    let plain = Scores::plain(validation, config)?;

    let mut state = resumed.unwrap_or_else(|| State {
        optimizer: AdamW::new(config.optimizer, &learner.parameters),
        best: Best {
            epoch: 0,
            loss: f64::INFINITY,
            parameters: learner.parameters.clone(),
        },
        parameters: learner.parameters.clone(),
        epochs: Vec::new(),
    });
    learner.parameters.clone_from(&state.parameters);

    let stopped = |state: &State| {
        validation.len() > 0 && state.epochs.len() >= state.best.epoch + config.patience
    };
    while state.epochs.len() < config.epochs && !stopped(&state) {
        let epoch = state.epochs.len();
        let rate = config.learning_rate_of(epoch);
        let (loss, gradient_norm) =
            run_epoch(learner, training, &scores, config, rate, &mut state, hooks)?;
        state.optimizer.settle_all(&mut learner.parameters);
        let checked = match validation.len() {
            0 => None,
            _ => Some(validate(learner, validation, &plain, config.decoding)?),
        };
        state.epochs.push(EpochRecord {
            epoch: epoch + 1,
            loss,
            validation_loss: checked.map(|(loss, _)| loss),
            validation_exact_match: checked.and_then(|(_, exact)| exact),
            learning_rate: rate,
            gradient_norm,
        });
        // Without validation rows the last weights are kept.
        let now = checked.map_or(f64::NEG_INFINITY, |(loss, _)| loss);
        if now < state.best.loss || checked.is_none() {
            state.best = Best {
                epoch: epoch + 1,
                loss: now,
                parameters: learner.parameters.clone(),
            };
        }
        state.parameters.clone_from(&learner.parameters);
        (hooks.epoch)(&state)?;
    }
    let ending = match state.epochs.len() < config.epochs {
        true => Ending::EarlyStopping,
        false => Ending::Epochs,
    };
    learner.parameters = state.best.parameters;
    Ok(Curve {
        epochs: state.epochs,
        best_epoch: state.best.epoch,
        ending,
    })
}

/// The number of steps of an epoch.
pub(crate) fn steps(rows: usize, config: &TrainConfig) -> usize {
    rows.div_ceil(config.batch_size)
}

/// One pass over the training rows: the mean loss and the mean norm of the gradient.
fn run_epoch(
    learner: &mut Learner,
    training: &Examples,
    scores: &Scores,
    config: &TrainConfig,
    rate: f64,
    state: &mut State,
    hooks: &mut Hooks<'_>,
) -> Result<(f64, f64)> {
    let epoch = state.epochs.len();
    let batches = batches(training, config, epoch);
    let (mut sum, mut weight, mut norms) = (0.0, 0.0, 0.0);
    for (done, batch) in batches.iter().enumerate() {
        let counter = (epoch * batches.len() + done) as u64;
        let noise = Noise {
            probability: config.dropout,
            random: Random::stream(config.seed, Purpose::Dropout, counter),
        };
        let gather = Gather::new(batch.iter().map(|row| &training.entries[*row]));
        state.optimizer.settle(
            &mut learner.parameters,
            learner.table,
            &gather.distinct_rows(),
        );
        let choices = training.choices(batch, config.decoding);
        let (loss, gradients) =
            learner.gradient::<f32, _>(&gather, choices.as_deref(), Some(noise), |logits| {
                scores.score(training, batch, logits)
            })?;
        if !loss.mean().is_finite() {
            return Err(Error::incompatible(
                "training-loss",
                "training stopped: the loss is no finite number",
            )
            .at(format!("epoch {}, step {}", epoch + 1, done + 1))
            .hint("lower the learning rate, or look for extreme values in the dataset"));
        }
        let mut gradients: Vec<Gradient> = gradients
            .into_iter()
            .map(|(rows, values)| match rows {
                Some(rows) => Gradient::Rows(rows, values),
                None => Gradient::Dense(values),
            })
            .collect();
        let norm = clip(&mut gradients, config.clip_norm)
            .map_err(|error| error.at(format!("epoch {}, step {}", epoch + 1, done + 1)))?;
        state
            .optimizer
            .step(&mut learner.parameters, &gradients, rate);
        sum += loss.sum;
        weight += loss.weight;
        norms += norm;
        (hooks.step)(Step {
            epoch: epoch + 1,
            done: done + 1,
            steps: batches.len(),
            loss: sum / weight,
            epochs: &state.epochs,
        })?;
    }
    Ok((sum / weight, norms / batches.len() as f64))
}

/// The rows of every batch of an epoch, in a random order.
///
/// Sequences are sorted by length within windows of several batches, so that a batch holds sequences
/// of about one length.
fn batches(examples: &Examples, config: &TrainConfig, epoch: usize) -> Vec<Vec<usize>> {
    const WINDOW: usize = 16;
    let mut random = Random::stream(config.seed, Purpose::Order, epoch as u64);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    random.shuffle(&mut order);
    if !config.model.reads_tokens() {
        return order
            .chunks(config.batch_size)
            .map(<[usize]>::to_vec)
            .collect();
    }
    for window in order.chunks_mut(WINDOW * config.batch_size) {
        window.sort_by_key(|row| examples.entries[*row].time());
    }
    let mut batches: Vec<_> = order
        .chunks(config.batch_size)
        .map(<[usize]>::to_vec)
        .collect();
    random.shuffle(&mut batches);
    batches
}

/// The loss over all examples without smoothing or weights, and the share of exact matches.
fn validate(
    learner: &Learner,
    examples: &Examples,
    plain: &Scores,
    decoding: Decoding,
) -> Result<(f64, Option<f64>)> {
    let rows: Vec<usize> = (0..examples.len()).collect();
    let (mut sum, mut weight, mut exact) = (0.0, 0.0, 0);
    for batch in rows.chunks(VALIDATION_BATCH) {
        let gather = Gather::new(batch.iter().map(|row| &examples.entries[*row]));
        let choices = examples.choices(batch, decoding);
        let mut logits = learner.logits::<f32>(&gather, choices.as_deref())?;
        exact += examples.exact_matches(batch, &logits);
        let loss = plain.score(examples, batch, &mut logits)?;
        sum += loss.sum;
        weight += loss.weight;
    }
    if !(sum / weight).is_finite() {
        return Err(Error::incompatible(
            "training-loss",
            "training stopped: the validation loss is no finite number",
        ));
    }
    let share = matches!(examples.targets, Targets::Classes(_))
        .then(|| exact as f64 / examples.len() as f64);
    Ok((sum / weight, share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Entry;
    use crate::train::ModelKind;

    #[test]
    fn an_epoch_sees_every_row_once_and_sequences_among_their_like() {
        let entries = (0..200).map(|row| Entry::Tokens(vec![1; 1 + row * 37 % 90]));
        let examples = Examples {
            entries: entries.collect(),
            targets: Targets::Classes(vec![Vec::new(); 200]),
            weights: vec![1.0; 200],
        };
        let config = TrainConfig {
            batch_size: 8,
            ..TrainConfig::new(ModelKind::Transformer)
        };
        let (one, two) = (
            batches(&examples, &config, 0),
            batches(&examples, &config, 1),
        );
        assert_eq!(one.len(), steps(200, &config));
        assert_ne!(one, two);
        assert_eq!(one, batches(&examples, &config, 0));
        let mut seen: Vec<usize> = one.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
        let padding: usize = one
            .iter()
            .map(|batch| {
                let lengths = batch.iter().map(|row| examples.entries[*row].time());
                let longest = lengths.clone().max().unwrap();
                lengths.map(|length| longest - length).sum::<usize>()
            })
            .sum();
        let tokens: usize = examples.entries.iter().map(Entry::time).sum();
        assert!(padding * 4 < tokens, "{padding} of {tokens} are padding");
    }
}
