//! `vit`: patches of a picture as a sequence, then pre-norm layers.

use amphora_checkpoint::architecture::{Activation, VitConfig};
use amphora_error::Result;
use candle_core::{Device, Tensor};

use crate::layers::{LayerNorm, Linear, activate, attention, evaluating};
use crate::weights::{Weights, size};

pub(crate) struct Vit {
    /// `[width, channels * height * width of a patch]`
    projection: Tensor,
    projection_bias: Tensor,
    /// `[1, 1, width]`
    class: Tensor,
    /// `[1, 1 + patches, width]`
    positions: Tensor,
    patch: [usize; 2],
    layers: Vec<Layer>,
    norm: LayerNorm,
    attention_heads: usize,
    activation: Activation,
    classifier: Option<Linear>,
}

struct Layer {
    before: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    after: LayerNorm,
    inner: Linear,
    outer: Linear,
}

impl Vit {
    pub(crate) fn new(config: &VitConfig, weights: &Weights<'_>) -> Result<Self> {
        let eps = config.layer_norm_eps;
        let embedding = |name: &str| weights.tensor(&config.module(&format!("embeddings.{name}")));
        let layers = (0..config.layers).map(|index| {
            let linear = |module: &str| weights.linear(&config.layer_module(index, module));
            let norm = |module: &str| weights.layer_norm(&config.layer_module(index, module), eps);
            let projection = |part: &str| {
                let module = config.layer_module(index, &format!("attention.attention.{part}"));
                match config.qkv_bias {
                    true => weights.linear(&module),
                    false => weights.linear_without_bias(&module),
                }
            };
            Ok(Layer {
                before: norm("layernorm_before")?,
                query: projection("query")?,
                key: projection("key")?,
                value: projection("value")?,
                attended: linear("attention.output.dense")?,
                after: norm("layernorm_after")?,
                inner: linear("intermediate.dense")?,
                outer: linear("output.dense")?,
            })
        });
        let projection = embedding("patch_embeddings.projection.weight")?;
        let classifier = config.labels.map(|_| weights.linear("classifier"));
        Ok(Self {
            projection: projection.flatten_from(1).map_err(evaluating("a weight"))?,
            projection_bias: embedding("patch_embeddings.projection.bias")?,
            class: embedding("cls_token")?,
            positions: embedding("position_embeddings")?,
            patch: [size(config.patch[0])?, size(config.patch[1])?],
            layers: layers.collect::<Result<_>>()?,
            norm: weights.layer_norm(&config.module("layernorm"), eps)?,
            attention_heads: size(config.attention_heads)?,
            activation: config.activation,
            classifier: classifier.transpose()?,
        })
    }

    /// Pictures `[batch, channels, height, width]` to the one output.
    pub(crate) fn forward(&self, pixels: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let name = match self.classifier {
            Some(_) => "logits",
            None => "last_hidden_state",
        };
        let answer = self.answer(pixels).map_err(evaluating("vit"))?;
        Ok(vec![(name.to_owned(), answer)])
    }

    fn answer(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
        let batch = pixels.dim(0)?;
        let mut x = Tensor::cat(
            &[&self.class.repeat((batch, 1, 1))?, &self.patches(pixels)?],
            1,
        )?
        .broadcast_add(&self.positions)?;
        for layer in &self.layers {
            x = layer.forward(&x, self.attention_heads, self.activation)?;
        }
        let x = self.norm.forward(&x)?;
        match &self.classifier {
            None => Ok(x),
            Some(classifier) => classifier.forward(&x.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?),
        }
    }

    /// Cuts the picture into patches and projects each: `[batch, patches, width]`.
    fn patches(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, channels, height, width) = pixels.dims4()?;
        let [tall, wide] = self.patch;
        let (rows, columns) = (height / tall, width / wide);
        let cut = pixels
            .reshape(&[batch, channels, rows, tall, columns, wide][..])?
            .permute([0, 2, 4, 1, 3, 5])?
            .contiguous()?
            .reshape((batch * rows * columns, channels * tall * wide))?;
        cut.matmul(&self.projection.t()?)?
            .broadcast_add(&self.projection_bias)?
            .reshape((batch, rows * columns, self.projection.dim(0)?))
    }
}

impl Layer {
    fn forward(
        &self,
        x: &Tensor,
        heads: usize,
        activation: Activation,
    ) -> candle_core::Result<Tensor> {
        let (batch, time, width) = x.dims3()?;
        let normed = self.before.forward(x)?;
        let part = |linear: &Linear| {
            linear
                .forward(&normed)?
                .reshape((batch, time, heads, width / heads))?
                .transpose(1, 2)
        };
        let unmasked = Tensor::zeros((1, 1, 1, 1), x.dtype(), &Device::Cpu)?;
        let mixed = attention(
            &part(&self.query)?,
            &part(&self.key)?,
            &part(&self.value)?,
            &unmasked,
        )?
        .transpose(1, 2)?
        .reshape((batch, time, width))?;
        let x = (self.attended.forward(&mixed)? + x)?;
        let inner = self.inner.forward(&self.after.forward(&x)?)?;
        let inner = activate(activation, &inner)?;
        self.outer.forward(&inner)? + x
    }
}
