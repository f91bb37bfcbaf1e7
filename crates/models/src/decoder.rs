//! `gpt2`, `llama`, `qwen2`, `qwen3`: pre-norm decoders with causal attention and a cache of keys and
//! values.

use amphora_checkpoint::architecture::{
    Activation, DecoderConfig, DecoderPositions, DecoderTask, FeedForwardModules, MatrixLayout,
    Norm, Projections,
};
use amphora_error::Result;
use candle_core::{D, DType, Device, Tensor};

use crate::layers::{LayerNorm, Linear, RmsNorm, activate, embed, evaluating, softmax};
use crate::rotary::Angles;
use crate::weights::{Weights, size};

pub(crate) struct Decoder {
    tokens: Tensor,
    /// The table of positions.
    places: Option<Tensor>,
    angles: Option<Angles>,
    layers: Vec<Layer>,
    norm: Normalization,
    /// To the logits; none where hidden states come out.
    head: Option<Linear>,
    shape: Heads,
    activation: Activation,
}

#[derive(Clone, Copy)]
struct Heads {
    queries: usize,
    groups: usize,
    width: usize,
}

enum Normalization {
    Layer(LayerNorm),
    RootMeanSquare(RmsNorm),
}

struct Layer {
    attention_norm: Normalization,
    /// Queries, keys and values side by side.
    projections: Vec<Linear>,
    query_norm: Option<Normalization>,
    key_norm: Option<Normalization>,
    attended: Linear,
    feed_forward_norm: Normalization,
    gate: Option<Linear>,
    inner: Linear,
    outer: Linear,
}

/// Keys and values of one layer, `[batch, kv_heads, time, d_head]`.
pub(crate) type KeysAndValues = (Tensor, Tensor);

impl Decoder {
    pub(crate) fn new(config: &DecoderConfig, weights: &Weights<'_>) -> Result<Self> {
        let family = config.family;
        let table = |name: &str| weights.tensor(&config.module(&format!("{name}.weight")));
        let layers = (0..config.layers).map(|index| Layer::new(config, weights, index));
        Ok(Self {
            tokens: table(family.tokens)?,
            places: match family.positions {
                DecoderPositions::Table(name) => Some(table(name)?),
                DecoderPositions::Rotary => None,
            },
            angles: match &config.rotary {
                Some(rotary) => Some(Angles::new(rotary, size(config.d_head)?, weights.precision)),
                None => None,
            },
            layers: layers.collect::<Result<_>>()?,
            norm: normalization(config, weights, &config.module(family.final_norm))?,
            head: match config.task {
                DecoderTask::Features => None,
                DecoderTask::CausalLm => Some(Linear {
                    weight: weights.tensor(&config.head())?,
                    bias: None,
                }),
            },
            shape: Heads {
                queries: size(config.attention_heads)?,
                groups: size(config.kv_heads)?,
                width: size(config.d_head)?,
            },
            activation: config.activation,
        })
    }

    /// `ids` (u32, `[batch, time]`) behind `past`, one pair for each layer or none at all; `mask`
    /// (`[batch, past + time]`, 1 for tokens) over both. Logits or hidden states first, then with a head
    /// the keys and values of every layer.
    pub(crate) fn forward(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        past: &[KeysAndValues],
    ) -> Result<Vec<(String, Tensor)>> {
        let (answer, cache) = self
            .answer(ids, mask, past)
            .map_err(evaluating("a decoder"))?;
        if self.head.is_none() {
            return Ok(vec![("last_hidden_state".to_owned(), answer)]);
        }
        let mut outputs = vec![("logits".to_owned(), answer)];
        for (layer, (keys, values)) in cache.into_iter().enumerate() {
            outputs.push((format!("present_key_{layer}"), keys));
            outputs.push((format!("present_value_{layer}"), values));
        }
        Ok(outputs)
    }

