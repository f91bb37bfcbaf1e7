//! Texts in, token ids out, and back.

use amphora_error::{Error, Result, quoted};
use tokenizers::utils::truncation::{
    TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings,
};
use tokenizers::{
    Encoding, NormalizerWrapper, PaddingStrategy, PostProcessor, PreTokenizerWrapper, Tokenizer,
};

use super::build::{self, Built, MAX_TOKENS, Normalizer};
use super::encoded::{Encoded, Row};
use super::special::{AddedToken, TokenizerConfig};
use super::stream::StreamDecoder;
use super::tokens::Tokens;
use super::{Padding, Shortened, Side, TextConfig, TokenizerFiles, guarded, parse_json};

/// Longest text taken, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 20;
/// Largest vocabulary of a unigram model, in bytes of its pieces: each byte becomes a node.
const MAX_UNIGRAM_BYTES: usize = 8 << 20;

/// One text, or two that belong together (a question and a passage, two sentences to compare).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// The text.
    pub text: &'a str,
    /// The second text.
    pub pair: Option<&'a str>,
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self { text, pair: None }
    }
}

/// Makes a graph's inputs out of texts, and text out of token ids.
#[derive(Debug)]
pub struct TextProcessor {
    tokenizer: Tokenizer,
    /// What sentencepiece does to a text first.
    normalizer: Option<Normalizer>,
    tokens: Tokens,
    rules: Rules,
    special: TokenizerConfig,
}

/// A [`TextConfig`] without gaps.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) max_length: Option<usize>,
    truncation: bool,
    truncation_side: Side,
    truncation_strategy: Shortened,
    pub(super) padding: Pad,
    pub(super) padding_side: Side,
    pub(super) pad_id: u32,
    pub(super) pad_type_id: u32,
    add_special_tokens: bool,
    empty_text: Option<String>,
    lowercase: bool,
    pub(super) decoder_start_token_id: u32,
}

/// The length that the rows of a batch are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pad {
    None,
    /// The longest row, rounded up to a multiple.
    Longest(usize),
    Fixed(usize),
}

impl TextProcessor {
    /// The tokenizer that `files` describe, used as `config` says.
    ///
    /// `tokenizer.json` is read when it is there; the settings of BERT's normalizer in
    /// `tokenizer_config.json` (`do_lower_case`, `strip_accents`, `tokenize_chinese_chars`) and
    /// `add_prefix_space` of byte-level BPE override it, and tokens that are stated there and not in
    /// it are added. Otherwise the tokenizer is made from the first of: a sentencepiece model, `vocab.json`
    /// with `merges.txt`, `vocab.txt`; its special tokens are those of the class that
    /// `tokenizer_config.json` (else `config.json`) names.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::NotFound`] when no file is there to make a tokenizer from;
    /// [`amphora_error::ErrorKind::Malformed`] for a broken file;
    /// [`amphora_error::ErrorKind::Unsupported`] for a class that is not known, naming those that are;
    /// [`amphora_error::ErrorKind::Limit`] for a vocabulary beyond every real one;
    /// [`amphora_error::ErrorKind::Usage`] when `config` contradicts itself.
    pub fn new(files: &TokenizerFiles, config: &TextConfig) -> Result<Self> {
        let mut special = TokenizerConfig::read(files)?;
        let (mut tokenizer, normalizer) = match files.get("tokenizer.json") {
            Some(bytes) => {
                let value = parse_json("tokenizer.json", bytes)?;
                check_size(&value).map_err(|error| error.in_file("tokenizer.json"))?;
                drop(value);
                let tokenizer = load(bytes).map_err(|error| error.in_file("tokenizer.json"))?;
                let tokenizer = override_byte_level(override_bert(tokenizer, &special)?, &special);
                (add_stated(tokenizer, &special)?, None)
            }
            None => {
                let Built { json, normalizer } = build::build(files, &mut special)?;
                check_size(&json)?;
                let bytes = serde_json::to_vec(&json).map_err(|source| {
                    Error::internal("tokenizer-encoding", "a tokenizer cannot be written")
                        .caused_by(source)
                })?;
                let tokenizer = load(&bytes)?;
                check_added(&tokenizer, &json)?;
                (tokenizer, normalizer)
            }
        };
        let rules = Rules::new(&tokenizer, &special, config)?;
        guarded("it was set up", || {
            tokenizer.with_truncation(None)?;
            tokenizer.with_padding(None);
            Ok(())
        })?;
        Ok(Self {
            tokens: Tokens::new(&tokenizer)?,
            tokenizer,
            normalizer,
            rules,
            special,
        })
    }

