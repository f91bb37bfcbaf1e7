//! `conv2d_fsq`: a convolutional encoder, finite scalar quantization, and a classifier on the code.

use amphora_checkpoint::architecture::{Activation, Conv2dFsqConfig, Convolution};
use amphora_error::Result;
use candle_core::{D, DType, Tensor};

use crate::layers::{LayerNorm, Linear, activate, evaluating, round_half_even, softmax};
use crate::weights::{Weights, size};

pub(crate) struct Conv2dFsq {
    stages: Vec<Stage>,
    to_codes: Linear,
    quantizer: Quantizer,
    from_codes: Linear,
    head_norm: LayerNorm,
    head: Linear,
}

/// A convolution, batch normalization with the recorded statistics, and an activation. Stride and
/// padding concern the last dimension only.
struct Stage {
    /// `[out, in / groups, height, width]`.
    kernel: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    scale: Tensor,
    shift: Tensor,
    stride: usize,
    padding: usize,
    groups: usize,
    activation: Activation,
}

/// Finite scalar quantization (Mentzer et al. 2023). All tensors have one element per level.
struct Quantizer {
    half_l: Tensor,
    offset: Tensor,
    shift: Tensor,
    half_width: Tensor,
    basis: Tensor,
}

/// The epsilon of `torch.nn.BatchNorm2d`.
const BATCH_NORM_EPS: f64 = 1e-5;
/// The epsilon of `torch.nn.LayerNorm`.
const LAYER_NORM_EPS: f64 = 1e-5;

/// What one forward pass gives, one row per window.
pub(crate) struct Classified {
    pub(crate) codes: Tensor,
    pub(crate) confidence: Tensor,
    pub(crate) logits: Tensor,
    /// Distance of the nearest coordinate to a rounding border, in `[0, 0.5]`, one per row.
    pub(crate) rounding_margin: Tensor,
}

impl Conv2dFsq {
    pub(crate) fn new(config: &Conv2dFsqConfig, weights: &Weights<'_>) -> Result<Self> {
        let stages = config.convolutions();
        let stages = stages.iter().map(|layer| Stage::new(layer, weights));
        Ok(Self {
            stages: stages.collect::<Result<_>>()?,
            to_codes: weights.linear("to_codes")?,
            quantizer: Quantizer::new(config, weights)?,
            from_codes: weights.linear("from_codes")?,
            head_norm: weights.layer_norm("head.0", LAYER_NORM_EPS)?,
            head: weights.linear("head.3")?,
        })
    }

    /// A window `[batch, channels, sensors, time]` to its code, confidence and logits.
    pub(crate) fn forward(&self, window: &Tensor) -> Result<Classified> {
        self.evaluate(window).map_err(evaluating("conv2d_fsq"))
    }

    fn evaluate(&self, window: &Tensor) -> candle_core::Result<Classified> {
        let mut x = window.clone();
        for stage in &self.stages {
            x = stage.forward(&x)?;
        }
        let z = self
            .to_codes
            .forward(&x.mean(D::Minus1)?.mean(D::Minus1)?)?;
        let quantizer = &self.quantizer;
        let bounded = quantizer.bound(&z)?;
        let rounded = round_half_even(&bounded)?;
        let distance = (&bounded - &rounded)?.abs()?;
        let quantized = rounded.broadcast_div(&quantizer.half_width)?;
        let codes = round_half_even(
            &rounded
                .broadcast_add(&quantizer.half_width)?
                .broadcast_mul(&quantizer.basis)?
                .sum(D::Minus1)?,
        )?;
        let state = self.from_codes.forward(&quantized)?;
        let logits = self
            .head
            .forward(&self.head_norm.forward(&state)?.relu()?)?;
        Ok(Classified {
            codes: codes.to_dtype(DType::I64)?,
            confidence: softmax(&logits)?.max(D::Minus1)?,
            logits,
            rounding_margin: distance.max(D::Minus1)?.affine(-1.0, 0.5)?,
        })
    }
}

impl Quantizer {
    fn new(config: &Conv2dFsqConfig, weights: &Weights<'_>) -> Result<Self> {
        let levels: Vec<f64> = config
            .fsq_levels
            .iter()
            .map(|&level| level as f64)
            .collect();
        let half_l = |level: f64| (level - 1.0) * (1.0 + config.fsq_eps) / 2.0;
        let offset = |level: f64| if level % 2.0 == 0.0 { 0.5 } else { 0.0 };
        let shape = [levels.len()];
        let buffer = |name: &str, of: &dyn Fn(f64) -> f64| {
            weights.buffer(name, &shape, || {
                levels.iter().map(|&level| of(level)).collect()
            })
        };
        Ok(Self {
            half_l: buffer("fsq.half_l", &half_l)?,
            offset: buffer("fsq.offset", &offset)?,
            shift: buffer("fsq.shift", &|level| {
                (offset(level) / half_l(level)).atanh()
            })?,
            half_width: buffer("fsq.half_width", &|level| (level / 2.0).floor())?,
            basis: weights.buffer("fsq.basis", &shape, || {
                let products = levels.iter().scan(1.0, |product, level| {
                    let basis = *product;
                    *product *= level;
                    Some(basis)
                });
                products.collect()
            })?,
        })
    }

    fn bound(&self, z: &Tensor) -> candle_core::Result<Tensor> {
        z.broadcast_add(&self.shift)?
            .tanh()?
            .broadcast_mul(&self.half_l)?
            .broadcast_sub(&self.offset)
    }
}

impl Stage {
    fn new(layer: &Convolution, weights: &Weights<'_>) -> Result<Self> {
        let conv = |part: &str| weights.tensor(&format!("{}.{part}", layer.conv));
        let norm = |part: &str| weights.tensor(&format!("{}.{part}", layer.norm));
        Ok(Self {
            kernel: conv("weight")?,
            bias: conv("bias")?,
            mean: norm("running_mean")?,
            variance: norm("running_var")?,
            scale: norm("weight")?,
            shift: norm("bias")?,
            stride: size(layer.stride)?,
            padding: size(layer.padding)?,
            groups: size(layer.groups)?,
            activation: layer.activation,
        })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let padded = x.pad_with_zeros(3, self.padding, self.padding)?;
        // candle has one stride for both dimensions: convolve at every column, then drop some.
        let dense = padded.conv2d(&self.kernel, 0, 1, 1, self.groups)?;
        let columns: Vec<u32> = (0..dense.dim(3)? as u32).step_by(self.stride).collect();
        let columns = Tensor::new(columns, x.device())?;
        let x = dense.index_select(&columns, 3)?;
        let channel = |t: &Tensor| t.reshape((1, t.elem_count(), 1, 1));
        let x = x
            .broadcast_add(&channel(&self.bias)?)?
            .broadcast_sub(&channel(&self.mean)?)?
            .broadcast_div(&channel(&(&self.variance + BATCH_NORM_EPS)?.sqrt()?)?)?
            .broadcast_mul(&channel(&self.scale)?)?
            .broadcast_add(&channel(&self.shift)?)?;
        activate(self.activation, &x)
    }
}
