//! `roberta` (Liu et al. 2019): BERT without segments, with positions that start behind the id of
//! padding and skip it.

use super::bert::BERT;
use super::{Activation, Classifier, EncoderFamily, MaskedLm, Positions, Segments};

pub(super) const ROBERTA: EncoderFamily = EncoderFamily {
    model_type: "roberta",
    class: "Roberta",
    prefix: "roberta",
    pad_id: 1,
    positions: Positions::AfterPadding,
    segments: Segments::First,
    classifier: Classifier {
        dense: "classifier.dense",
        activation: Activation::Tanh,
        output: "classifier.out_proj",
    },
    masked_lm: MaskedLm {
        dense: "lm_head.dense",
        activation: Some(Activation::Gelu),
        norm: "lm_head.layer_norm",
        rows: "lm_head.decoder.weight",
        bias: "lm_head.bias",
        bias_copy: Some("lm_head.decoder.bias"),
    },
    pretrained: None,
    ..BERT
};
