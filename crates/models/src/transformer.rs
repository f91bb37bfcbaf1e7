//! `transformer`: a pre-norm encoder with learned positions and masked mean pooling.

use amphora_checkpoint::architecture::TransformerConfig;
use amphora_error::Result;
use candle_core::{DType, Tensor};

use crate::layers::{LayerNorm, Linear, attention, embed, evaluating, masked_mean};
use crate::mlp::run_heads;
use crate::weights::{Weights, size};

pub(crate) struct Transformer {
    embedding: Tensor,
    positions: Tensor,
    layers: Vec<Layer>,
    norm: LayerNorm,
    attention_heads: usize,
    heads: Vec<(String, Linear)>,
}

/// One encoder layer with PyTorch's packed query, key, value projection.
struct Layer {
    norm1: LayerNorm,
    in_proj: Linear,
    out_proj: Linear,
    norm2: LayerNorm,
    linear1: Linear,
    linear2: Linear,
}

impl Transformer {
    pub(crate) fn new(config: &TransformerConfig, weights: &Weights<'_>) -> Result<Self> {
        let eps = config.layer_norm_eps;
        let layers = (0..config.n_layers).map(|index| {
            let name = |module: &str| format!("encoder.layers.{index}.{module}");
            Ok(Layer {
                norm1: weights.layer_norm(&name("norm1"), eps)?,
                in_proj: Linear {
                    weight: weights.tensor(&name("self_attn.in_proj_weight"))?,
                    bias: Some(weights.tensor(&name("self_attn.in_proj_bias"))?),
                },
                out_proj: weights.linear(&name("self_attn.out_proj"))?,
                norm2: weights.layer_norm(&name("norm2"), eps)?,
                linear1: weights.linear(&name("linear1"))?,
                linear2: weights.linear(&name("linear2"))?,
            })
        });
        Ok(Self {
            embedding: weights.tensor("embed.weight")?,
            positions: weights.tensor("pos.weight")?,
            layers: layers.collect::<Result<_>>()?,
            norm: weights.layer_norm("encoder.norm", eps)?,
            attention_heads: size(config.n_heads)?,
            heads: weights.heads(&config.heads)?,
        })
    }

    /// `ids` (u32) and `mask` (the model's precision), both `[batch, time]`, to one
    /// `[batch, classes]` per head.
    pub(crate) fn forward(&self, ids: &Tensor, mask: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let pooled = self.encode(ids, mask).map_err(evaluating("transformer"))?;
        run_heads(&self.heads, &pooled)
    }

    fn encode(&self, ids: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        let (_, time) = ids.dims2()?;
        let positions = self.positions.narrow(0, 0, time)?;
        let mut x = embed(&self.embedding, ids)?.broadcast_add(&positions)?;
        let bias = padding_bias(mask)?;
        for layer in &self.layers {
            x = layer.forward(&x, &bias, self.attention_heads)?;
        }
        masked_mean(&self.norm.forward(&x)?, mask)
    }
}

impl Layer {
    fn forward(&self, x: &Tensor, bias: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
        let (batch, time, width) = x.dims3()?;
        let qkv = self.in_proj.forward(&self.norm1.forward(x)?)?;
        let part = |index: usize| {
            qkv.narrow(2, index * width, width)?
                .reshape((batch, time, heads, width / heads))?
                .transpose(1, 2)
        };
        let mixed = attention(&part(0)?, &part(1)?, &part(2)?, bias)?
            .transpose(1, 2)?
            .reshape((batch, time, width))?;
        let x = (x + self.out_proj.forward(&mixed)?)?;
        let inner = self.linear1.forward(&self.norm2.forward(&x)?)?.gelu_erf()?;
        x + self.linear2.forward(&inner)?
    }
}

/// 0 for a token and minus infinity for padding, as `[batch, 1, 1, time]`.
fn padding_bias(mask: &Tensor) -> candle_core::Result<Tensor> {
    let zeros = mask.zeros_like()?;
    let masked =
        Tensor::full(f64::NEG_INFINITY, mask.shape(), mask.device())?.to_dtype(mask.dtype())?;
    mask.ne(0.0)?
        .to_dtype(DType::U8)?
        .where_cond(&zeros, &masked)?
        .unsqueeze(1)?
        .unsqueeze(1)
}