    fn answer(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        past: &[KeysAndValues],
    ) -> candle_core::Result<(Tensor, Vec<KeysAndValues>)> {
        let (_, time) = ids.dims2()?;
        let mask: Vec<Vec<f64>> = mask.to_dtype(DType::F64)?.to_vec2()?;
        let kept = |row: &Vec<f64>| row.iter().map(|kept| *kept != 0.0).collect();
        let mask: Vec<Vec<bool>> = mask.iter().map(kept).collect();
        let places: Vec<Vec<u32>> = mask.iter().map(|row| places(row, time)).collect();
        let mut x = embed(&self.tokens, ids)?;
        if let Some(table) = &self.places {
            x = (x + embed(table, &Tensor::new(places.clone(), &Device::Cpu)?)?)?;
        }
        let waves = match &self.angles {
            Some(angles) => Some(angles.waves(&places)?),
            None => None,
        };
        let bias = causal_bias(&mask, time)?.to_dtype(x.dtype())?;
        let mut cache = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let scene = Scene {
                bias: &bias,
                waves: waves.as_ref(),
                past: past.get(index),
                heads: self.shape,
                activation: self.activation,
            };
            let (next, keys_and_values) = layer.forward(&x, &scene)?;
            x = next;
            cache.push(keys_and_values);
        }
        let x = self.norm.forward(&x)?;
        match &self.head {
            Some(head) => Ok((head.forward(&x)?, cache)),
            None => Ok((x, cache)),
        }
    }
}

/// The places of the last `time` tokens among those that are kept; padding is at 0.
fn places(kept: &[bool], time: usize) -> Vec<u32> {
    let mut count = 0;
    let places = kept.iter().map(|kept| {
        count += u32::from(*kept);
        if *kept { count - 1 } else { 0 }
    });
    let places: Vec<u32> = places.collect();
    places[kept.len() - time..].to_vec()
}

/// 0 where a token sees another, the least finite float32 where that comes later or is padding:
/// `[batch, 1, time, total]`.
fn causal_bias(mask: &[Vec<bool>], time: usize) -> candle_core::Result<Tensor> {
    let total = mask.first().map_or(0, Vec::len);
    let mut bias = Vec::with_capacity(mask.len() * time * total);
    for kept in mask {
        for query in total - time..total {
            let seen = |key: usize| kept[key] && key <= query;
            bias.extend((0..total).map(|key| if seen(key) { 0.0 } else { f64::from(f32::MIN) }));
        }
    }
    Tensor::from_vec(bias, (mask.len(), 1, time, total), &Device::Cpu)
}

/// What the layers are told beside the residual stream.
struct Scene<'a> {
    bias: &'a Tensor,
    /// Cosines and sines, `[batch, 1, time, d_head]`.
    waves: Option<&'a (Tensor, Tensor)>,
    past: Option<&'a KeysAndValues>,
    heads: Heads,
    activation: Activation,
}

