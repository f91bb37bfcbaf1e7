//! One forward pass over a batch, with or without the gradient.

use std::sync::Arc;

use amphora_error::{Error, Result};
use candle_core::{Tensor, Var};

use super::entry::Gather;
use super::network::{Noise, Weights};
use super::op::{read, tensor};
use super::real::Real;
use super::{Learner, Parameter};

/// Logits of every head, `[batch][classes]` row-major.
pub(crate) type Logits = Vec<Vec<f64>>;

/// The gradient of one parameter in the precision of the pass: the touched rows of a table, or every
/// element.
pub(crate) type PassGradient<T> = (Option<Vec<u32>>, Vec<T>);

/// Wraps an error of candle.
pub(super) fn computing(source: candle_core::Error) -> Error {
    let text = source.to_string();
    let reason = text.lines().next().unwrap_or_default().to_owned();
    Error::internal("training-arithmetic", format!("a layer failed: {reason}"))
}

impl Learner {
    /// The logits for a batch, without dropout. `choices` are the classes that conditioned heads
    /// assume of the heads before them, one list per example.
    pub(crate) fn logits<T: Real>(
        &self,
        batch: &Gather,
        choices: Option<&[Vec<usize>]>,
    ) -> Result<Logits> {
        let weights = self.weights::<T>(|values, shape| tensor(values, shape))?;
        let gathered = tensor(self.gathered::<T>(batch), self.entry_shape(batch));
        let logits = gathered
            .and_then(|gathered| self.heads_of(&weights, &gathered, batch, choices, &mut None));
        logits
            .and_then(|logits| logits.iter().map(values::<T>).collect())
            .map_err(computing)
    }

    /// One pass with its gradient: `loss` turns the logits into a loss and writes the loss's gradient
    /// over them. Returns the loss and the gradients in the order of the parameters.
    pub(crate) fn gradient<T: Real, L>(
        &self,
        batch: &Gather,
        choices: Option<&[Vec<usize>]>,
        mut noise: Option<Noise>,
        loss: impl FnOnce(&mut Logits) -> Result<L>,
    ) -> Result<(L, Vec<PassGradient<T>>)> {
        let variable = |values: Vec<T>, shape: &[usize]| {
            Ok(Var::from_tensor(&tensor(values, shape)?)?.into_inner())
        };
        let weights = self.weights(|values, shape| variable(values, shape))?;
        let shape = self.entry_shape(batch);
        let gathered = variable(self.gathered(batch), &shape).map_err(computing)?;
        let logits = self
            .heads_of(&weights, &gathered, batch, choices, &mut noise)
            .map_err(computing)?;

        let mut values: Logits = logits
            .iter()
            .map(values::<T>)
            .collect::<candle_core::Result<_>>()
            .map_err(computing)?;
        let loss = loss(&mut values)?;
        let gradients = self
            .backward::<T>(&weights, &gathered, batch, &logits, values)
            .map_err(computing)?;
        Ok((loss, gradients))
    }

    fn backward<T: Real>(
        &self,
        weights: &Weights,
        gathered: &Tensor,
        batch: &Gather,
        logits: &[Tensor],
        by_logit: Logits,
    ) -> candle_core::Result<Vec<PassGradient<T>>> {
        // The sum of every logit times its gradient has the gradient of the loss.
        let mut sum: Option<Tensor> = None;
        for (logits, gradient) in logits.iter().zip(by_logit) {
            let gradient: Vec<T> = gradient.into_iter().map(T::from_f64).collect();
            let term = (logits * tensor(gradient, logits.shape())?)?.sum_all()?;
            sum = Some(match sum {
                Some(sum) => (sum + term)?,
                None => term,
            });
        }
        let Some(sum) = sum else {
            return Ok(Vec::new());
        };
        let store = sum.backward()?;
        let gradient = |parameter: &Parameter| {
            if parameter.table {
                let width = parameter.width();
                let (rows, values) = match store.get(gathered) {
                    Some(grad) => read::<T, _>(grad, |grad| batch.backward(grad, width))?,
                    None => (Vec::new(), Vec::new()),
                };
                return Ok((Some(rows), values));
            }
            let tensor = weights.0.get(&parameter.name);
            let values = match tensor.and_then(|tensor| store.get(tensor)) {
                Some(grad) => read::<T, _>(grad, <[T]>::to_vec)?,
                None => vec![T::default(); parameter.values.len()],
            };
            Ok((None, values))
        };
        self.parameters.iter().map(gradient).collect()
    }

    /// What the entry gathers from the table for this batch.
    fn gathered<T: Real>(&self, batch: &Gather) -> Vec<T> {
        let table = &self.parameters[self.table];
        batch.forward(&T::of(&table.values), table.width())
    }

    fn entry_shape(&self, batch: &Gather) -> Vec<usize> {
        let width = self.parameters[self.table].width();
        match self.positions {
            Some(_) => vec![batch.examples(), batch.time, width],
            None => vec![batch.examples(), width],
        }
    }

    fn weights<T: Real>(
        &self,
        make: impl Fn(Vec<T>, &[usize]) -> candle_core::Result<Tensor>,
    ) -> Result<Weights> {
        let dense = self.parameters.iter().filter(|parameter| !parameter.table);
        let named = dense.map(|parameter| {
            let values = T::of(&parameter.values).into_owned();
            Ok((parameter.name.clone(), make(values, &parameter.shape)?))
        });
        let named: candle_core::Result<_> = named.collect();
        named.map(Weights).map_err(computing)
    }

    fn heads_of(
        &self,
        weights: &Weights,
        gathered: &Tensor,
        batch: &Gather,
        choices: Option<&[Vec<usize>]>,
        noise: &mut Option<Noise>,
    ) -> candle_core::Result<Vec<Tensor>> {
        let lengths: Arc<[usize]> = batch.lengths.as_slice().into();
        let state = self.network.state(weights, gathered, &lengths, noise)?;
        match choices {
            Some(choices) => self.conditioned_heads(weights, &state, choices),
            None => self
                .heads
                .iter()
                .map(|head| weights.head(&state, &head.name))
                .collect(),
        }
    }
}

fn values<T: Real>(tensor: &Tensor) -> candle_core::Result<Vec<f64>> {
    read::<T, _>(tensor, |x| x.iter().map(|x| x.to_f64()).collect())
}
