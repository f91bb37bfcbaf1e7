//! What `tokenizer_config.json` and the files beside it say of special tokens.

use std::collections::BTreeMap;

use amphora_error::{Error, Result, quoted};
use serde_json::{Map, Value, json};

use super::{Side, TokenizerFiles, parse_json};

/// Lengths above this mean "no limit": transformers writes 10^30.
const NO_LENGTH: f64 = 1e9;

/// The parts that a special token can play, as `tokenizer_config.json` names them.
const ROLES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// A token that is recognized as a whole, before the text is cut into pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddedToken {
    pub(super) content: String,
    pub(super) single_word: bool,
    pub(super) lstrip: bool,
    pub(super) rstrip: bool,
    pub(super) normalized: bool,
    pub(super) special: bool,
}

impl AddedToken {
    /// A special token that is matched as it is written.
    pub(super) fn special(content: impl Into<String>) -> Self {
        Self {
            content: content.into(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true,
        }
    }

    /// A token as these files hold it: a string, or an object of its properties.
    fn parse(value: &Value, special: bool) -> Option<Self> {
        match value {
            Value::String(content) => Some(Self {
                special,
                ..Self::special(content)
            }),
            Value::Object(fields) => {
                let flag = |name: &str| fields.get(name).and_then(Value::as_bool);
                Some(Self {
                    content: fields.get("content")?.as_str()?.to_owned(),
                    single_word: flag("single_word").unwrap_or(false),
                    lstrip: flag("lstrip").unwrap_or(false),
                    rstrip: flag("rstrip").unwrap_or(false),
                    normalized: flag("normalized").unwrap_or(false),
                    special: flag("special").unwrap_or(special),
                })
            }
            _ => None,
        }
    }

    /// The entry of `added_tokens` in a `tokenizer.json`.
    pub(super) fn to_json(&self, id: u32) -> Value {
        json!({
            "id": id,
            "content": self.content,
            "single_word": self.single_word,
            "lstrip": self.lstrip,
            "rstrip": self.rstrip,
            "normalized": self.normalized,
            "special": self.special,
        })
    }
}

/// `tokenizer_config.json`, filled up from `special_tokens_map.json`, `added_tokens.json` and the
/// `model_type` of `config.json`.
#[derive(Debug, Clone, Default)]
pub(super) struct TokenizerConfig {
    /// The class that transformers reads it with, without a trailing `Fast`; empty when unknown.
    pub(super) class: String,
    /// Most tokens that the model takes.
    pub(super) max_length: Option<usize>,
    pub(super) padding_side: Option<Side>,
    pub(super) truncation_side: Option<Side>,
    /// Special tokens by their part, for example `bos_token`.
    roles: BTreeMap<&'static str, AddedToken>,
    /// More tokens that are recognized as a whole, with their number where it is stated.
    pub(super) added: Vec<(Option<u32>, AddedToken)>,
    /// Everything else, as it is written.
    fields: Map<String, Value>,
}

impl TokenizerConfig {
    pub(super) fn read(files: &TokenizerFiles) -> Result<Self> {
        let fields = object(files, "tokenizer_config.json")?;
        let map = object(files, "special_tokens_map.json")?;
        let side = |name: &str| fields.get(name)?.as_str().and_then(Side::parse);
        let mut config = Self {
            class: class(files, &fields)?,
            max_length: fields
                .get("model_max_length")
                .and_then(Value::as_f64)
                .filter(|length| (1.0..NO_LENGTH).contains(length))
                .map(|length| length as usize),
            padding_side: side("padding_side"),
            truncation_side: side("truncation_side"),
            ..Self::default()
        };
        for role in ROLES {
            let stated = |from: &Map<String, Value>| {
                from.get(role)
                    .and_then(|value| AddedToken::parse(value, true))
            };
            if let Some(token) = stated(&fields).or_else(|| stated(&map)) {
                config.roles.insert(role, token);
            }
        }
        config.added = added(files, &fields, &map)?;
        config.fields = fields;
        Ok(config)
    }

    /// The token that plays a part.
    pub(super) fn role(&self, role: &str) -> Option<&AddedToken> {
        self.roles.get(role)
    }

    /// What the token that plays a part is written as.
    pub(super) fn content(&self, role: &str) -> Option<&str> {
        self.role(role).map(|token| token.content.as_str())
    }

