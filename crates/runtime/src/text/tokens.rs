//! What each token stands for.

use std::collections::HashMap;
use std::sync::LazyLock;

use amphora_error::{Error, Result};
use tokenizers::{DecoderWrapper, Tokenizer};

use super::build::MAX_TOKENS;

/// How a token's form in the vocabulary becomes text.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens {
    /// One more than the largest number.
    pub(super) size: usize,
    /// Every byte has a visible character of its own (GPT-2).
    byte_level: bool,
    /// Text is the bytes of all tokens, one after the other.
    pub(super) only_bytes: bool,
    /// A token `<0x0A>` is that byte.
    pub(super) byte_fallback: bool,
    /// A token adds the same to the text whatever comes later, and whatever came before it but one.
    pub(super) local: bool,
    /// Tokens have been joined when the next rule is applied.
    fused: bool,
    /// Replacements inside a token, in order.
    replace: Vec<(String, String)>,
    /// A token without this prefix starts a word (WordPiece).
    prefix: Option<String>,
    /// A token with this suffix ends a word (the first BPE models).
    suffix: Option<String>,
}

impl Tokens {
    pub(super) fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let largest = tokenizer.get_vocab(true).into_values().max();
        let largest = largest
            .ok_or_else(|| Error::malformed("tokenizer-empty", "the tokenizer has no tokens"))?;
        if largest >= MAX_TOKENS {
            return Err(
                Error::limit("tokenizer-tokens", "the number of a token is too large")
                    .expected(format!("below {MAX_TOKENS}"))
                    .found(largest.to_string()),
            );
        }
        let mut tokens = Self {
            size: largest as usize + 1,
            local: true,
            ..Self::default()
        };
        match tokenizer.get_decoder() {
            Some(decoder) => tokens.note(decoder),
            // Tokens are joined by spaces.
            None => tokens.prefix = Some(String::new()),
        }
        tokens.only_bytes = match tokenizer.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => true,
            Some(DecoderWrapper::Sequence(sequence)) => {
                matches!(sequence.get_decoders(), [DecoderWrapper::ByteLevel(_)])
            }
            _ => false,
        };
        Ok(tokens)
    }

    fn note(&mut self, decoder: &DecoderWrapper) {
        let local = match decoder {
            DecoderWrapper::Sequence(sequence) => {
                for decoder in sequence.get_decoders() {
                    self.note(decoder);
                }
                true
            }
            DecoderWrapper::ByteLevel(_) => {
                self.byte_level = true;
                false
            }
            DecoderWrapper::ByteFallback(_) => {
                self.byte_fallback = true;
                !self.fused
            }
            DecoderWrapper::Metaspace(metaspace) => {
                let sign = metaspace.get_replacement().to_string();
                self.replace.push((sign, " ".to_owned()));
                !self.fused
            }
            DecoderWrapper::WordPiece(word_piece) => {
                self.prefix = Some(word_piece.prefix.clone());
                !self.fused
            }
            DecoderWrapper::BPE(bpe) => {
                self.suffix = Some(bpe.suffix.clone());
                false
            }
            DecoderWrapper::CTC(_) => false,
            DecoderWrapper::Replace(_) => match replacement(decoder) {
                Some((from, to)) => {
                    let local = from.chars().count() == 1;
                    self.replace.push((from, to));
                    local
                }
                None => false,
            },
            DecoderWrapper::Strip(strip) => {
                strip.stop == 0 && strip.start <= 1 && strip.content == ' '
            }
            DecoderWrapper::Fuse(_) => {
                self.fused = true;
                true
            }
        };
        self.local &= local;
    }

    pub(super) fn bytes(&self, tokenizer: &Tokenizer, id: u32) -> Option<Vec<u8>> {
        let token = tokenizer.id_to_token(id)?;
        if self.byte_level {
            let bytes: Option<Vec<u8>> = token.chars().map(|c| BYTES.get(&c).copied()).collect();
            return Some(bytes.unwrap_or_else(|| token.into_bytes()));
        }
        if let Some(byte) = self.fallback_byte(&token) {
            return Some(vec![byte]);
        }
        let mut text = token;
        for (from, to) in &self.replace {
            text = text.replace(from, to);
        }
        if let Some(prefix) = &self.prefix {
            text = match text
                .strip_prefix(prefix.as_str())
                .filter(|_| !prefix.is_empty())
            {
                Some(rest) => rest.to_owned(),
                None => format!(" {text}"),
            };
        }
        if let Some(suffix) = &self.suffix {
            text = text.replace(suffix, " ");
        }
        Some(text.into_bytes())
    }

    /// The byte that a token `<0x0A>` stands for, when the tokenizer falls back to bytes.
    pub(super) fn fallback_byte(&self, token: &str) -> Option<u8> {
        let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
        let is_byte = self.byte_fallback && digits.len() == 2;
        u8::from_str_radix(digits, 16).ok().filter(|_| is_byte)
    }

    pub(super) fn is_special(&self, tokenizer: &Tokenizer, id: u32) -> bool {
        let added = tokenizer.get_added_vocabulary();
        let token = added.get_added_tokens_decoder().get(&id);
        token.is_some_and(|token| added.is_special_token(&token.content))
    }
}

/// What a `Replace` decoder replaces, when it is a string; its fields are open only to serialization.
fn replacement(decoder: &DecoderWrapper) -> Option<(String, String)> {
    let value = serde_json::to_value(decoder).ok()?;
    let from = value["pattern"]["String"].as_str()?;
    Some((from.to_owned(), value["content"].as_str()?.to_owned()))
}

/// GPT-2's alphabet: printable bytes stand for themselves, the others, in order, for the characters
/// from U+0100 on.
static BYTES: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let visible = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let own = (0..=255_u8)
        .filter(visible)
        .map(|byte| (char::from(byte), byte));
    let others = (0..=255_u8).filter(|byte| !visible(byte));
    let others = others.zip('\u{100}'..).map(|(byte, sign)| (sign, byte));
    own.chain(others).collect()
});
