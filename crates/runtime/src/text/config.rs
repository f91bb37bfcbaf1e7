//! How text is prepared: what a manifest keeps under `preprocessing.config`.

use amphora_error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::special::TokenizerConfig;
use super::{TokenizerFiles, parse_json};

/// Parameters of the preprocessing `tokenization`, as a manifest holds them.
///
/// What is absent is taken from the tokenizer's own files, in this order: `max_length`, `truncation`
/// and `truncation_strategy` from the truncation in `tokenizer.json`, else `model_max_length` of
/// `tokenizer_config.json`, else texts are not shortened; `padding` from the padding in
/// `tokenizer.json`, else as long as the longest text of a batch, which adds nothing to a single
/// text; special tokens are added.
///
/// ```
/// use amphora_runtime::text::{Padding, TextConfig};
///
/// let config: TextConfig =
///     serde_json::from_str(r#"{"max_length": 256, "padding": "longest"}"#).unwrap();
/// assert_eq!(config.max_length, Some(256));
/// assert_eq!(config.padding, Some(Padding::Longest));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// Most tokens of one text, or of both texts of a pair, special tokens included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// Whether a longer text is shortened to `max_length`; otherwise it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncation: Option<bool>,
    /// Which end of a longer text is dropped; right when nothing says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncation_side: Option<Side>,
    /// Which text of a longer pair is shortened; the longer one first when nothing says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncation_strategy: Option<Shortened>,
    /// How shorter texts of a batch are filled up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding: Option<Padding>,
    /// On which side they are filled up; right when nothing says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding_side: Option<Side>,
    /// Whether the tokens that frame a text (`[CLS]`, `</s>`, ...) are added; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_special_tokens: Option<bool>,
    /// What stands in for a text that is empty or consists of white space; such a text is encoded
    /// as it is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_text: Option<String>,
    /// Whether texts are lower-cased first, whatever the tokenizer does itself; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowercase: Option<bool>,
    /// The one token that an input `decoder_input_ids` holds; 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder_start_token_id: Option<u32>,
}

/// Which text of a pair is shortened. A single text is the one that is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortened {
    /// The longer one, until both are as long; then one after the other.
    #[default]
    LongestFirst,
    /// The first one (a passage before its question).
    OnlyFirst,
    /// The second one (a passage behind its question).
    OnlySecond,
}

/// How the texts of one batch get one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Not at all: texts of different lengths are refused.
    None,
    /// To the longest of them.
    Longest,
    /// To `max_length`.
    Fixed,
}

/// An end of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Before the first token.
    Left,
    /// After the last token.
    #[default]
    Right,
}

impl Side {
    /// The side that transformers and tokenizers spell in either case.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "left" | "Left" => Some(Self::Left),
            "right" | "Right" => Some(Self::Right),
            _ => None,
        }
    }
}

impl Shortened {
    /// The strategy as `tokenizer.json` spells it.
    fn parse(word: &Value) -> Option<Self> {
        match word.as_str()? {
            "LongestFirst" => Some(Self::LongestFirst),
            "OnlyFirst" => Some(Self::OnlyFirst),
            "OnlySecond" => Some(Self::OnlySecond),
            _ => None,
        }
    }
}

impl TextConfig {
    /// The configuration that a manifest's `preprocessing.config` holds; an absent one is empty.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] for a key or a value that it cannot have.
    pub fn from_manifest(config: Option<&Map<String, Value>>) -> Result<Self> {
        let Some(config) = config else {
            return Ok(Self::default());
        };
        serde_json::from_value(Value::Object(config.clone())).map_err(|source| {
            Error::malformed(
                "text-config",
                format!("the configuration of the tokenization is wrong: {source}"),
            )
        })
    }

    /// What a packer writes for the tokenizer in `files`, spelled out: the length that the model was
    /// made for (`max_seq_length` of `sentence_bert_config.json`, else `model_max_length` of
    /// `tokenizer_config.json`, else the truncation in `tokenizer.json`), batches padded to their
    /// longest text, on the tokenizer's side, special tokens added.
    ///
    /// A fixed padding in `tokenizer.json` is not taken over: it is a remnant of training that the
    /// libraries which made the file override.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] when a file is broken.
    pub fn from_files(files: &TokenizerFiles) -> Result<Self> {
        let tokenizer_config = TokenizerConfig::read(files)?;
        let tokenizer = match files.get("tokenizer.json") {
            Some(bytes) => parse_json("tokenizer.json", bytes)?,
            None => Value::Null,
        };
        let sentence = match files.get("sentence_bert_config.json") {
            Some(bytes) => parse_json("sentence_bert_config.json", bytes)?,
            None => Value::Null,
        };
        let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
        let max_length = size(&sentence["max_seq_length"])
            .or(tokenizer_config.max_length)
            .or_else(|| size(&tokenizer["truncation"]["max_length"]));
        let side = |own: Option<Side>, path: &str| {
            own.or_else(|| Side::parse(tokenizer[path]["direction"].as_str()?))
        };
        Ok(Self {
            max_length,
            truncation: max_length.map(|_| true),
            truncation_side: side(tokenizer_config.truncation_side, "truncation")
                .filter(|side| *side == Side::Left),
            truncation_strategy: Shortened::parse(&tokenizer["truncation"]["strategy"])
                .filter(|strategy| *strategy != Shortened::LongestFirst),
            padding: Some(Padding::Longest),
            padding_side: Some(side(tokenizer_config.padding_side, "padding").unwrap_or_default()),
            add_special_tokens: Some(true),
            empty_text: None,
            lowercase: (sentence["do_lower_case"] == true).then_some(true),
            decoder_start_token_id: None,
        })
    }
}
