//! Heads that are conditioned on the choices of the heads before them.
//!
//! The state that head `h` reads is `relu(state + sum of E_g[choice of g])` over the heads `g` before
//! it, with one learned vector per class: `p(a) = p(a_1) p(a_2 | a_1) p(a_3 | a_1, a_2) ...`.

use amphora_checkpoint::architecture::Head;
use candle_core::{Device, Result, Tensor};

use super::layers::Activation;
use super::network::Weights;
use super::random::{Purpose, Random};
use super::{Learner, Parameter};

/// Separates the streams of these parameters from those of the architecture.
const FIRST_STREAM: u64 = 1 << 32;

fn name(head: &Head) -> String {
    format!("condition.{}.weight", head.name)
}

/// The vectors of every head that others follow, normal with deviation `1/sqrt(d)`.
pub(super) fn conditions(heads: &[Head], parameters: &[Parameter], seed: u64) -> Vec<Parameter> {
    let first = heads
        .first()
        .map(|head| format!("{}_head.weight", head.name));
    let weight = parameters.iter().find(|p| Some(&p.name) == first.as_ref());
    let width = weight.map_or(1, Parameter::width);
    let followed = heads.len().saturating_sub(1);
    heads[..followed]
        .iter()
        .enumerate()
        .map(|(index, head)| {
            let mut random = Random::stream(seed, Purpose::Initial, FIRST_STREAM + index as u64);
            let shape = vec![head.n_classes as usize, width];
            let deviation = 1.0 / (width as f64).sqrt();
            let values = (0..shape[0] * width).map(|_| (random.normal() * deviation) as f32);
            Parameter {
                name: name(head),
                values: values.collect(),
                shape,
                table: false,
            }
        })
        .collect()
}

impl Learner {
    /// The logits of every head, given the choices of the heads before it for each example.
    pub(super) fn conditioned_heads(
        &self,
        weights: &Weights,
        state: &Tensor,
        choices: &[Vec<usize>],
    ) -> Result<Vec<Tensor>> {
        let mut conditioned = state.clone();
        let mut logits = Vec::with_capacity(self.heads.len());
        for (index, head) in self.heads.iter().enumerate() {
            let state = match index {
                0 => state.clone(),
                _ => conditioned.apply_op1(Activation::Relu)?,
            };
            logits.push(weights.head(&state, &head.name)?);
            if let Some(vectors) = weights.0.get(&name(head)) {
                let classes = head.n_classes as usize;
                let chosen: Vec<f32> = choices
                    .iter()
                    .flat_map(|chosen| {
                        let chosen = chosen.get(index).copied();
                        (0..classes).map(move |class| f32::from(u8::from(chosen == Some(class))))
                    })
                    .collect();
                let chosen = Tensor::from_vec(chosen, (choices.len(), classes), &Device::Cpu)?;
                let added = chosen.to_dtype(state.dtype())?.matmul(vectors)?;
                conditioned = (conditioned + added)?;
            }
        }
        Ok(logits)
    }
}
