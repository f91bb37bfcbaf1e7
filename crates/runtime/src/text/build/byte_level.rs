//! `vocab.json` with `merges.txt`: byte-level BPE of GPT-2, RoBERTa, Qwen and their kin.

use std::collections::HashMap;

use amphora_error::{Error, Result, quoted};
use serde_json::{Map, Value, json};

use super::{AddedToken, TokenizerConfig, added_tokens, bos_eos, cls_sep, lines, unknown_class};
use crate::text::parse_json;

/// How Qwen2 and its successors cut a text before merging: contractions, words with one leading
/// sign, single digits, signs, line ends, white space (`tokenizer.json` of Qwen2, the same for all sizes).
const QWEN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What a class of tokenizers does with a text.
#[derive(Clone, Copy, PartialEq)]
enum Family {
    Gpt2,
    Roberta,
    Deberta,
    Qwen2,
}

const CLASSES: [(&str, Family); 13] = [
    ("GPT2Tokenizer", Family::Gpt2),
    ("GPTNeoXTokenizer", Family::Gpt2),
    ("CodeGenTokenizer", Family::Gpt2),
    ("PhiTokenizer", Family::Gpt2),
    ("RobertaTokenizer", Family::Roberta),
    ("BartTokenizer", Family::Roberta),
    ("LongformerTokenizer", Family::Roberta),
    ("LEDTokenizer", Family::Roberta),
    ("MvpTokenizer", Family::Roberta),
    ("BlenderbotTokenizer", Family::Roberta),
    ("DebertaTokenizer", Family::Deberta),
    ("Qwen2Tokenizer", Family::Qwen2),
    ("Qwen3Tokenizer", Family::Qwen2),
];

pub(super) fn build(vocab: &[u8], merges: &[u8], config: &mut TokenizerConfig) -> Result<Value> {
    let family = match CLASSES.iter().find(|(class, _)| *class == config.class) {
        Some((_, family)) => *family,
        None if config.class.is_empty() => Family::Gpt2,
        None => {
            let known: Vec<&str> = CLASSES.iter().map(|(class, _)| *class).collect();
            return Err(unknown_class(config, &known));
        }
    };
    let mut ids = vocabulary(vocab).map_err(|error| error.in_file("vocab.json"))?;
    let merges = self::merges(merges, &ids).map_err(|error| error.in_file("merges.txt"))?;
    let vocabulary: Map<String, Value> = ids
        .iter()
        .map(|(token, id)| (token.clone(), (*id).into()))
        .collect();
    config.default_roles(&defaults(family, &ids));
    let added = added_tokens(config, Vec::new(), &mut ids)?;
    let prefix = config.flag("add_prefix_space").unwrap_or(false);
    let byte_level = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": false, "use_regex": regex});
    let flag = |name: &str| config.flag(name).unwrap_or(false);
    let post_processor = match family {
        Family::Roberta => cls_sep(config, 2, 0, &ids)?,
        Family::Deberta => cls_sep(config, 1, 1, &ids)?,
        Family::Gpt2 | Family::Qwen2 => {
            bos_eos(config, flag("add_bos_token"), flag("add_eos_token"), &ids)?
        }
    };
    let (normalizer, pre_tokenizer) = match family {
        Family::Qwen2 => (
            json!({"type": "NFC"}),
            json!({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": QWEN}, "behavior": "Isolated", "invert": false},
                byte_level(false),
            ]}),
        ),
        _ => (Value::Null, byte_level(true)),
    };
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": merges,
        },
    }))
}

fn vocabulary(bytes: &[u8]) -> Result<HashMap<String, u32>> {
    let Value::Object(entries) = parse_json("vocab.json", bytes)? else {
        return Err(Error::malformed(
            "vocabulary",
            "the vocabulary is not an object",
        ));
    };
    let entry = |(token, id): (String, Value)| {
        let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
        number.map(|id| (token, id)).ok_or_else(|| {
            Error::malformed("vocabulary", "a token has no number").found(id.to_string())
        })
    };
    entries.into_iter().map(entry).collect()
}

/// The merges in their order; both parts and what they make must be tokens.
fn merges(bytes: &[u8], ids: &HashMap<String, u32>) -> Result<Vec<[String; 2]>> {
    let listed = lines(bytes)?.into_iter().enumerate();
    let merges = listed.filter(|(number, line)| {
        !(line.is_empty() || *number == 0 && line.starts_with("#version"))
    });
    merges
        .map(|(number, line)| {
            let wrong = |reason: &str| {
                Error::malformed("merge", reason.to_owned()).at(format!("line {}", number + 1))
            };
            let (left, right) = line
                .split_once(' ')
                .filter(|(_, right)| !right.contains(' '))
                .ok_or_else(|| wrong("a merge is not two tokens with a space between"))?;
            for token in [left, right, &format!("{left}{right}")] {
                if !ids.contains_key(token) {
                    return Err(wrong("a merge names a token that the vocabulary lacks")
                        .found(quoted(token).to_string()));
                }
            }
            Ok([left.to_owned(), right.to_owned()])
        })
        .collect()
}

fn defaults(family: Family, ids: &HashMap<String, u32>) -> Vec<(&'static str, AddedToken)> {
    let special = |token: &str| AddedToken::special(token);
    match family {
        Family::Roberta => {
            let mask = AddedToken {
                lstrip: true,
                ..special("<mask>")
            };
            vec![
                ("bos_token", special("<s>")),
                ("eos_token", special("</s>")),
                ("cls_token", special("<s>")),
                ("sep_token", special("</s>")),
                ("unk_token", special("<unk>")),
                ("pad_token", special("<pad>")),
                ("mask_token", mask),
            ]
        }
        Family::Deberta => vec![
            ("bos_token", special("[CLS]")),
            ("eos_token", special("[SEP]")),
            ("cls_token", special("[CLS]")),
            ("sep_token", special("[SEP]")),
            ("unk_token", special("[UNK]")),
            ("pad_token", special("[PAD]")),
            ("mask_token", special("[MASK]")),
        ],
        // A vocabulary without it belongs to a model that was made to do without.
        Family::Gpt2 if ids.contains_key("<|endoftext|>") => vec![
            ("bos_token", special("<|endoftext|>")),
            ("eos_token", special("<|endoftext|>")),
        ],
        Family::Qwen2 => vec![
            ("eos_token", special("<|endoftext|>")),
            ("pad_token", special("<|endoftext|>")),
        ],
        Family::Gpt2 => Vec::new(),
    }
}
