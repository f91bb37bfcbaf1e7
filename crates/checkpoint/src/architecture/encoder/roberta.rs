//! `roberta` (Liu et al. 2019): BERT without segments, with positions that start behind the id of
//! padding and skip it.

use super::bert::BERT;
use super::{Activation, Classifier, EncoderFamily, Positions, Segments};

pub(super) const ROBERTA: EncoderFamily = EncoderFamily {
    model_type: "roberta",
    class: "Roberta",
    prefix: "roberta",
    positions: Positions::AfterPadding,
    segments: Segments::First,
    classifier: Classifier {
        dense: "classifier.dense",
        activation: Activation::Tanh,
        output: "classifier.out_proj",
    },
    ..BERT
};
