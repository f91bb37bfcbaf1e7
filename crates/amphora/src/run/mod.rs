//! One inference.

mod answer;
mod feed;
mod open;

use std::path::PathBuf;

use amphora_error::{Error, ErrorKind, Result};
use amphora_runtime::isolate;

pub use answer::{Answer, BundleRan};
use feed::Fed;
pub use feed::InputValue;
pub(crate) use feed::{Medium, in_one_line, packed_without_tokenizer};
use open::Opened;
pub(crate) use open::verified;

use crate::{Engines, Subject};

/// What to run, on what.
#[derive(Debug)]
pub struct RunRequest {
    /// The bundle, package or ONNX file.
    pub subject: Subject,
    /// The inputs, by name.
    pub inputs: Vec<(String, InputValue)>,
    /// Texts, or pairs of texts, that become the inputs that a tokenizer fills; several are one batch.
    pub texts: Vec<(String, Option<String>)>,
    /// Pictures that become the input made for them; several are one batch.
    pub images: Vec<PathBuf>,
    /// A sound, as a WAV file, that becomes the input made for it.
    pub audio: Option<PathBuf>,
    /// The engine.
    pub engines: Engines,
    /// How many labels to report, most probable first; what the manifest says when absent.
    pub top_k: Option<usize>,
    /// Replay the golden vectors first.
    pub verify: bool,
}

impl RunRequest {
    /// A run of `subject` without inputs on the default engine.
    pub fn new(subject: Subject) -> Self {
        Self {
            subject,
            inputs: Vec::new(),
            texts: Vec::new(),
            images: Vec::new(),
            audio: None,
            engines: Engines::default(),
            top_k: None,
            verify: false,
        }
    }
}

/// Runs one inference. Of a bundle, every byte that is used was compared with the manifest; a
/// calibration in it is applied, text and pictures become inputs as its manifest says, and so do outputs
/// answers.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Untrusted`] when the bundle is not what was sealed;
/// [`amphora_error::ErrorKind::Usage`] listing every fault of the inputs.
pub fn run(request: RunRequest) -> Result<Answer> {
    if request.top_k == Some(0) {
        return Err(Error::usage("top-k", "no label is asked for").expected("at least 1"));
    }
    let mut opened = open::open(request.subject, &request.engines, request.verify)?;
    let raw = feed::Raw {
        inputs: &request.inputs,
        texts: &request.texts,
        images: &request.images,
        audio: request.audio.as_deref(),
    };
    let Fed { inputs, mask } = feed::tensors(&opened, &raw)?;
    let outputs = opened.session.run(&inputs).map_err(|error| {
        // That is the model's doing, not that of the inputs.
        match isolate::has_ended(&error) {
            true => error.in_file(&opened.path),
            false => with_media(error, &opened, &raw),
        }
    })?;
    answer::answer(opened, mask.as_ref(), outputs, request.top_k)
}

/// Who gives nothing hears first of what can be given instead of tensors.
fn with_media(error: Error, opened: &Opened, raw: &feed::Raw<'_>) -> Error {
    let flags = feed::media(opened);
    match (error.kind(), error.hint_text().map(str::to_owned)) {
        (ErrorKind::Usage, Some(hint)) if raw.is_empty() && !flags.is_empty() => {
            error.hint(format!(
                "give {}, or tensors with --input: {hint}",
                flags.join(" or ")
            ))
        }
        _ => error,
    }
}
