//! `urm`: one tied block run several times, with rotary positions and a gated MLP.

use amphora_checkpoint::architecture::{FeedForward, UrmConfig};
use amphora_error::Result;
use candle_core::{D, Tensor};

use crate::layers::{Linear, RmsNorm, attention, embed, evaluating, masked_mean};
use crate::mlp::run_heads;
use crate::weights::{Weights, size};

pub(crate) struct Urm {
    embedding: Tensor,
    /// One learned vector per turn of the loop.
    steps: Tensor,
    /// Cosine and sine of the rotary angles, `[max_len, head width]`.
    rotary: (Tensor, Tensor),
    block: Block,
    norm: RmsNorm,
    /// Added to the attention scores of padding positions.
    mask_bias: f64,
    heads: Vec<(String, Linear)>,
}

/// The tied block, normalized after each residual sum.
struct Block {
    attention_heads: usize,
    qkv: Linear,
    output: Linear,
    attention_norm: RmsNorm,
    mlp_norm: RmsNorm,
    mlp: SwiGlu,
}

/// `down(silu(gate) * up)`, with an optional causal depthwise convolution and a second SiLU before
/// the down projection (ConvSwiGLU).
struct SwiGlu {
    gate_up: Linear,
    down: Linear,
    /// Kernel `[inner, 1, width]` and bias `[inner]`.
    convolution: Option<(Tensor, Tensor)>,
}

impl Urm {
    pub(crate) fn new(config: &UrmConfig, weights: &Weights<'_>) -> Result<Self> {
        let eps = config.rms_norm_eps;
        let convolution = match config.feed_forward {
            FeedForward::SwiGlu => None,
            FeedForward::ConvSwiGlu { .. } => Some((
                weights.tensor("block.mlp.dwconv.weight")?,
                weights.tensor("block.mlp.dwconv.bias")?,
            )),
        };
        let shape = [size(config.max_len)?, size(config.d_head())?];
        let angles = |function: fn(f64) -> f64| move || rotary_table(config, function);
        Ok(Self {
            embedding: weights.tensor("embed.weight")?,
            steps: weights.tensor("step.weight")?,
            rotary: (
                weights.buffer("rope_cos", &shape, angles(f64::cos))?,
                weights.buffer("rope_sin", &shape, angles(f64::sin))?,
            ),
            block: Block {
                attention_heads: size(config.n_heads)?,
                qkv: weights.linear_without_bias("block.qkv_proj")?,
                output: weights.linear_without_bias("block.o_proj")?,
                attention_norm: weights.rms_norm("block.attn_norm", eps)?,
                mlp_norm: weights.rms_norm("block.mlp_norm", eps)?,
                mlp: SwiGlu {
                    gate_up: weights.linear_without_bias("block.mlp.gate_up_proj")?,
                    down: weights.linear_without_bias("block.mlp.down_proj")?,
                    convolution,
                },
            },
            norm: weights.rms_norm("norm", eps)?,
            mask_bias: config.mask_bias,
            heads: weights.heads(&config.heads)?,
        })
    }

    /// `ids` (u32) and `mask` (the model's precision), both `[batch, time]`, to one
    /// `[batch, classes]` per head.
    pub(crate) fn forward(&self, ids: &Tensor, mask: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let pooled = self.encode(ids, mask).map_err(evaluating("urm"))?;
        run_heads(&self.heads, &pooled)
    }

    fn encode(&self, ids: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        let (_, time) = ids.dims2()?;
        let embedded = embed(&self.embedding, ids)?;
        let bias = mask
            .affine(-self.mask_bias, self.mask_bias)?
            .unsqueeze(1)?
            .unsqueeze(1)?;
        let cos = self.rotary.0.narrow(0, 0, time)?;
        let sin = self.rotary.1.narrow(0, 0, time)?;
        let mut x = embedded.zeros_like()?;
        for step in 0..self.steps.dim(0)? {
            let input = (x + &embedded)?.broadcast_add(&self.steps.get(step)?)?;
            x = self.block.forward(&input, &bias, &cos, &sin)?;
        }
        masked_mean(&self.norm.forward(&x)?, mask)
    }
}

impl Block {
    fn forward(
        &self,
        x: &Tensor,
        bias: &Tensor,
        cos: &Tensor,
        sin: &Tensor,
    ) -> candle_core::Result<Tensor> {
        let (batch, time, width) = x.dims3()?;
        let heads = self.attention_heads;
        let qkv = self
            .qkv
            .forward(x)?
            .reshape((batch, time, 3, heads, width / heads))?
            .permute((2, 0, 3, 1, 4))?;
        let q = rotate(&qkv.get(0)?, cos, sin)?;
        let k = rotate(&qkv.get(1)?, cos, sin)?;
        let mixed = attention(&q, &k, &qkv.get(2)?, bias)?
            .transpose(1, 2)?
            .reshape((batch, time, width))?;
        let x = self
            .attention_norm
            .forward(&(x + self.output.forward(&mixed)?)?)?;
        self.mlp_norm.forward(&(&x + self.mlp.forward(&x)?)?)
    }
}

/// `function(position / theta^(2i / d))` for every position and `i` in `0..d/2`, the row repeated
/// twice: `[max_len, d]`.
fn rotary_table(config: &UrmConfig, function: fn(f64) -> f64) -> Vec<f64> {
    let width = config.d_head();
    let frequencies: Vec<f64> = (0..width / 2)
        .map(|i| 1.0 / config.rope_theta.powf((2 * i) as f64 / width as f64))
        .collect();
    (0..config.max_len)
        .flat_map(|position| {
            let row = frequencies.iter().chain(&frequencies);
            row.map(move |frequency| function(position as f64 * frequency))
        })
        .collect()
}

/// Rotary positions (Su et al. 2021) in the half-rotation form: `x cos + (-x2, x1) sin`.
fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> candle_core::Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let first = x.narrow(D::Minus1, 0, half)?;
    let second = x.narrow(D::Minus1, half, half)?;
    let turned = Tensor::cat(&[&second.neg()?, &first], D::Minus1)?;
    x.broadcast_mul(cos)? + turned.broadcast_mul(sin)?
}

impl SwiGlu {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let both = self.gate_up.forward(x)?;
        let inner = both.dim(D::Minus1)? / 2;
        let gate = both.narrow(D::Minus1, 0, inner)?.silu()?;
        let mut hidden = (gate * both.narrow(D::Minus1, inner, inner)?)?;
        if let Some((kernel, bias)) = &self.convolution {
            hidden = causal_depthwise(&hidden, kernel, bias)?.silu()?;
        }
        self.down.forward(&hidden)
    }
}

/// Each channel of `x` (`[batch, time, channels]`) convolved over time with its own kernel; the
/// output at a position sees that position and those before it only.
fn causal_depthwise(x: &Tensor, kernel: &Tensor, bias: &Tensor) -> candle_core::Result<Tensor> {
    let time = x.dim(1)?;
    let width = kernel.dim(2)?;
    let padded = x.pad_with_zeros(1, width.saturating_sub(1), 0)?;
    let mut sum = x.zeros_like()?.broadcast_add(bias)?;
    for tap in 0..width {
        let weight = kernel.narrow(2, tap, 1)?.flatten_all()?;
        sum = (sum + padded.narrow(1, tap, time)?.broadcast_mul(&weight)?)?;
    }
    Ok(sum)
}
