//! Texts that a grammar describes, through the library `llguidance`.

use std::sync::Arc;

use amphora_error::{Error, Result};
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;

use super::{Constraint, Progress};
use crate::engine::{guarded, shortened};

/// Bytes that no text in UTF-8 has; the library takes it for the mark of a special token.
const MARK: u8 = 0xff;
/// The name of the library in messages.
const LIBRARY: &str = "llguidance";

/// Makes constraints for the tokens of one vocabulary. Building it sorts the vocabulary once (about
/// 100 ms for 150,000 tokens); each constraint then takes milliseconds.
pub struct GrammarCompiler {
    factory: ParserFactory,
    end: u32,
}

impl GrammarCompiler {
    /// A compiler for a vocabulary: the bytes that each token writes, by id. Tokens that write nothing
    /// by themselves, special ones among them, have none, and never come in a constrained text.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Limit`] when the vocabulary is larger than the library takes.
    pub fn new(vocabulary: Vec<Option<Vec<u8>>>) -> Result<Self> {
        /// More than any vocabulary, and well below what fits into the 24 bits of the library.
        const LARGEST: usize = 1 << 23;
        if vocabulary.len() >= LARGEST {
            return Err(
                Error::limit("vocabulary", "the vocabulary is too large for a grammar")
                    .expected(format!("fewer than {LARGEST} tokens"))
                    .found(format!("{} tokens", vocabulary.len())),
            );
        }
        let mut words: Vec<Vec<u8>> = vocabulary
            .into_iter()
            .map(|bytes| {
                bytes
                    .filter(|b| b.first() != Some(&MARK))
                    .unwrap_or_default()
            })
            .collect();
        // The token that ends a text is none of the model's: whether a text may end is asked apart.
        let end = words.len() as u32;
        words.push(b"\xffend".to_vec());
        let factory = guarded(LIBRARY, "reading the vocabulary", || {
            let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, end), &words);
            let tokens: TokEnv = Arc::new(Tokens(trie));
            ParserFactory::new_simple(&tokens).map_err(|error| {
                Error::unsupported("vocabulary", "the vocabulary does not suit a grammar")
                    .found(shortened(&error.to_string()))
            })
        });
        let mut factory = factory?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits {
            verbose_errors: false,
            ..ParserLimits::default()
        };
        Ok(Self { factory, end })
    }

    /// A text that is JSON and fits a JSON Schema.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] when it is no schema, cannot be satisfied, or says something
    /// that cannot be kept token by token.
    pub fn json_schema(&self, schema: &Value) -> Result<Grammar> {
        self.grammar(
            || TopLevelGrammar::from_json_schema(schema.clone()),
            ("json-schema", "the JSON Schema cannot be followed"),
        )
    }

    /// A text that a regular expression matches from beginning to end; in the syntax of the crate
    /// `regex`, without anchors and word boundaries.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] when the expression has a fault.
    pub fn regex(&self, expression: &str) -> Result<Grammar> {
        self.grammar(
            || TopLevelGrammar::from_regex(expression),
            ("regex", "the regular expression cannot be followed"),
        )
    }

    /// A text of a context-free grammar, in the library's dialect of Lark.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] when the grammar has a fault.
    pub fn lark(&self, grammar: &str) -> Result<Grammar> {
        self.grammar(
            || TopLevelGrammar::from_lark(grammar.to_owned()),
            ("lark", "the grammar cannot be followed"),
        )
    }

    fn grammar(
        &self,
        make: impl FnOnce() -> TopLevelGrammar,
        (rule, message): (&'static str, &'static str),
    ) -> Result<Grammar> {
        guarded(LIBRARY, "reading a grammar", || {
            let mut matcher = Matcher::new(self.factory.create_parser(make()));
            match matcher.get_error() {
                Some(error) => Err(Error::usage(rule, message).found(shortened(&error))),
                None => {
                    // An unsatisfiable grammar shows here.
                    matcher.compute_mask_or_eos().map_err(|error| {
                        Error::usage(rule, message).found(shortened(&error.to_string()))
                    })?;
                    Ok(Grammar {
                        matcher,
                        end: self.end,
                    })
                }
            }
        })
    }
}

impl std::fmt::Debug for GrammarCompiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let vocabulary = self.factory.tok_env().tok_trie().vocab_size();
        f.debug_struct("GrammarCompiler")
            .field("vocabulary", &vocabulary)
            .finish_non_exhaustive()
    }
}

/// One text under a grammar. Cloning it starts another text at the same place.
#[derive(Clone)]
pub struct Grammar {
    matcher: Matcher,
    /// The token that ends a text for the library: the first beyond the vocabulary.
    end: u32,
}

impl Grammar {
    fn failed(error: &dyn std::fmt::Display) -> Error {
        Error::limit("grammar-step", "the grammar cannot be followed further")
            .found(shortened(&error.to_string()))
    }
}

impl Constraint for Grammar {
    fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        let mask = self.matcher.compute_mask_or_eos();
        let mask = mask.map_err(|error| Self::failed(&error))?;
        // The end that the library knows is no token of the model, though it may have a logit there.
        super::keep_only(logits, |token| token < self.end && mask.is_allowed(token));
        Ok(())
    }

    fn update(&mut self, token: u32) -> Result<()> {
        let taken = self.matcher.try_consume_tokens(&[token]);
        match taken.map_err(|error| Self::failed(&error))? {
            1 => Ok(()),
            _ => Err(
                Error::usage("constraint-token", "the token may not come here")
                    .at(format!("token {token}")),
            ),
        }
    }

    fn progress(&mut self) -> Progress {
        if self.matcher.is_error() {
            return Progress::Unfinished;
        }
        if self.matcher.is_stopped() {
            return Progress::Ended;
        }
        match self.matcher.is_accepting() {
            Ok(true) => Progress::MayEnd,
            _ => Progress::Unfinished,
        }
    }
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").finish_non_exhaustive()
    }
}

/// The vocabulary, and a tokenizer that the library asks only for text that a grammar forces, whose
/// cutting no result depends on.
struct Tokens(TokTrie);

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        self.0.greedy_tokenize(bytes)
    }

    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}
