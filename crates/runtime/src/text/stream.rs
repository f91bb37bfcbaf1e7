//! Text out of token ids that come one by one.

use amphora_error::Result;

use super::TextProcessor;

/// Ids kept of what was decoded already: enough for every rule that looks back.
const KEPT: usize = 4;
/// Ids decoded together before the oldest are dropped.
const WINDOW: usize = 32;

/// Decodes ids as they come. What it answers never ends within a character, and together it is what
/// [`TextProcessor::decode`] answers for all ids at once.
///
/// ```
/// # use amphora_runtime::text::{TextConfig, TextProcessor, TokenizerFiles};
/// # let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nwor\n##ld\n";
/// # let files = TokenizerFiles::gather(|name| Ok((name == "vocab.txt").then(|| vocabulary.into())))?;
/// let processor = TextProcessor::new(&files, &TextConfig::default())?;
/// let mut stream = processor.stream(true);
/// let mut text = String::new();
/// for id in [5, 6, 7] {
///     text += &stream.push(id)?;
/// }
/// text += &stream.finish()?;
/// assert_eq!(text, "hello world");
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Debug)]
pub struct StreamDecoder<'a> {
    processor: &'a TextProcessor,
    skip_special: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Bytes of a character that is not complete yet.
    Bytes(Vec<u8>),
    /// Ids that are decoded together; the text of the first `decoded` of them was answered.
    Ids { ids: Vec<u32>, decoded: usize },
}

impl<'a> StreamDecoder<'a> {
    pub(super) fn new(processor: &'a TextProcessor, skip_special: bool) -> Self {
        let state = match processor.tokens().only_bytes {
            true => State::Bytes(Vec::new()),
            false => State::Ids {
                ids: Vec::new(),
                decoded: 0,
            },
        };
        Self {
            processor,
            skip_special,
            state,
        }
    }

    /// Makes the text that follows on the text of `ids`, a prompt: nothing that belongs between the two
    /// is taken for the start of a text and left out, such as the blank in front of a word.
    pub fn after(mut self, ids: &[u32]) -> Self {
        let tokens = self.processor.tokens();
        if let State::Ids {
            ids: known,
            decoded,
        } = &mut self.state
            && tokens.local
        {
            let shown = |id: &&u32| {
                let token = self.processor.token(**id);
                let special = self.skip_special && self.processor.is_special(**id);
                token.is_some_and(|token| !special && tokens.fallback_byte(&token).is_none())
            };
            known.extend(ids.iter().rev().find(shown));
            *decoded = known.len();
        }
        self
    }

    /// The text that is certain once `id` follows what came before; often empty.
    ///
    /// # Errors
    ///
    /// Those of [`TextProcessor::decode`].
    pub fn push(&mut self, id: u32) -> Result<String> {
        let special = self.skip_special && self.processor.is_special(id);
        let Some(token) = self.processor.token(id).filter(|_| !special) else {
            return Ok(String::new());
        };
        let tokens = self.processor.tokens();
        match &mut self.state {
            State::Bytes(pending) => {
                pending.extend(self.processor.token_bytes(id).unwrap_or_default());
                Ok(complete(pending))
            }
            State::Ids { ids, decoded } => {
                ids.push(id);
                // A run of single bytes is text only as a whole, and only its end tells.
                if tokens.fallback_byte(&token).is_some() || !tokens.local {
                    return Ok(String::new());
                }
                let text = fresh(self.processor, ids, *decoded)?;
                *decoded = ids.len();
                if ids.len().is_multiple_of(WINDOW) {
                    drop_decoded(self.processor, ids)?;
                    *decoded = ids.len();
                }
                Ok(text)
            }
        }
    }

    /// The rest of the text.
    ///
    /// # Errors
    ///
    /// Those of [`TextProcessor::decode`].
    pub fn finish(self) -> Result<String> {
        match self.state {
            State::Bytes(pending) => Ok(String::from_utf8_lossy(&pending).into_owned()),
            State::Ids { ids, decoded } => fresh(self.processor, &ids, decoded),
        }
    }
}

/// Takes all complete characters off `pending`; bytes that can be no part of a character become
/// U+FFFD, as in a lossy conversion of the whole.
fn complete(pending: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut taken = 0;
    for chunk in pending.utf8_chunks() {
        text.push_str(chunk.valid());
        taken += chunk.valid().len();
        let invalid = chunk.invalid();
        let is_last = taken + invalid.len() == pending.len();
        let unfinished = std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
        if invalid.is_empty() || (is_last && unfinished) {
            break;
        }
        text.push(char::REPLACEMENT_CHARACTER);
        taken += invalid.len();
    }
    pending.drain(..taken);
    text
}

/// What the ids after the first `decoded` add to the text.
fn fresh(processor: &TextProcessor, ids: &[u32], decoded: usize) -> Result<String> {
    let before = processor.decode(&ids[..decoded], false)?;
    let whole = processor.decode(ids, false)?;
    Ok(match whole.strip_prefix(&before) {
        Some(fresh) => fresh.to_owned(),
        None => whole,
    })
}

/// Forgets the oldest ids, all of them decoded, but for so many that the text does not start anew:
/// what is left must hold a sign that no rule for the start of a text takes away.
fn drop_decoded(processor: &TextProcessor, ids: &mut Vec<u32>) -> Result<()> {
    let kept = ids.len() - KEPT;
    let text = processor.decode(&ids[kept..], false)?;
    if text.trim().is_empty() {
        return Ok(());
    }
    ids.drain(..kept);
    Ok(())
}