    /// Cuts every text into tokens, with the special tokens around them, shortened where the
    /// configuration says so.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Limit`] for a text that is longer than allowed, naming its place.
    pub fn encode(&self, texts: &[Text<'_>]) -> Result<Encoded> {
        self.encode_to(texts, self.rules.clone())
    }

    /// The tensors that `specs` ask for, filled from `texts`: like [`TextProcessor::encode`] and
    /// [`Encoded::tensors`], and texts are brought to the sequence length that `specs` fix.
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn tensors(
        &self,
        texts: &[Text<'_>],
        specs: &[amphora_onnx::TensorSpec],
    ) -> Result<std::collections::BTreeMap<String, crate::Tensor>> {
        let mut rules = self.rules.clone();
        if let Some(length) = super::encoded::fixed_length(specs) {
            rules.max_length = Some(rules.max_length.map_or(length, |max| max.min(length)));
        }
        self.encode_to(texts, rules)?.tensors(specs)
    }

    fn encode_to(&self, texts: &[Text<'_>], rules: Rules) -> Result<Encoded> {
        let row = |(index, text): (usize, &Text<'_>)| {
            self.row(text, &rules)
                .map_err(|error| error.at(format!("text {index}")))
        };
        let rows = texts.iter().enumerate().map(row).collect::<Result<_>>()?;
        Ok(Encoded { rows, rules })
    }

    fn row(&self, text: &Text<'_>, rules: &Rules) -> Result<Row> {
        let first = self.prepared(text.text, rules)?;
        let second = text
            .pair
            .map(|pair| self.prepared(pair, rules))
            .transpose()?;
        let special = rules.add_special_tokens;
        let whole = guarded("cutting a text", || match &second {
            Some(second) => self
                .tokenizer
                .encode_fast((first.as_str(), second.as_str()), special),
            None => self.tokenizer.encode_fast(first.as_str(), special),
        })?;
        let Some(most) = rules.max_length.filter(|most| whole.len() > *most) else {
            return Ok(Row::of(&whole));
        };
        if !rules.truncation {
            return Err(Error::limit("text-length", "the text has too many tokens")
                .expected(format!("at most {most}"))
                .found(whole.len().to_string())
                .hint("shorten the text, or set 'truncation' in the manifest"));
        }
        let shortened = self.shortened(&first, second.as_deref(), most, rules)?;
        Ok(Row::of(&shortened))
    }

    /// The texts with so many tokens dropped that `most` remain, special tokens included.
    fn shortened(
        &self,
        first: &str,
        second: Option<&str>,
        most: usize,
        rules: &Rules,
    ) -> Result<Encoding> {
        let special = rules.add_special_tokens;
        let frame = match (special, self.tokenizer.get_post_processor()) {
            (true, Some(processor)) => processor.added_tokens(second.is_some()),
            _ => 0,
        };
        let room = most.checked_sub(frame).ok_or_else(|| {
            Error::usage(
                "text-config",
                "'max_length' leaves no room for the special tokens",
            )
            .expected(format!("at least {frame}"))
            .found(most.to_string())
        })?;
        let bare = |text: &str| {
            guarded("shortening a text", || {
                self.tokenizer.encode_fast(text, false)
            })
        };
        let first = bare(first)?;
        let second = second.map(bare).transpose()?.map(|mut second| {
            second.set_type_ids(vec![1; second.len()]);
            second
        });
        let (strategy, kept) = match (&second, rules.truncation_strategy) {
            (None, _) | (_, Shortened::LongestFirst) => (TruncationStrategy::LongestFirst, 0),
            (Some(second), Shortened::OnlyFirst) => (TruncationStrategy::OnlyFirst, second.len()),
            (Some(_), Shortened::OnlySecond) => (TruncationStrategy::OnlySecond, first.len()),
        };
        if kept > 0 && kept >= room {
            return Err(Error::limit(
                "text-length",
                "the text of a pair that is kept whole leaves no room for the other",
            )
            .expected(format!("below {room} tokens"))
            .found(kept.to_string())
            .hint("shorten that text, or set 'truncation_strategy' in the manifest"));
        }
        guarded("shortening a text", || {
            let params = TruncationParams {
                max_length: room,
                strategy,
                direction: match rules.truncation_side {
                    Side::Left => TruncationDirection::Left,
                    Side::Right => TruncationDirection::Right,
                },
                ..TruncationParams::default()
            };
            let (mut first, mut second) = truncate_encodings(first, second, &params)?;
            first.take_overflowing();
            if let Some(second) = &mut second {
                second.take_overflowing();
            }
            self.tokenizer.post_process(first, second, special)
        })
    }

    fn prepared(&self, text: &str, rules: &Rules) -> Result<String> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::limit("text-bytes", "the text is too long")
                .expected(format!("at most {MAX_TEXT_BYTES} bytes"))
                .found(format!("{} bytes", text.len())));
        }
        let text = match &rules.empty_text {
            Some(instead) if text.trim().is_empty() => instead,
            _ => text,
        };
        let text = match rules.lowercase {
            true => text.to_lowercase(),
            false => text.to_owned(),
        };
        match &self.normalizer {
            Some(normalizer) => normalizer.normalize(&text),
            None => Ok(text),
        }
    }