impl Layer {
    fn new(config: &DecoderConfig, weights: &Weights<'_>, index: u64) -> Result<Self> {
        let modules = &config.family.layer;
        let name = |module: &str| config.layer_module(index, module);
        let norm = |module: &str| normalization(config, weights, &name(module));
        let linear = |module: &str, bias: bool| linear(config, weights, &name(module), bias);
        let bias = config.projection_bias;
        let projections = match modules.projections {
            Projections::Packed(packed) => vec![linear(packed, bias)?],
            Projections::Separate { query, key, value } => vec![
                linear(query, bias)?,
                linear(key, bias)?,
                linear(value, bias)?,
            ],
        };
        let [query_norm, key_norm] = match modules.query_key_norms {
            Some([query, key]) => [Some(norm(query)?), Some(norm(key)?)],
            None => [None, None],
        };
        let bias = config.feed_forward_bias;
        let (gate, inner, outer) = match modules.feed_forward {
            FeedForwardModules::Plain { inner, outer } => (None, inner, outer),
            FeedForwardModules::Gated { gate, up, down } => (Some(linear(gate, bias)?), up, down),
        };
        Ok(Self {
            attention_norm: norm(modules.attention_norm)?,
            projections,
            query_norm,
            key_norm,
            attended: linear(modules.attended, config.attended_bias)?,
            feed_forward_norm: norm(modules.feed_forward_norm)?,
            gate,
            inner: linear(inner, bias)?,
            outer: linear(outer, bias)?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        scene: &Scene<'_>,
    ) -> candle_core::Result<(Tensor, KeysAndValues)> {
        let (batch, time, _) = x.dims3()?;
        let Heads {
            queries: heads,
            groups,
            width,
        } = scene.heads;
        let normalized = self.attention_norm.forward(x)?;
        let projected = self.projections.iter().map(|it| it.forward(&normalized));
        let projected = projected.collect::<candle_core::Result<Vec<_>>>()?;
        let projected = Tensor::cat(&projected, D::Minus1)?;
        let part = |first: usize, count: usize, norm: Option<&Normalization>| {
            let part = projected.narrow(D::Minus1, first * width, count * width)?;
            let part = part.reshape((batch, time, count, width))?.transpose(1, 2)?;
            match norm {
                Some(norm) => norm.forward(&part.contiguous()?),
                None => part.contiguous(),
            }
        };
        let mut queries = part(0, heads, self.query_norm.as_ref())?;
        let mut keys = part(heads, groups, self.key_norm.as_ref())?;
        let mut values = part(heads + groups, groups, None)?;
        if let Some(waves) = scene.waves {
            queries = turn(&queries, waves)?;
            keys = turn(&keys, waves)?;
        }
        if let Some((past_keys, past_values)) = scene.past
            && past_keys.dim(2)? > 0
        {
            keys = Tensor::cat(&[past_keys, &keys], 2)?;
            values = Tensor::cat(&[past_values, &values], 2)?;
        }
        // Head h of the queries reads head h / (heads / groups) of the keys and values.
        let group = |head: usize| (head * groups / heads) as u32;
        let shared: Vec<u32> = (0..heads).map(group).collect();
        let shared = Tensor::new(shared, &Device::Cpu)?;
        let repeated = |x: &Tensor| x.index_select(&shared, 1);
        let scores = queries.matmul(&repeated(&keys)?.transpose(2, 3)?.contiguous()?)?;
        let scores = (scores / (width as f64).sqrt())?.broadcast_add(scene.bias)?;
        let mixed = softmax(&scores)?.matmul(&repeated(&values)?)?;
        let mixed = mixed
            .transpose(1, 2)?
            .reshape((batch, time, heads * width))?;
        let x = (x + self.attended.forward(&mixed)?)?;

        let normalized = self.feed_forward_norm.forward(&x)?;
        let inner = self.inner.forward(&normalized)?;
        let inner = match &self.gate {
            Some(gate) => (activate(scene.activation, &gate.forward(&normalized)?)? * inner)?,
            None => activate(scene.activation, &inner)?,
        };
        Ok(((x + self.outer.forward(&inner)?)?, (keys, values)))
    }
}

/// Each half of a head is one coordinate of the pairs that are turned: `x cos + (-high, low) sin`.
fn turn(x: &Tensor, (cos, sin): &(Tensor, Tensor)) -> candle_core::Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let low = x.narrow(D::Minus1, 0, half)?;
    let high = x.narrow(D::Minus1, half, half)?;
    let quarter_turned = Tensor::cat(&[&high.neg()?, &low], D::Minus1)?;
    x.broadcast_mul(cos)? + quarter_turned.broadcast_mul(sin)?
}

impl Normalization {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::RootMeanSquare(norm) => norm.forward(x),
        }
    }
}

fn normalization(
    config: &DecoderConfig,
    weights: &Weights<'_>,
    name: &str,
) -> Result<Normalization> {
    Ok(match config.family.norm {
        Norm::Layer => Normalization::Layer(weights.layer_norm(name, config.norm_eps)?),
        Norm::RootMeanSquare => {
            Normalization::RootMeanSquare(weights.rms_norm(name, config.norm_eps)?)
        }
    })
}

fn linear(config: &DecoderConfig, weights: &Weights<'_>, name: &str, bias: bool) -> Result<Linear> {
    let mut linear = match bias {
        true => weights.linear(name)?,
        false => weights.linear_without_bias(name)?,
    };
    if config.family.layout == MatrixLayout::InOut {
        let turned = linear.weight.t().and_then(|weight| weight.contiguous());
        linear.weight = turned.map_err(evaluating("a weight"))?;
    }
    Ok(linear)
}
