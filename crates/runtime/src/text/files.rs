//! The files that a tokenizer is made of.

use std::collections::BTreeMap;

use amphora_error::{Error, Result};
use bytes::Bytes;

/// Largest file of a tokenizer, in bytes; the largest in use are half of it.
const MAX_FILE_BYTES: usize = 64 << 20;

/// The names that sentencepiece models are published under.
pub(super) const SENTENCEPIECE: [&str; 5] = [
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "spm.model",
];

/// The files of a model directory, or of a bundle, that say how text becomes tokens and back.
///
/// Every file is known by its conventional name ([`TokenizerFiles::NAMES`]); which of them are there
/// decides how the tokenizer is made, see [`crate::text::TextProcessor::new`].
///
/// ```
/// use amphora_runtime::text::TokenizerFiles;
///
/// let files = TokenizerFiles::gather(|name| {
///     Ok((name == "vocab.txt").then(|| "[PAD]\n[UNK]\nhello\n".into()))
/// })?;
/// assert_eq!(files.names().collect::<Vec<_>>(), ["vocab.txt"]);
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct TokenizerFiles {
    files: BTreeMap<&'static str, Bytes>,
}

impl TokenizerFiles {
    /// Every name that is looked for. Whoever packs a model carries those that are there.
    pub const NAMES: [&'static str; 15] = [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        SENTENCEPIECE[0],
        SENTENCEPIECE[1],
        SENTENCEPIECE[2],
        SENTENCEPIECE[3],
        SENTENCEPIECE[4],
        "sentence_bert_config.json",
        "chat_template.jinja",
        "config.json",
    ];

    /// Asks `read` for every name; what it answers with `None` is absent.
    ///
    /// # Errors
    ///
    /// Those of `read`; [`amphora_error::ErrorKind::Limit`] for a file of more than 64 MiB.
    pub fn gather(mut read: impl FnMut(&str) -> Result<Option<Bytes>>) -> Result<Self> {
        let mut files = BTreeMap::new();
        for name in Self::NAMES {
            let Some(bytes) = read(name)? else { continue };
            if bytes.len() > MAX_FILE_BYTES {
                return Err(Error::limit(
                    "tokenizer-file-size",
                    "a file of the tokenizer is too large",
                )
                .expected(format!("at most {MAX_FILE_BYTES} bytes"))
                .found(format!("{} bytes", bytes.len()))
                .in_file(name));
            }
            files.insert(name, bytes);
        }
        Ok(Self { files })
    }

    /// The names of the files that are there, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().copied()
    }

    /// Whether any file is there that a tokenizer can be made from.
    pub fn can_tokenize(&self) -> bool {
        let pair = self.get("vocab.json").is_some() && self.get("merges.txt").is_some();
        let alone = ["tokenizer.json", "vocab.txt"];
        let mut names = alone.iter().chain(&SENTENCEPIECE);
        pair || names.any(|name| self.get(name).is_some())
    }

    /// The content of one file.
    pub(super) fn get(&self, name: &str) -> Option<&Bytes> {
        self.files.get(name)
    }

    /// The first sentencepiece model, with its name.
    pub(super) fn sentencepiece(&self) -> Option<(&'static str, &Bytes)> {
        SENTENCEPIECE
            .into_iter()
            .find_map(|name| Some((name, self.get(name)?)))
    }

    /// That nothing is there to make a tokenizer from.
    pub(super) fn missing(&self) -> Error {
        let found: Vec<&str> = self.names().collect();
        Error::not_found("tokenizer-missing", "there is no tokenizer")
            .expected(format!(
                "tokenizer.json, vocab.txt, vocab.json with merges.txt, or {}",
                SENTENCEPIECE.join(", ")
            ))
            .found(match found.is_empty() {
                true => "none of its files".to_owned(),
                false => found.join(", "),
            })
            .hint("put the model's tokenizer.json beside it")
    }
}
