//! What sentencepiece does to a text before it cuts it.

use std::collections::HashMap;

use amphora_error::{Error, Result};
use tokenizers::normalizers::{Lowercase, NFKD, StripAccents};
use tokenizers::{NormalizedString, Normalizer as _};

use super::charsmap::Charsmap;
use crate::text::special::AddedToken;

/// The sign that stands for a space inside pieces, U+2581.
pub(super) const SPACE: char = '\u{2581}';

/// Changes a text as the normalizer of a sentencepiece model does: characters by its table, spaces to
/// [`SPACE`], one of them before the text, none doubled; what lies between special tokens on its own.
#[derive(Debug, Clone)]
pub(in crate::text) struct Normalizer {
    pub(super) charsmap: Option<Charsmap>,
    pub(super) dummy_prefix: Prefix,
    pub(super) remove_extra_whitespaces: bool,
    /// Tokens that are cut out before anything is changed.
    pub(super) special: Matcher,
    /// Symbols that stay as they are, wherever they stand.
    pub(super) user_defined: Matcher,
    /// What ALBERT does before.
    pub(super) before: Before,
}

/// Where a space is put in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    Nowhere,
    /// Only where the text itself starts.
    Start,
    /// At the start, and after every special token.
    Sections,
}

/// Changes in front of the model's own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Before {
    /// Two backticks, or two apostrophes, become one quotation mark.
    pub(super) quotes: bool,
    pub(super) strip_accents: bool,
    pub(super) lowercase: bool,
}

/// Finds tokens in a text, the longest that starts at a place.
#[derive(Debug, Clone, Default)]
pub(super) struct Matcher {
    by_first_byte: HashMap<u8, Vec<AddedToken>>,
}

impl Matcher {
    pub(super) fn new(tokens: impl IntoIterator<Item = AddedToken>) -> Self {
        let mut by_first_byte: HashMap<u8, Vec<AddedToken>> = HashMap::new();
        for token in tokens {
            if let Some(first) = token.content.bytes().next() {
                by_first_byte.entry(first).or_default().push(token);
            }
        }
        for tokens in by_first_byte.values_mut() {
            tokens.sort_by_key(|token| std::cmp::Reverse(token.content.len()));
        }
        Self { by_first_byte }
    }

    fn at_start(&self, text: &str) -> Option<&AddedToken> {
        let candidates = self.by_first_byte.get(text.as_bytes().first()?)?;
        candidates
            .iter()
            .find(|token| text.starts_with(&token.content))
    }

    /// The first token in `text`, and where it starts.
    fn first(&self, text: &str) -> Option<(usize, &AddedToken)> {
        text.char_indices()
            .find_map(|(at, _)| Some((at, self.at_start(&text[at..])?)))
    }
}

impl Normalizer {
    pub(in crate::text) fn normalize(&self, text: &str) -> Result<String> {
        let mut normalized = String::with_capacity(text.len() + SPACE.len_utf8());
        let mut rest = text;
        let mut prefix = self.dummy_prefix != Prefix::Nowhere;
        loop {
            let found = self.special.first(rest);
            let mut section = found.map_or(rest, |(at, _)| &rest[..at]);
            if found.is_some_and(|(_, token)| token.lstrip) {
                section = section.trim_end();
            }
            self.section(section, prefix, &mut normalized)?;
            let Some((at, token)) = found else {
                return Ok(normalized);
            };
            normalized.push_str(&token.content);
            rest = &rest[at + token.content.len()..];
            if token.rstrip {
                rest = rest.trim_start();
            }
            prefix = self.dummy_prefix == Prefix::Sections;
        }
    }

    fn section(&self, text: &str, prefix: bool, to: &mut String) -> Result<()> {
        let changed = self.before(text)?;
        let mut rest = changed.as_deref().unwrap_or(text);
        if self.remove_extra_whitespaces {
            while !rest.is_empty() {
                let (made, taken) = self.step(rest);
                if made != " " {
                    break;
                }
                rest = &rest[taken..];
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = to.len();
        if prefix {
            to.push(SPACE);
        }
        let mut after_space = self.remove_extra_whitespaces;
        while !rest.is_empty() {
            let (made, taken) = self.step(rest);
            let kept = match after_space {
                true => made.trim_start_matches(' '),
                false => made,
            };
            to.extend(kept.chars().map(|c| if c == ' ' { SPACE } else { c }));
            if !kept.is_empty() {
                after_space = kept.ends_with(' ');
            }
            after_space &= self.remove_extra_whitespaces;
            rest = &rest[taken..];
        }
        if self.remove_extra_whitespaces {
            let kept = to[start..].trim_end_matches(SPACE).len();
            to.truncate(start + kept);
        }
        Ok(())
    }

    /// What the beginning of `text`, which is not empty, becomes, and how many bytes that takes.
    fn step<'a>(&'a self, text: &'a str) -> (&'a str, usize) {
        if let Some(symbol) = self.user_defined.at_start(text) {
            let taken = symbol.content.len();
            return (&text[..taken], taken);
        }
        let replaced = self.charsmap.as_ref().and_then(|map| map.longest(text));
        replaced.unwrap_or_else(|| {
            let taken = text.chars().next().map_or(text.len(), char::len_utf8);
            (&text[..taken], taken)
        })
    }

    fn before(&self, text: &str) -> Result<Option<String>> {
        let Before {
            quotes,
            strip_accents,
            lowercase,
        } = self.before;
        if !(quotes || strip_accents || lowercase) {
            return Ok(None);
        }
        let text = match quotes {
            true => text.replace("``", "\"").replace("''", "\""),
            false => text.to_owned(),
        };
        let mut changed = NormalizedString::from(text);
        let failed = |source: tokenizers::Error| {
            Error::internal("text-normalization", "a text cannot be normalized").caused_by(source)
        };
        if strip_accents {
            NFKD.normalize(&mut changed).map_err(failed)?;
            StripAccents.normalize(&mut changed).map_err(failed)?;
        }
        if lowercase {
            Lowercase.normalize(&mut changed).map_err(failed)?;
        }
        Ok(Some(changed.get().to_owned()))
    }
}
