//! `distilbert` (Sanh et al. 2019): BERT without segments and pooler, under names of its own.

use super::{Activation, Classifier, EncoderFamily, Keys, Layer, MaskedLm, Positions, Segments};

pub(super) const DISTILBERT: EncoderFamily = EncoderFamily {
    model_type: "distilbert",
    class: "DistilBert",
    prefix: "distilbert",
    keys: Keys {
        width: &["dim", "hidden_size"],
        layers: &["n_layers", "num_hidden_layers"],
        attention_heads: &["n_heads", "num_attention_heads"],
        inner: &["hidden_dim", "intermediate_size"],
        activation: "activation",
    },
    pad_id: 0,
    positions: Positions::FromZero,
    segments: Segments::None,
    layer: Layer {
        list: "transformer.layer",
        query: "attention.q_lin",
        key: "attention.k_lin",
        value: "attention.v_lin",
        attended: "attention.out_lin",
        attended_norm: "sa_layer_norm",
        inner: "ffn.lin1",
        outer: "ffn.lin2",
        outer_norm: "output_layer_norm",
    },
    pooler: None,
    classifier: Classifier {
        dense: "pre_classifier",
        activation: Activation::Relu,
        output: "classifier",
    },
    masked_lm: MaskedLm {
        dense: "vocab_transform",
        activation: None,
        norm: "vocab_layer_norm",
        rows: "vocab_projector.weight",
        bias: "vocab_projector.bias",
        bias_copy: None,
    },
    pretrained: None,
};
