//! `bert`, `roberta`, `distilbert`: token, position and segment embeddings, then post-norm layers.

use amphora_checkpoint::architecture::{Activation, EncoderConfig, EncoderTask, Positions};
use amphora_error::Result;
use candle_core::{Device, Tensor};

use crate::layers::{LayerNorm, Linear, activate, attention, embed, evaluating};
use crate::weights::{Weights, size};

pub(crate) struct Encoder {
    words: Tensor,
    positions: Tensor,
    /// The segment table.
    kinds: Option<Tensor>,
    norm: LayerNorm,
    layers: Vec<Layer>,
    attention_heads: usize,
    /// The id of padding, where positions are counted from it.
    counted_from: Option<u32>,
    activation: Activation,
    head: Head,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    outer_norm: LayerNorm,
}

enum Head {
    Features,
    Sequence(Linear, Activation, Linear),
    Tokens(Linear),
    Vocabulary(Linear, Activation, LayerNorm, Linear),
}

impl Encoder {
    pub(crate) fn new(config: &EncoderConfig, weights: &Weights<'_>) -> Result<Self> {
        let eps = config.layer_norm_eps;
        let embedding = |name: &str| config.module(&format!("embeddings.{name}"));
        let names = &config.family.layer;
        let layers = (0..config.layers).map(|index| {
            let linear = |module: &str| weights.linear(&config.layer_module(index, module));
            let norm = |module: &str| weights.layer_norm(&config.layer_module(index, module), eps);
            Ok(Layer {
                query: linear(names.query)?,
                key: linear(names.key)?,
                value: linear(names.value)?,
                attended: linear(names.attended)?,
                attended_norm: norm(names.attended_norm)?,
                inner: linear(names.inner)?,
                outer: linear(names.outer)?,
                outer_norm: norm(names.outer_norm)?,
            })
        });
        let classifier = &config.family.classifier;
        Ok(Self {
            words: weights.tensor(&config.words())?,
            positions: weights.tensor(&embedding("position_embeddings.weight"))?,
            kinds: match config.segments {
                0 => None,
                _ => Some(weights.tensor(&embedding("token_type_embeddings.weight"))?),
            },
            norm: weights.layer_norm(&embedding("LayerNorm"), eps)?,
            layers: layers.collect::<Result<_>>()?,
            attention_heads: size(config.attention_heads)?,
            counted_from: match config.family.positions {
                Positions::FromZero => None,
                Positions::AfterPadding => Some(config.pad_id as u32),
            },
            activation: config.activation,
            head: match config.task {
                EncoderTask::Features => Head::Features,
                EncoderTask::SequenceClassification { .. } => Head::Sequence(
                    weights.linear(classifier.dense)?,
                    classifier.activation,
                    weights.linear(classifier.output)?,
                ),
                EncoderTask::TokenClassification { .. } => {
                    Head::Tokens(weights.linear("classifier")?)
                }
                EncoderTask::MaskedLm { .. } => {
                    let head = &config.family.masked_lm;
                    let logits = Linear {
                        weight: weights.tensor(&config.masked_lm_rows())?,
                        bias: Some(weights.tensor(head.bias)?),
                    };
                    Head::Vocabulary(
                        weights.linear(head.dense)?,
                        config.masked_lm_activation(),
                        weights.layer_norm(head.norm, eps)?,
                        logits,
                    )
                }
            },
        })
    }

    /// `ids` and `segments` (u32) and `mask` (the model's precision), all `[batch, time]`, to the one
    /// output.
    pub(crate) fn forward(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        segments: Option<&Tensor>,
    ) -> Result<Vec<(String, Tensor)>> {
        let name = match self.head {
            Head::Features => "last_hidden_state",
            Head::Sequence(..) | Head::Tokens(_) | Head::Vocabulary(..) => "logits",
        };
        let answer = self
            .answer(ids, mask, segments)
            .map_err(evaluating("a text encoder"))?;
        Ok(vec![(name.to_owned(), answer)])
    }

    fn answer(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        segments: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let mut x = embed(&self.words, ids)?;
        if let Some(kinds) = &self.kinds {
            let first = ids.zeros_like()?;
            x = (x + embed(kinds, segments.unwrap_or(&first))?)?;
        }
        let x = (x + embed(&self.positions, &self.places(ids)?)?)?;
        let mut x = self.norm.forward(&x)?;
        let padding = mask.affine(-1.0, 1.0)?;
        let bias = (padding * f64::from(f32::MIN))?
            .unsqueeze(1)?
            .unsqueeze(1)?;
        for layer in &self.layers {
            x = layer.forward(&x, &bias, self.attention_heads, self.activation)?;
        }
        match &self.head {
            Head::Features => Ok(x),
            Head::Tokens(linear) => linear.forward(&x),
            Head::Vocabulary(dense, activation, norm, logits) => {
                let hidden = activate(*activation, &dense.forward(&x)?)?;
                logits.forward(&norm.forward(&hidden)?)
            }
            Head::Sequence(dense, activation, output) => {
                let first = x.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
                output.forward(&activate(*activation, &dense.forward(&first)?)?)
            }
        }
    }

    /// The rows of the position table.
    fn places(&self, ids: &Tensor) -> candle_core::Result<Tensor> {
        let rows: Vec<Vec<u32>> = ids.to_vec2()?;
        let place = |row: Vec<u32>| -> Vec<u32> {
            let mut count = 0;
            (0..)
                .zip(row)
                .map(|(place, id)| match self.counted_from {
                    None => place,
                    Some(padding) if id == padding => padding,
                    Some(padding) => {
                        count += 1;
                        padding + count
                    }
                })
                .collect()
        };
        let places: Vec<u32> = rows.into_iter().flat_map(place).collect();
        Tensor::from_vec(places, ids.shape(), &Device::Cpu)
    }
}

impl Layer {
    fn forward(
        &self,
        x: &Tensor,
        bias: &Tensor,
        heads: usize,
        activation: Activation,
    ) -> candle_core::Result<Tensor> {
        let (batch, time, width) = x.dims3()?;
        let part = |linear: &Linear| {
            linear
                .forward(x)?
                .reshape((batch, time, heads, width / heads))?
                .transpose(1, 2)
        };
        let mixed = attention(
            &part(&self.query)?,
            &part(&self.key)?,
            &part(&self.value)?,
            bias,
        )?
        .transpose(1, 2)?
        .reshape((batch, time, width))?;
        let x = self
            .attended_norm
            .forward(&(self.attended.forward(&mixed)? + x)?)?;
        let inner = activate(activation, &self.inner.forward(&x)?)?;
        self.outer_norm.forward(&(self.outer.forward(&inner)? + x)?)
    }
}
