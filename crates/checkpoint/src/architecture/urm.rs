//! `urm`: a Universal-Transformer-style recurrent encoder. One block is applied `loops` times; before
//! each time the token embedding and a learned step embedding are added again.

use amphora_error::{Result, quoted};
use serde_json::{Map, Value};

use super::config::{MAX_DEPTH, MAX_SIZE, Reader};
use super::{Head, Parameter, head_parameters};

/// Most elements in a table of rotary angles that a configuration may ask to compute.
const MAX_ROTARY_ELEMENTS: u64 = 1 << 26;

/// The feed-forward part of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForward {
    /// `down(silu(gate) * up)`.
    SwiGlu,
    /// SwiGLU with a causal depthwise convolution over time and a second SiLU before `down`.
    ConvSwiGlu {
        /// Time steps that the convolution sees, the current one included.
        kernel: u64,
    },
}

/// Sizes of the `urm` architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct UrmConfig {
    /// Token ids.
    pub vocab_size: u64,
    /// Width of the residual stream.
    pub d_model: u64,
    /// Attention heads; `d_model` is an even multiple of it, because rotary positions pair halves.
    pub n_heads: u64,
    /// Width inside the feed-forward part.
    pub d_inner: u64,
    /// How often the block is applied.
    pub loops: u64,
    /// Longest sequence: the number of rotary positions.
    pub max_len: u64,
    /// The feed-forward part.
    pub feed_forward: FeedForward,
    /// Epsilon of the RMS normalizations.
    pub rms_norm_eps: f64,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// Added to the attention scores of padding.
    pub mask_bias: f64,
    /// The token id of padding.
    pub pad_id: u64,
    /// The heads, in the order of the outputs.
    pub heads: Vec<Head>,
}

impl UrmConfig {
    pub(super) fn read(object: &Map<String, Value>) -> Result<Self> {
        let mut reader = Reader::default();
        let vocab_size = reader.size(object, "vocab_size", 1..=MAX_SIZE);
        let d_model = reader.size(object, "d_model", 1..=MAX_SIZE);
        let n_heads = reader.size(object, "n_heads", 1..=MAX_SIZE / 2);
        if d_model % (2 * n_heads) != 0 {
            reader.invalid(format!(
                "`d_model` = {d_model} is not an even multiple of `n_heads` = {n_heads}"
            ));
        }
        // A table of one position would be broadcast over a longer sequence without an error.
        let max_len = reader.size(object, "max_len", 2..=MAX_SIZE);
        if max_len * (d_model / n_heads) > MAX_ROTARY_ELEMENTS {
            reader.invalid(format!(
                "`max_len` x `d_model` / `n_heads`: expected at most {MAX_ROTARY_ELEMENTS} rotary \
                 angles"
            ));
        }
        let feed_forward = match object.get("mlp").unwrap_or(&Value::Null) {
            Value::Null => FeedForward::SwiGlu,
            Value::String(text) if text == "swiglu" => FeedForward::SwiGlu,
            Value::String(text) if text == "conv_swiglu" => FeedForward::ConvSwiGlu {
                kernel: reader.size_or(object, "conv_kernel", 1..=64, 2),
            },
            Value::String(text) => {
                reader.unsupported(format!(
                    "`mlp`: only 'swiglu' and 'conv_swiglu' are implemented, found {}",
                    quoted(text)
                ));
                FeedForward::SwiGlu
            }
            _ => {
                reader.invalid("`mlp`: expected 'swiglu' or 'conv_swiglu'");
                FeedForward::SwiGlu
            }
        };
        reader.only(object, "norm", "post_rmsnorm");
        reader.only(object, "positions", "rope");
        reader.only(object, "pooling", "masked_mean");
        let config = Self {
            vocab_size,
            d_model,
            n_heads,
            d_inner: reader.size(object, "d_inner", 1..=MAX_SIZE),
            loops: reader.size(object, "loops", 1..=MAX_DEPTH),
            max_len,
            feed_forward,
            rms_norm_eps: reader.epsilon_or(object, "rms_norm_eps", 1e-5),
            rope_theta: reader.real_or(
                object,
                "rope_theta",
                10_000.0,
                "a number above 1",
                |real| (1.0..=1e12).contains(&real),
            ),
            mask_bias: reader.real_or(
                object,
                "mask_bias",
                -10_000.0,
                "a negative number of float32's range",
                |real| (f64::from(f32::MIN)..0.0).contains(&real),
            ),
            pad_id: reader.size_or(object, "pad_id", 0..=vocab_size - 1, 0),
            heads: reader.heads(object),
        };
        reader.finish("urm", config)
    }

    /// Width of one attention head.
    pub fn d_head(&self) -> u64 {
        self.d_model / self.n_heads
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let (d, inner) = (self.d_model, self.d_inner);
        let mut parameters = vec![
            Parameter::required("embed.weight", [self.vocab_size, d]),
            Parameter::required("step.weight", [self.loops, d]),
            Parameter::required("block.qkv_proj.weight", [3 * d, d]),
            Parameter::required("block.o_proj.weight", [d, d]),
            Parameter::required("block.attn_norm.weight", [d]),
            Parameter::required("block.mlp_norm.weight", [d]),
            Parameter::required("block.mlp.gate_up_proj.weight", [2 * inner, d]),
            Parameter::required("block.mlp.down_proj.weight", [d, inner]),
        ];
        if let FeedForward::ConvSwiGlu { kernel } = self.feed_forward {
            parameters.extend([
                Parameter::required("block.mlp.dwconv.weight", [inner, 1, kernel]),
                Parameter::required("block.mlp.dwconv.bias", [inner]),
            ]);
        }
        parameters.push(Parameter::required("norm.weight", [d]));
        parameters.extend(head_parameters(&self.heads, d));
        for table in ["rope_cos", "rope_sin"] {
            parameters.push(Parameter::optional(table, [self.max_len, self.d_head()]));
        }
        parameters
    }
}
