//! Text to the inputs of a graph, and token ids back to text.
//!
//! * [`TokenizerFiles`]: the files of a model directory or a bundle, whichever there are.
//! * [`TextConfig`]: lengths, padding and special tokens, as a manifest states them.
//! * [`TextProcessor`]: texts in, [`Encoded`] out, which fills every input of a graph by its name;
//!   and token ids back to text, all at once or as they come ([`StreamDecoder`]).
//! * `chat` (feature `generation`): conversations as prompts.
//!
//! ```
//! use amphora_onnx::{Dim, Dtype, TensorSpec};
//! use amphora_runtime::text::{Text, TextConfig, TextProcessor, TokenizerFiles};
//!
//! let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nwor\n##ld\n";
//! let files = TokenizerFiles::gather(|name| Ok((name == "vocab.txt").then(|| vocabulary.into())))?;
//! let processor = TextProcessor::new(&files, &TextConfig::default())?;
//!
//! let encoded = processor.encode(&[Text::from("Hello world"), Text::from("hello")])?;
//! assert_eq!(encoded.ids(0), [2, 5, 6, 7, 3]);
//! let spec = |name: &str| TensorSpec {
//!     name: name.into(),
//!     dtype: Dtype::Int64,
//!     shape: Some(vec![Dim::Symbol("batch".into()), Dim::Symbol("sequence".into())]),
//! };
//! let tensors = encoded.tensors(&[spec("input_ids"), spec("attention_mask")])?;
//! let mask = tensors["attention_mask"].as_slice::<i64>();
//! assert_eq!(mask, Some(&[1, 1, 1, 1, 1, 1, 1, 1, 0, 0][..]));
//! assert_eq!(processor.decode(&[5, 6, 7], true)?, "hello world");
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! One engine cuts text, the library `tokenizers`, and it reads one form, `tokenizer.json`. Whatever
//! else a model comes with (`vocab.txt`, `vocab.json` with `merges.txt`, a sentencepiece model) is
//! brought into that form as transformers converts it; only the normalization of sentencepiece, which
//! that form cannot express, is done here. Shortening and padding are done here too: what a file
//! says of them depends on who made it, what a manifest says does not.
//!
//! Files come from strangers: sizes are bounded, numbers of tokens are bounded, and a panic inside
//! the library is an error.

mod build;
#[cfg(feature = "generation")]
pub mod chat;
mod config;
mod encoded;
mod files;
mod processor;
mod special;
mod stream;
mod tokens;

use amphora_error::{Error, Result};
use amphora_files::json;
use serde_json::Value;

use crate::engine::{panic_text, shortened};

pub use config::{Padding, Shortened, Side, TextConfig};
pub use encoded::{Encoded, is_mask_input, is_text_input};
pub use files::TokenizerFiles;
pub use processor::{Text, TextProcessor};
pub use stream::StreamDecoder;

/// One of the JSON files of a tokenizer.
fn parse_json(name: &str, bytes: &[u8]) -> Result<Value> {
    json::parse(bytes).map_err(|error| error.in_file(name))
}

/// Runs a call into the library that cuts text, and turns its errors and its panics into ours.
fn guarded<T>(
    action: &'static str,
    call: impl FnOnce() -> Result<T, tokenizers::Error>,
) -> Result<T> {
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    let reason = match run {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic_text(&*panic).to_owned(),
    };
    Err(
        Error::malformed("tokenizer", format!("the tokenizer failed while {action}"))
            .found(shortened(&reason)),
    )
}
