//! `gpt2` (Radford et al. 2019), as Hugging Face's `GPT2LMHeadModel` stores it: a table of positions,
//! layer normalization before each part, and matrices stored `[in, out]`.

use super::{
    Activation, Bias, Biases, DecoderFamily, DecoderPositions, FeedForwardModules, Keys,
    LayerModules, MatrixLayout, Norm, Projections,
};

pub(super) const GPT2: DecoderFamily = DecoderFamily {
    model_type: "gpt2",
    bare_class: "GPT2Model",
    causal_class: "GPT2LMHeadModel",
    prefix: "transformer",
    keys: Keys {
        width: &["n_embd", "hidden_size"],
        layers: &["n_layer", "num_hidden_layers"],
        attention_heads: &["n_head", "num_attention_heads"],
        inner: &["n_inner"],
        context: &["n_positions", "max_position_embeddings"],
        norm_eps: "layer_norm_epsilon",
        activation: "activation_function",
    },
    inner_default: Some(4),
    grouped: false,
    tied: true,
    activation: Activation::GeluTanh,
    norm: Norm::Layer,
    tokens: "wte",
    positions: DecoderPositions::Table("wpe"),
    layout: MatrixLayout::InOut,
    list: "h",
    layer: LayerModules {
        attention_norm: "ln_1",
        projections: Projections::Packed("attn.c_attn"),
        query_key_norms: None,
        attended: "attn.c_proj",
        feed_forward_norm: "ln_2",
        feed_forward: FeedForwardModules::Plain {
            inner: "mlp.c_fc",
            outer: "mlp.c_proj",
        },
    },
    final_norm: "ln_f",
    biases: Biases {
        projections: Bias::Always,
        attended: Bias::Always,
        feed_forward: Bias::Always,
    },
    unused: &[],
    causal_masks: &["attn.bias"],
    scalars: &["attn.masked_bias"],
    required: &[
        ("scale_attn_weights", true),
        ("scale_attn_by_inverse_layer_idx", false),
        ("add_cross_attention", false),
    ],
};
