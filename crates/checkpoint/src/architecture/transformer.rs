//! `transformer`: PyTorch's pre-norm `nn.TransformerEncoder` over token ids with learned positions,
//! a masked mean, then one linear head per output.

use amphora_error::Result;
use serde_json::{Map, Value};

use super::config::{MAX_DEPTH, MAX_SIZE, Reader};
use super::{Head, Parameter, head_parameters, layer_norm, linear};

/// Sizes of the `transformer` architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerConfig {
    /// Token ids.
    pub vocab_size: u64,
    /// Width of the residual stream.
    pub d_model: u64,
    /// Encoder layers.
    pub n_layers: u64,
    /// Attention heads; `d_model` is a multiple of it.
    pub n_heads: u64,
    /// Width inside the feed-forward layers.
    pub d_ff: u64,
    /// Longest sequence: the number of learned positions.
    pub max_len: u64,
    /// Epsilon of the layer normalizations.
    pub layer_norm_eps: f64,
    /// The token id of padding.
    pub pad_id: u64,
    /// The heads, in the order of the outputs.
    pub heads: Vec<Head>,
}

impl TransformerConfig {
    pub(super) fn read(object: &Map<String, Value>) -> Result<Self> {
        let mut reader = Reader::default();
        let vocab_size = reader.size(object, "vocab_size", 1..=MAX_SIZE);
        let d_model = reader.size(object, "d_model", 1..=MAX_SIZE);
        let n_heads = reader.size(object, "n_heads", 1..=MAX_SIZE);
        if d_model % n_heads != 0 {
            reader.invalid(format!(
                "`d_model` = {d_model} is not a multiple of `n_heads` = {n_heads}"
            ));
        }
        reader.only(object, "activation", "gelu");
        reader.only(object, "norm", "pre_layernorm");
        reader.only(object, "positions", "learned");
        reader.only(object, "pooling", "masked_mean");
        let config = Self {
            vocab_size,
            d_model,
            n_layers: reader.size(object, "n_layers", 1..=MAX_DEPTH),
            n_heads,
            d_ff: reader.size(object, "d_ff", 1..=MAX_SIZE),
            // A table of one position would be broadcast over a longer sequence without an error.
            max_len: reader.size(object, "max_len", 2..=MAX_SIZE),
            layer_norm_eps: reader.epsilon_or(object, "layer_norm_eps", 1e-5),
            pad_id: reader.size_or(object, "pad_id", 0..=vocab_size - 1, 0),
            heads: reader.heads(object),
        };
        reader.finish("transformer", config)
    }

    /// Width of one attention head.
    pub fn d_head(&self) -> u64 {
        self.d_model / self.n_heads
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let d = self.d_model;
        let mut parameters = vec![
            Parameter::required("embed.weight", [self.vocab_size, d]),
            Parameter::required("pos.weight", [self.max_len, d]),
        ];
        for layer in 0..self.n_layers {
            let name = |module: &str| format!("encoder.layers.{layer}.{module}");
            parameters.extend([
                Parameter::required(name("self_attn.in_proj_weight"), [3 * d, d]),
                Parameter::required(name("self_attn.in_proj_bias"), [3 * d]),
            ]);
            parameters.extend(linear(&name("self_attn.out_proj"), d, d));
            parameters.extend(linear(&name("linear1"), d, self.d_ff));
            parameters.extend(linear(&name("linear2"), self.d_ff, d));
            parameters.extend(layer_norm(&name("norm1"), d));
            parameters.extend(layer_norm(&name("norm2"), d));
        }
        parameters.extend(layer_norm("encoder.norm", d));
        parameters.extend(head_parameters(&self.heads, d));
        parameters
    }
}
