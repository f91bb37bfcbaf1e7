//! `qwen2` (Yang et al. 2024): Llama with biases on queries, keys and values.

use super::llama::LLAMA;
use super::{Bias, Biases, DecoderFamily};

pub(super) const QWEN2: DecoderFamily = DecoderFamily {
    model_type: "qwen2",
    bare_class: "Qwen2Model",
    causal_class: "Qwen2ForCausalLM",
    biases: Biases {
        projections: Bias::Always,
        attended: Bias::Never,
        feed_forward: Bias::Never,
    },
    ..LLAMA
};