    /// The text of `ids`, with or without special tokens; a number that no token has is passed over.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] when the tokenizer's own rules for it are broken.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let shown = |id: &&u32| {
            let hidden = skip_special && self.is_special(**id);
            !hidden && self.tokenizer.id_to_token(**id).is_some()
        };
        if !ids.iter().any(|id| shown(&id)) {
            // Some rules of the library count on a first token.
            return Ok(String::new());
        }
        guarded("making text", || self.tokenizer.decode(ids, skip_special))
    }

    /// Makes text out of ids that come one by one.
    pub fn stream(&self, skip_special: bool) -> StreamDecoder<'_> {
        StreamDecoder::new(self, skip_special)
    }

    /// The bytes that a token, special or not, adds in the middle of a text, which can be a part of a
    /// character; `None` for a number that no token has.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        self.tokens.bytes(&self.tokenizer, id)
    }

    /// One more than the largest number of a token.
    pub fn vocab_size(&self) -> usize {
        self.tokens.size
    }

    /// The number of the token that is written so in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// How the token with this number is written in the vocabulary.
    pub fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// Whether the token with this number is special: left out of a text with `skip_special`.
    pub fn is_special(&self, id: u32) -> bool {
        self.tokens.is_special(&self.tokenizer, id)
    }

    /// The number that shorter texts are filled up with.
    pub fn pad_id(&self) -> u32 {
        self.rules.pad_id
    }

    /// The token that plays a part in `tokenizer_config.json`: `bos_token`, `eos_token`,
    /// `unk_token`, `sep_token`, `pad_token`, `cls_token` or `mask_token`.
    pub fn special_token(&self, part: &str) -> Option<&str> {
        self.special.content(part)
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}

