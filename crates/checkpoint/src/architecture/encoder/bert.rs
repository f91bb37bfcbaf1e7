//! `bert` (Devlin et al. 2018), as Hugging Face's `BertModel` stores it.

use super::{Activation, Classifier, EncoderFamily, Keys, Layer, MaskedLm, Positions, Segments};

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
    pad_id: 0,
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
    masked_lm: MaskedLm {
        dense: "cls.predictions.transform.dense",
        activation: None,
        norm: "cls.predictions.transform.LayerNorm",
        rows: "cls.predictions.decoder.weight",
        bias: "cls.predictions.bias",
        bias_copy: Some("cls.predictions.decoder.bias"),
    },
    // Whether the second of two texts follows the first.
    pretrained: Some(("cls.seq_relationship", 2)),
};
