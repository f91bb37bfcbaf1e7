//! What a bundle serves besides tensors: text and pictures in, answers and texts out. Read before anything
//! is computed, and tried: what is sealed here must not fail at the first request.

use std::path::Path;

use amphora_bundle::manifest::{Generation, Graph};
use amphora_error::{Error, Result};
use amphora_runtime::text::chat::ChatTemplate;
use amphora_runtime::text::{TextConfig, TextProcessor, TokenizerFiles, is_text_input};

use super::assets::AssetFiles;
use super::generation::generation;
use super::processing::Processing;
use super::subject::Subject;

/// The ways in and out of the graphs.
pub(super) struct Serving {
    processing: Option<Processing>,
    pub(super) generation: Option<Generation>,
}

impl Serving {
    /// Reads what the files say; `directory` is the one that they were taken from, if there is one. What
    /// will not be served, although people would expect it, goes to `notes`.
    ///
    /// # Errors
    ///
    /// Those of broken files; [`amphora_error::ErrorKind::Incompatible`] for a tokenizer of another model,
    /// and for stop tokens that the model does not have.
    pub(super) fn read(
        directory: Option<&Path>,
        subject: &Subject,
        files: &AssetFiles,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let serving = Self::of(directory.is_some(), subject, files, notes);
        serving.map_err(|error| match directory {
            Some(directory) => error.beneath(directory),
            None => error,
        })
    }

    fn of(
        of_directory: bool,
        subject: &Subject,
        files: &AssetFiles,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let serving = Self {
            // A single file says nothing of what is done before and after its graph, and a manifest says
            // it itself.
            processing: match of_directory && subject.stated.is_none() {
                true => Some(Processing::read(subject, files)?),
                false => None,
            },
            generation: generation(subject, files)?,
        };
        if let Some(processing) = &serving.processing {
            text(subject, files, notes)?;
            pictures(subject, processing, notes);
        }
        if let (true, Some(generation)) = (of_directory, &serving.generation) {
            stop_tokens(generation, vocabulary(subject))?;
        }
        Ok(serving)
    }

    /// Writes the hints into the manifest's description of a graph.
    pub(super) fn describe(&self, graph: &mut Graph) {
        if let Some(processing) = &self.processing {
            processing.describe(graph);
        }
    }
}

/// How many tokens the model knows, as its configuration says.
fn vocabulary(subject: &Subject) -> Option<u64> {
    subject.config_value().get("vocab_size")?.as_u64()
}

/// Tries the tokenizer and the chat template.
fn text(subject: &Subject, files: &AssetFiles, notes: &mut Vec<String>) -> Result<()> {
    let files = TokenizerFiles::gather(|name| Ok(files.content(name)))?;
    if !files.can_tokenize() {
        let mut inputs = subject.parts.iter().flat_map(|part| &part.contract.inputs);
        if inputs.any(|spec| is_text_input(&spec.name)) {
            notes.push("there is no tokenizer: the bundle takes token ids, no text".to_owned());
        }
        return Ok(());
    }
    let processor = TextProcessor::new(&files, &TextConfig::from_files(&files)?)?;
    ChatTemplate::read(&files)?;
    let Some(known) = vocabulary(subject) else {
        return Ok(());
    };
    let tokens = processor.vocab_size() as u64;
    let unknown = (known..tokens).filter_map(|id| u32::try_from(id).ok());
    let mut ordinary = unknown.filter(|id| !processor.is_special(*id));
    if ordinary.next().is_some() {
        return Err(Error::incompatible(
            "tokenizer-vocabulary",
            "the tokenizer is that of another model: it makes tokens that this one does not know",
        )
        .at("vocab_size")
        .expected(format!("at most {known} tokens"))
        .found(format!("{tokens} tokens")));
    }
    if tokens > known {
        notes.push(format!(
            "the tokenizer has {} special tokens more than the model, which refuses texts with them",
            tokens - known
        ));
    }
    Ok(())
}

fn pictures(subject: &Subject, processing: &Processing, notes: &mut Vec<String>) {
    let mut inputs = subject.parts.iter().flat_map(|part| &part.contract.inputs);
    if !processing.prepares_pictures() && inputs.any(|spec| spec.name == "pixel_values") {
        notes.push(
            "there is no preprocessor_config.json: pictures are prepared as for most classifiers of ImageNet"
                .to_owned(),
        );
    }
}

fn stop_tokens(generation: &Generation, vocabulary: Option<u64>) -> Result<()> {
    let Some(known) = vocabulary else {
        return Ok(());
    };
    let ids = generation
        .stop_token_ids
        .iter()
        .chain(&generation.pad_token_id);
    let unknown: Vec<String> = ids
        .filter(|id| u64::from(**id) >= known)
        .map(|id| format!("{id} is not a token of the model"))
        .collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(Error::incompatible(
            "generation-token",
            "the configuration names tokens that the model does not have",
        )
        .at("eos_token_id or pad_token_id")
        .expected(format!("token ids below {known}"))
        .faults(unknown)),
    }
}
