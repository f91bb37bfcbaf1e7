//! `resnet`: convolutions with recorded batch statistics, residual blocks, a classifier on the mean.

use amphora_checkpoint::architecture::{ConvolutionNorm, ResNetBlock, ResNetConfig};
use amphora_error::Result;
use candle_core::{D, Tensor};

use crate::layers::{Linear, evaluating};
use crate::weights::{Weights, size};

pub(crate) struct ResNet {
    stem: Layer,
    blocks: Vec<Block>,
    classifier: Linear,
}

struct Block {
    layers: Vec<Layer>,
    shortcut: Option<Layer>,
}

/// A convolution and its batch normalization, as `scale * conv(x) + shift` per channel.
struct Layer {
    /// `[out, in, side, side]`
    kernel: Tensor,
    /// `weight / sqrt(variance + eps)`, `[1, out, 1, 1]`
    scale: Tensor,
    /// `bias - mean * scale`, `[1, out, 1, 1]`
    shift: Tensor,
    stride: usize,
    padding: usize,
}

/// The epsilon of `torch.nn.BatchNorm2d`.
const BATCH_NORM_EPS: f64 = 1e-5;

impl ResNet {
    pub(crate) fn new(config: &ResNetConfig, weights: &Weights<'_>) -> Result<Self> {
        let blocks = config.residual_blocks();
        let blocks = blocks.iter().map(|block| Block::new(block, weights));
        Ok(Self {
            stem: Layer::new(&config.stem(), weights)?,
            blocks: blocks.collect::<Result<_>>()?,
            classifier: weights.linear(config.classifier())?,
        })
    }

    /// Pictures `[batch, channels, height, width]` to `logits`.
    pub(crate) fn forward(&self, pixels: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let logits = self.logits(pixels).map_err(evaluating("resnet"))?;
        Ok(vec![("logits".to_owned(), logits)])
    }

    fn logits(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
        let x = self.stem.forward(pixels)?.relu()?;
        // Nothing is below zero after the ReLU, so that a border of zeros never is the largest.
        let padded = x.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?;
        let mut x = padded.max_pool2d_with_stride(3, 2)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.classifier
            .forward(&x.mean(D::Minus1)?.mean(D::Minus1)?)
    }
}

impl Block {
    fn new(block: &ResNetBlock, weights: &Weights<'_>) -> Result<Self> {
        let layers = block.convolutions.iter();
        let layers = layers.map(|layer| Layer::new(layer, weights));
        let shortcut = block.shortcut.as_ref();
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            shortcut: shortcut
                .map(|layer| Layer::new(layer, weights))
                .transpose()?,
        })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let kept = match &self.shortcut {
            Some(layer) => layer.forward(x)?,
            None => x.clone(),
        };
        let mut y = x.clone();
        for (place, layer) in self.layers.iter().enumerate() {
            y = match place {
                0 => layer.forward(&y)?,
                _ => layer.forward(&y.relu()?)?,
            };
        }
        (y + kept)?.relu()
    }
}

impl Layer {
    fn new(layer: &ConvolutionNorm, weights: &Weights<'_>) -> Result<Self> {
        let norm = |part: &str| weights.tensor(&format!("{}.{part}", layer.norm));
        let [weight, bias, mean, variance] = [
            norm("weight")?,
            norm("bias")?,
            norm("running_mean")?,
            norm("running_var")?,
        ];
        let folded = || {
            let scale = (weight / (variance + BATCH_NORM_EPS)?.sqrt()?)?;
            let shift = (bias - (mean * &scale)?)?;
            let channels = (1, scale.elem_count(), 1, 1);
            Ok((scale.reshape(channels)?, shift.reshape(channels)?))
        };
        let (scale, shift) = folded().map_err(evaluating("a batch normalization"))?;
        Ok(Self {
            kernel: weights.tensor(&format!("{}.weight", layer.conv))?,
            scale,
            shift,
            stride: size(layer.stride)?,
            padding: size(layer.padding())?,
        })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.conv2d(&self.kernel, self.padding, self.stride, 1, 1)?
            .broadcast_mul(&self.scale)?
            .broadcast_add(&self.shift)
    }
}
