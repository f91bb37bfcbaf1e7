//! `vocab.txt`: the pieces of BERT and its kin, one on each line.

use std::collections::HashMap;

use amphora_error::Result;
use serde_json::{Map, Value, json};

use super::{
    AddedToken, TokenizerConfig, added_tokens, cls_sep, lines, missing_token, unknown_class,
};

/// Classes that frame a text as `[CLS] text [SEP]`, and cut words as BERT does.
const BERT: [&str; 9] = [
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "ConvBertTokenizer",
    "LxmertTokenizer",
    "RetriBertTokenizer",
    "SqueezeBertTokenizer",
    "LayoutLMTokenizer",
];

/// Two separators between the texts of a pair, and no segments.
const MPNET: &str = "MPNetTokenizer";

pub(super) fn build(bytes: &[u8], config: &mut TokenizerConfig) -> Result<Value> {
    let is_mpnet = config.class == MPNET;
    if !is_mpnet && !config.class.is_empty() && !BERT.contains(&config.class.as_str()) {
        let known: Vec<&str> = BERT.into_iter().chain([MPNET]).collect();
        return Err(unknown_class(config, &known));
    }
    let defaults: &[(&str, &str)] = match is_mpnet {
        true => &[
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("cls_token", "<s>"),
            ("sep_token", "</s>"),
            ("unk_token", "[UNK]"),
            ("pad_token", "<pad>"),
            ("mask_token", "<mask>"),
        ],
        false => &[
            ("cls_token", "[CLS]"),
            ("sep_token", "[SEP]"),
            ("unk_token", "[UNK]"),
            ("pad_token", "[PAD]"),
            ("mask_token", "[MASK]"),
        ],
    };
    let defaults: Vec<_> = defaults
        .iter()
        .map(|(role, token)| (*role, AddedToken::special(*token)))
        .collect();
    config.default_roles(&defaults);
    // Of two equal lines the later one counts, as everywhere this format is read.
    let mut ids: HashMap<String, u32> = lines(bytes)?
        .into_iter()
        .zip(0..)
        .map(|(piece, id)| (piece.to_owned(), id))
        .collect();
    let vocabulary: Map<String, Value> = ids
        .iter()
        .map(|(piece, id)| (piece.clone(), (*id).into()))
        .collect();
    let unknown = config.content("unk_token").unwrap_or_default().to_owned();
    if !ids.contains_key(&unknown) {
        return Err(missing_token(&unknown));
    }
    let added = added_tokens(config, Vec::new(), &mut ids)?;
    let post_processor = match is_mpnet {
        true => cls_sep(config, 2, 0, &ids)?,
        false => cls_sep(config, 1, 1, &ids)?,
    };
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": config.flag("tokenize_chinese_chars").unwrap_or(true),
            "strip_accents": config.flag("strip_accents"),
            "lowercase": config.flag("do_lower_case").unwrap_or(true),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": post_processor,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece",
            "unk_token": unknown,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }))
}
