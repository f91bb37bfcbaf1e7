//! `bert` (Devlin et al. 2018), as Hugging Face's `BertModel` stores it.

use super::{Activation, Classifier, EncoderFamily, Keys, Layer, Positions, Segments};

pub(super) const BERT: EncoderFamily = EncoderFamily {
    model_type: "bert",
    class: "Bert",
    prefix: "bert",
    keys: Keys {
        width: &["hidden_size"],
        layers: &["num_hidden_layers"],
        attention_heads: &["num_attention_heads"],
        inner: &["intermediate_size"],
        activation: "hidden_act",
    },
    positions: Positions::FromZero,
    segments: Segments::Input,
    layer: Layer {
        list: "encoder.layer",
        query: "attention.self.query",
        key: "attention.self.key",
        value: "attention.self.value",
        attended: "attention.output.dense",
        attended_norm: "attention.output.LayerNorm",
        inner: "intermediate.dense",
        outer: "output.dense",
        outer_norm: "output.LayerNorm",
    },
    pooler: Some("pooler.dense"),
    classifier: Classifier {
        dense: "bert.pooler.dense",
        activation: Activation::Tanh,
        output: "classifier",
    },
};
