//! A `tokenizer.json` for models that come without one, made as transformers converts their files.

mod byte_level;
mod sentencepiece;
mod wordpiece;

use std::collections::HashMap;

use amphora_error::{Error, Result, quoted};
use serde_json::{Value, json};

use super::TokenizerFiles;
use super::special::{AddedToken, TokenizerConfig};
pub(super) use sentencepiece::Normalizer;

/// Most tokens of one vocabulary, four times the largest in use; every number is below it.
pub(super) const MAX_TOKENS: u32 = 1 << 22;

/// A tokenizer in the form of a `tokenizer.json`, and what it cannot express.
pub(super) struct Built {
    pub(super) json: Value,
    /// Replaces the normalizer of `json`, for sentencepiece models.
    pub(super) normalizer: Option<Normalizer>,
}

/// The tokenizer that `files` describe without a `tokenizer.json`. Gives the parts of special tokens
/// that their class states, and `config` does not, to `config`.
pub(super) fn build(files: &TokenizerFiles, config: &mut TokenizerConfig) -> Result<Built> {
    if let Some((name, bytes)) = files.sentencepiece() {
        return sentencepiece::build(bytes, config).map_err(|error| error.in_file(name));
    }
    let json = match (
        files.get("vocab.json"),
        files.get("merges.txt"),
        files.get("vocab.txt"),
    ) {
        (Some(vocab), Some(merges), _) => byte_level::build(vocab, merges, config)?,
        (_, _, Some(vocab)) => {
            wordpiece::build(vocab, config).map_err(|error| error.in_file("vocab.txt"))?
        }
        _ => return Err(files.missing()),
    };
    Ok(Built {
        json,
        normalizer: None,
    })
}

/// That a class of tokenizers is not known, so that its special tokens and its way of cutting text
/// are not known either.
fn unknown_class(config: &TokenizerConfig, known: &[&str]) -> Error {
    let found = match config.class.as_str() {
        "" => "no 'tokenizer_class' in tokenizer_config.json".to_owned(),
        class => quoted(class).to_string(),
    };
    Error::unsupported(
        "tokenizer-class",
        "a tokenizer of this class cannot be made from its vocabulary alone",
    )
    .expected(known.join(", "))
    .found(found)
    .hint("save the tokenizer in its fast form, which writes tokenizer.json")
}

/// The lines of a vocabulary, without their ends.
fn lines(bytes: &[u8]) -> Result<Vec<&str>> {
    let text = std::str::from_utf8(bytes).map_err(|source| {
        Error::malformed("vocabulary-encoding", "the vocabulary is not UTF-8").caused_by(source)
    })?;
    let mut lines: Vec<&str> = text
        .split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .collect();
    if lines.last() == Some(&"") {
        lines.pop();
    }
    Ok(lines)
}

/// One part of the frame around a text: a text (`Text("A")`, `Text("B")`) or a special token, each with
/// its segment.
#[derive(Clone, Copy)]
enum Part<'a> {
    Text(&'static str, u32),
    Token(&'a str, u32),
}

/// How a text, and a pair of them, is framed, as `post_processor` of a `tokenizer.json`.
fn template(single: &[Part<'_>], pair: &[Part<'_>], ids: &HashMap<String, u32>) -> Result<Value> {
    let mut special = serde_json::Map::new();
    let mut items = |parts: &[Part<'_>]| -> Result<Vec<Value>> {
        let item = |part: &Part<'_>| match part {
            Part::Text(id, segment) => Ok(json!({"Sequence": {"id": id, "type_id": segment}})),
            Part::Token(name, segment) => {
                let id = ids.get(*name).ok_or_else(|| missing_token(name))?;
                special.insert(
                    (*name).to_owned(),
                    json!({"id": name, "ids": [id], "tokens": [name]}),
                );
                Ok(json!({"SpecialToken": {"id": name, "type_id": segment}}))
            }
        };
        parts.iter().map(item).collect()
    };
    let (single, pair) = (items(single)?, items(pair)?);
    Ok(json!({
        "type": "TemplateProcessing",
        "single": single,
        "pair": pair,
        "special_tokens": special,
    }))
}

/// The frame that most decoders use: a token before each text, one after it, or neither.
fn bos_eos(
    config: &TokenizerConfig,
    bos: bool,
    eos: bool,
    ids: &HashMap<String, u32>,
) -> Result<Value> {
    let token = |wanted: bool, role: &str| config.content(role).filter(|_| wanted);
    let (bos, eos) = (token(bos, "bos_token"), token(eos, "eos_token"));
    let framed = |text: &'static str, segment: u32| {
        let before = bos.map(|bos| Part::Token(bos, segment));
        let after = eos.map(|eos| Part::Token(eos, segment));
        before
            .into_iter()
            .chain([Part::Text(text, segment)])
            .chain(after)
    };
    let single: Vec<Part<'_>> = framed("A", 0).collect();
    let pair: Vec<Part<'_>> = framed("A", 0).chain(framed("B", 1)).collect();
    template(&single, &pair, ids)
}

/// The frame of encoders: `cls A sep`, and for a pair `cls A sep B sep`, with two separators in the
/// middle where the class wants it; `segment` numbers the second text.
fn cls_sep(
    config: &TokenizerConfig,
    middle: usize,
    segment: u32,
    ids: &HashMap<String, u32>,
) -> Result<Value> {
    let named = |role: &str| config.content(role).ok_or_else(|| missing_token(role));
    let (cls, sep) = (named("cls_token")?, named("sep_token")?);
    let single = [Part::Token(cls, 0), Part::Text("A", 0), Part::Token(sep, 0)];
    let mut pair = vec![Part::Token(cls, 0), Part::Text("A", 0)];
    pair.extend((0..middle).map(|_| Part::Token(sep, 0)));
    pair.extend([Part::Text("B", segment), Part::Token(sep, segment)]);
    template(&single, &pair, ids)
}

fn missing_token(token: &str) -> Error {
    Error::malformed(
        "special-token-missing",
        format!("the vocabulary lacks the special token {}", quoted(token)),
    )
}

/// The tokens beyond the vocabulary, and those of it that are recognized as a whole, in the order of
/// their numbers, as `added_tokens` of a `tokenizer.json`; each new one is entered into `ids`.
fn added_tokens(
    config: &TokenizerConfig,
    own: Vec<AddedToken>,
    ids: &mut HashMap<String, u32>,
) -> Result<Value> {
    let first = ids.values().max().map_or(0, |largest| largest + 1);
    let mut next = first;
    let mut listed: Vec<(u32, AddedToken)> = Vec::new();
    let roles = config.roles().map(|token| (None, token.clone()));
    let tokens = config.added.iter().cloned().chain(roles);
    for (stated, token) in tokens.chain(own.into_iter().map(|token| (None, token))) {
        if listed
            .iter()
            .any(|(_, known)| known.content == token.content)
        {
            continue;
        }
        let id = match ids.get(&token.content) {
            Some(id) => *id,
            None => {
                ids.insert(token.content.clone(), next);
                next += 1;
                next - 1
            }
        };
        if let Some(stated) = stated.filter(|stated| *stated != id) {
            return Err(Error::malformed(
                "added-token",
                format!(
                    "the added token {} has another number",
                    quoted(&token.content)
                ),
            )
            .expected(stated.to_string())
            .found(id.to_string()));
        }
        listed.push((id, token));
    }
    listed.sort_by_key(|(id, _)| *id);
    Ok(listed
        .iter()
        .map(|(id, token)| token.to_json(*id))
        .collect())
}