impl Rules {
    fn new(tokenizer: &Tokenizer, special: &TokenizerConfig, config: &TextConfig) -> Result<Self> {
        let truncation = tokenizer.get_truncation();
        let padding = tokenizer.get_padding();
        let max_length = config
            .max_length
            .or_else(|| truncation.map(|truncation| truncation.max_length))
            .or(special.max_length)
            .filter(|length| *length <= MAX_TEXT_BYTES);
        if max_length == Some(0) {
            return Err(Error::usage("text-config", "'max_length' is 0"));
        }
        let multiple = padding.and_then(|padding| padding.pad_to_multiple_of);
        let multiple = multiple.filter(|m| (1..=MAX_TEXT_BYTES).contains(m));
        let multiple = multiple.unwrap_or(1);
        let side = |left: bool| if left { Side::Left } else { Side::Right };
        let pad = match (config.padding, padding.map(|padding| &padding.strategy)) {
            (Some(Padding::None), _) => Pad::None,
            (Some(Padding::Fixed), _) => Pad::Fixed(max_length.ok_or_else(|| {
                Error::usage(
                    "text-config",
                    "a fixed padding needs a length to pad to, and 'max_length' is absent",
                )
            })?),
            // What is no length of a text is no length to pad to either.
            (None, Some(PaddingStrategy::Fixed(length))) if *length <= MAX_TEXT_BYTES => {
                Pad::Fixed(length.next_multiple_of(multiple))
            }
            _ => Pad::Longest(multiple),
        };
        let id_of = |role: &str| tokenizer.token_to_id(special.content(role)?);
        Ok(Self {
            max_length,
            truncation: config.truncation.unwrap_or(true),
            truncation_side: config
                .truncation_side
                .or(special.truncation_side)
                .or_else(|| truncation.map(|t| side(t.direction == TruncationDirection::Left)))
                .unwrap_or_default(),
            truncation_strategy: config
                .truncation_strategy
                .or_else(|| {
                    truncation.map(|truncation| match truncation.strategy {
                        TruncationStrategy::LongestFirst => Shortened::LongestFirst,
                        TruncationStrategy::OnlyFirst => Shortened::OnlyFirst,
                        TruncationStrategy::OnlySecond => Shortened::OnlySecond,
                    })
                })
                .unwrap_or_default(),
            padding: pad,
            padding_side: config
                .padding_side
                .or(special.padding_side)
                .or_else(|| padding.and_then(|p| Side::parse(p.direction.as_ref())))
                .unwrap_or_default(),
            pad_id: id_of("pad_token")
                .or_else(|| padding.map(|padding| padding.pad_id))
                .or_else(|| id_of("eos_token"))
                .unwrap_or(0),
            pad_type_id: padding.map_or(0, |padding| padding.pad_type_id),
            add_special_tokens: config.add_special_tokens.unwrap_or(true),
            empty_text: config.empty_text.clone(),
            lowercase: config.lowercase.unwrap_or(false),
            decoder_start_token_id: config.decoder_start_token_id.unwrap_or(0),
        })
    }
}

fn load(bytes: &[u8]) -> Result<Tokenizer> {
    guarded("it was read", || Tokenizer::from_bytes(bytes))
}

/// Bounds what the library would build without looking.
fn check_size(json: &serde_json::Value) -> Result<()> {
    use serde_json::Value;
    let limit = |what: &str, most: usize, found: usize| {
        Err(Error::limit(
            "tokenizer-tokens",
            format!("the vocabulary has too many {what}"),
        )
        .expected(format!("at most {most}"))
        .found(found.to_string()))
    };
    let most = MAX_TOKENS as usize;
    let tokens = match &json["model"]["vocab"] {
        Value::Object(tokens) => tokens.len(),
        Value::Array(pieces) => {
            let bytes = pieces.iter().filter_map(|piece| piece[0].as_str());
            let bytes = bytes.map(str::len).sum();
            if bytes > MAX_UNIGRAM_BYTES {
                return limit("bytes", MAX_UNIGRAM_BYTES, bytes);
            }
            pieces.len()
        }
        _ => 0,
    };
    if tokens > most {
        return limit("tokens", most, tokens);
    }
    Ok(())
}

