//! `llama` (Touvron et al. 2023), as Hugging Face's `LlamaForCausalLM` stores it: rotary positions,
//! grouped queries, RMS normalization and a gated feed-forward part.

use super::{
    Activation, Bias, Biases, DecoderFamily, DecoderPositions, FeedForwardModules, Keys,
    LayerModules, MatrixLayout, Norm, Projections,
};

pub(super) const LLAMA: DecoderFamily = DecoderFamily {
    model_type: "llama",
    bare_class: "LlamaModel",
    causal_class: "LlamaForCausalLM",
    prefix: "model",
    keys: Keys {
        width: &["hidden_size"],
        layers: &["num_hidden_layers"],
        attention_heads: &["num_attention_heads"],
        inner: &["intermediate_size"],
        context: &["max_position_embeddings"],
        norm_eps: "rms_norm_eps",
        activation: "hidden_act",
    },
    inner_default: None,
    grouped: true,
    tied: false,
    activation: Activation::Silu,
    norm: Norm::RootMeanSquare,
    tokens: "embed_tokens",
    positions: DecoderPositions::Rotary,
    layout: MatrixLayout::OutIn,
    list: "layers",
    layer: LayerModules {
        attention_norm: "input_layernorm",
        projections: Projections::Separate {
            query: "self_attn.q_proj",
            key: "self_attn.k_proj",
            value: "self_attn.v_proj",
        },
        query_key_norms: None,
        attended: "self_attn.o_proj",
        feed_forward_norm: "post_attention_layernorm",
        feed_forward: FeedForwardModules::Gated {
            gate: "mlp.gate_proj",
            up: "mlp.up_proj",
            down: "mlp.down_proj",
        },
    },
    final_norm: "norm",
    biases: Biases {
        projections: Bias::When("attention_bias"),
        attended: Bias::When("attention_bias"),
        feed_forward: Bias::When("mlp_bias"),
    },
    unused: &["self_attn.rotary_emb.inv_freq"],
    causal_masks: &[],
    scalars: &[],
    required: &[],
};