    /// Gives every part in `defaults` that is stated nowhere its token.
    pub(super) fn default_roles(&mut self, defaults: &[(&'static str, AddedToken)]) {
        for (role, token) in defaults {
            self.roles.entry(role).or_insert_with(|| token.clone());
        }
    }

    /// The tokens that play a part.
    pub(super) fn roles(&self) -> impl Iterator<Item = &AddedToken> {
        ROLES.iter().filter_map(|role| self.roles.get(role))
    }

    /// The parts that are played, with their tokens.
    #[cfg(feature = "generation")]
    pub(super) fn named_roles(&self) -> impl Iterator<Item = (&'static str, &AddedToken)> {
        self.roles.iter().map(|(role, token)| (*role, token))
    }

    /// A switch, where it is stated.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.fields.get(name)?.as_bool()
    }

    /// A field as it is written.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }
}

fn object(files: &TokenizerFiles, name: &'static str) -> Result<Map<String, Value>> {
    let Some(bytes) = files.get(name) else {
        return Ok(Map::new());
    };
    match parse_json(name, bytes)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(not_an_object().in_file(name)),
    }
}

fn not_an_object() -> Error {
    Error::malformed("tokenizer-config", "the file does not hold an object")
}

fn class(files: &TokenizerFiles, fields: &Map<String, Value>) -> Result<String> {
    if let Some(class) = fields.get("tokenizer_class").and_then(Value::as_str) {
        let class = class.strip_suffix("Fast").unwrap_or(class);
        if !ANY.contains(&class) {
            return Ok(class.to_owned());
        }
    }
    let config = object(files, "config.json")?;
    let model_type = config.get("model_type").and_then(Value::as_str);
    let named = MODEL_TYPES
        .iter()
        .find(|(name, _)| Some(*name) == model_type)
        .map(|(_, class)| *class);
    Ok(named.unwrap_or_default().to_owned())
}

/// Classes that take any tokenizer, and so say nothing of this one.
const ANY: [&str; 2] = ["PreTrainedTokenizer", "TokenizersBackend"];

/// The tokenizer classes of the model types that name none.
const MODEL_TYPES: [(&str, &str); 21] = [
    ("albert", "AlbertTokenizer"),
    ("bart", "BartTokenizer"),
    ("bert", "BertTokenizer"),
    ("camembert", "CamembertTokenizer"),
    ("distilbert", "DistilBertTokenizer"),
    ("electra", "ElectraTokenizer"),
    ("gemma", "GemmaTokenizer"),
    ("gpt2", "GPT2Tokenizer"),
    ("gpt_neo", "GPT2Tokenizer"),
    ("gptj", "GPT2Tokenizer"),
    ("llama", "LlamaTokenizer"),
    ("mistral", "LlamaTokenizer"),
    ("mobilebert", "MobileBertTokenizer"),
    ("mpnet", "MPNetTokenizer"),
    ("mt5", "T5Tokenizer"),
    ("qwen2", "Qwen2Tokenizer"),
    ("qwen3", "Qwen2Tokenizer"),
    ("roberta", "RobertaTokenizer"),
    ("t5", "T5Tokenizer"),
    ("xlm-roberta", "XLMRobertaTokenizer"),
    ("xmod", "XLMRobertaTokenizer"),
];

/// The tokens listed beside the vocabulary: those with a stated number first, in its order.
fn added(
    files: &TokenizerFiles,
    fields: &Map<String, Value>,
    map: &Map<String, Value>,
) -> Result<Vec<(Option<u32>, AddedToken)>> {
    let mut numbered: BTreeMap<u32, AddedToken> = BTreeMap::new();
    if let Some(Value::Object(decoder)) = fields.get("added_tokens_decoder") {
        for (id, token) in decoder {
            let parsed = id.parse().ok().zip(AddedToken::parse(token, true));
            let (id, token) = parsed.ok_or_else(|| {
                Error::malformed("added-token", "an added token is not number and properties")
                    .at(format!("added_tokens_decoder {}", quoted(id)))
                    .in_file("tokenizer_config.json")
            })?;
            numbered.insert(id, token);
        }
    }
    for (content, id) in object(files, "added_tokens.json")? {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| {
            Error::malformed("added-token", "an added token has no number")
                .at(quoted(&content).to_string())
                .in_file("added_tokens.json")
        })?;
        numbered.entry(id).or_insert_with(|| AddedToken {
            special: false,
            ..AddedToken::special(content)
        });
    }
    let mut tokens: Vec<(Option<u32>, AddedToken)> = numbered
        .into_iter()
        .map(|(id, token)| (Some(id), token))
        .collect();
    for from in [fields, map] {
        for list in ["additional_special_tokens", "extra_special_tokens"] {
            let Some(Value::Array(listed)) = from.get(list) else {
                continue;
            };
            let listed = listed
                .iter()
                .filter_map(|value| AddedToken::parse(value, true));
            for token in listed {
                if !tokens
                    .iter()
                    .any(|(_, known)| known.content == token.content)
                {
                    tokens.push((None, token));
                }
            }
        }
    }
    Ok(tokens)
}