/// The settings of BERT's normalizer that `tokenizer_config.json` states override those in
/// `tokenizer.json`, as in transformers.
fn override_bert(mut tokenizer: Tokenizer, special: &TokenizerConfig) -> Result<Tokenizer> {
    let Some(NormalizerWrapper::BertNormalizer(found)) = tokenizer.get_normalizer() else {
        return Ok(tokenizer);
    };
    let mut wanted = *found;
    if let Some(lowercase) = special.flag("do_lower_case") {
        wanted.lowercase = lowercase;
    }
    if let Some(chinese) = special.flag("tokenize_chinese_chars") {
        wanted.handle_chinese_chars = chinese;
    }
    if special.field("strip_accents").is_some() {
        wanted.strip_accents = special.flag("strip_accents");
    }
    guarded("it was set up", || {
        tokenizer.with_normalizer(Some(wanted))?;
        Ok(())
    })?;
    Ok(tokenizer)
}

/// `add_prefix_space` in `tokenizer_config.json` overrides that of a byte-level `tokenizer.json`, as in
/// transformers.
fn override_byte_level(mut tokenizer: Tokenizer, special: &TokenizerConfig) -> Tokenizer {
    if let (Some(PreTokenizerWrapper::ByteLevel(found)), Some(prefix)) = (
        tokenizer.get_pre_tokenizer(),
        special.flag("add_prefix_space"),
    ) {
        let wanted = found.add_prefix_space(prefix);
        tokenizer.with_pre_tokenizer(Some(wanted));
    }
    tokenizer
}

/// Tokens that `tokenizer_config.json` and the files beside it list, and `tokenizer.json` does not, are
/// recognized as a whole too, as in transformers. A token that plays a part is, where the vocabulary
/// has it.
fn add_stated(mut tokenizer: Tokenizer, special: &TokenizerConfig) -> Result<Tokenizer> {
    let known = tokenizer.get_added_vocabulary().get_vocab();
    let roles = special.roles().map(|token| (None, token));
    let roles = roles.filter(|(_, token)| tokenizer.token_to_id(&token.content).is_some());
    let listed = special.added.iter().map(|(stated, token)| (*stated, token));
    let missing: Vec<(Option<u32>, AddedToken)> = listed
        .chain(roles)
        .filter(|(_, token)| !known.contains_key(&token.content))
        .map(|(stated, token)| (stated, token.clone()))
        .collect();
    let tokens = missing.iter().map(|(_, token)| {
        tokenizers::AddedToken::from(token.content.as_str(), token.special)
            .single_word(token.single_word)
            .lstrip(token.lstrip)
            .rstrip(token.rstrip)
            .normalized(token.normalized)
    });
    guarded("it was set up", || tokenizer.add_tokens(tokens))?;
    for (stated, token) in missing {
        let found = tokenizer.token_to_id(&token.content);
        if let Some(stated) = stated.filter(|stated| Some(*stated) != found) {
            return Err(Error::malformed(
                "added-token",
                format!(
                    "the added token {} has another number",
                    quoted(&token.content)
                ),
            )
            .expected(stated.to_string())
            .found(found.map_or("none".to_owned(), |id| id.to_string()))
            .in_file("tokenizer_config.json"));
        }
    }
    Ok(tokenizer)
}

/// The library numbers tokens beyond the vocabulary itself; the numbers must be those that were meant.
fn check_added(tokenizer: &Tokenizer, json: &serde_json::Value) -> Result<()> {
    let added = json["added_tokens"].as_array().into_iter().flatten();
    for token in added {
        let (content, meant) = (token["content"].as_str(), token["id"].as_u64());
        let found = content.and_then(|content| tokenizer.token_to_id(content));
        if found.map(u64::from) != meant {
            return Err(Error::malformed(
                "added-token",
                "the numbers of the vocabulary have gaps, so that added tokens have no number",
            ));
        }
    }
    Ok(())
}
