//! `mlp`: layers of Linear, LayerNorm, ReLU, then one linear head per decision.

use amphora_checkpoint::architecture::MlpConfig;
use amphora_error::Result;
use candle_core::Tensor;

use crate::layers::{LayerNorm, Linear, evaluating};
use crate::weights::Weights;

pub(crate) struct Mlp {
    layers: Vec<(Linear, LayerNorm)>,
    heads: Vec<(String, Linear)>,
}

impl Mlp {
    pub(crate) fn new(config: &MlpConfig, weights: &Weights<'_>) -> Result<Self> {
        let layers = config.layers().map(|layer| {
            let norm = weights.layer_norm(&layer.norm, config.layer_norm_eps)?;
            Ok((weights.linear(&layer.linear)?, norm))
        });
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            heads: weights.heads(&config.heads)?,
        })
    }

    /// Features `[batch, d_in]` to one `[batch, classes]` per head.
    pub(crate) fn forward(&self, features: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let mut x = features.clone();
        for (linear, norm) in &self.layers {
            x = linear
                .forward(&x)
                .and_then(|x| norm.forward(&x)?.relu())
                .map_err(evaluating("mlp"))?;
        }
        run_heads(&self.heads, &x)
    }
}

/// The logits of every head for the pooled state `[batch, d]`.
pub(crate) fn run_heads(heads: &[(String, Linear)], x: &Tensor) -> Result<Vec<(String, Tensor)>> {
    heads
        .iter()
        .map(|(name, head)| {
            let logits = head.forward(x).map_err(evaluating("a head"))?;
            Ok((name.clone(), logits))
        })
        .collect()
}
