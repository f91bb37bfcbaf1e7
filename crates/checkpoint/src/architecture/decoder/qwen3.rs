//! `qwen3` (Yang et al. 2025): Llama with queries and keys normalized head by head.

use super::llama::LLAMA;
use super::{Bias, Biases, DecoderFamily, LayerModules};

pub(super) const QWEN3: DecoderFamily = DecoderFamily {
    model_type: "qwen3",
    bare_class: "Qwen3Model",
    causal_class: "Qwen3ForCausalLM",
    layer: LayerModules {
        query_key_norms: Some(["self_attn.q_norm", "self_attn.k_norm"]),
        ..LLAMA.layer
    },
    biases: Biases {
        projections: Bias::When("attention_bias"),
        attended: Bias::When("attention_bias"),
        feed_forward: Bias::Never,
    },
    ..LLAMA
};
