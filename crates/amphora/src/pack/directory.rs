//! What lies beside the weights in a model directory: the files that go into the bundle under their own
//! names, because a tokenizer, a processor or a person looks for them there.

use std::path::Path;

use amphora_error::{ErrorKind, Result};
use amphora_files::{Directory, OpenedFile, RelativePath};
use amphora_runtime::text::TokenizerFiles;
use bytes::Bytes;

use crate::config::{CONFIG, Config};
use crate::source::MAX_BESIDE;

/// The files that are taken besides those of a tokenizer, as the Hugging Face Hub and
/// `sentence-transformers` name them.
const KEPT: [&str; 7] = [
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
    "modules.json",
    "1_Pooling/config.json",
    "2_Normalize/config.json",
    "config_sentence_transformers.json",
];

/// Where exporters of others put a graph.
const ONNX: [&str; 2] = ["model.onnx", "onnx/model.onnx"];

/// The names of all files that are taken. Every form of a tokenizer is kept: a reader takes the one that
/// it knows.
pub(super) fn well_known() -> impl Iterator<Item = &'static str> {
    let tokenizer = TokenizerFiles::NAMES.into_iter();
    tokenizer.filter(|name| *name != CONFIG).chain(KEPT)
}

/// Every kept file that is there, with its content.
pub(super) fn kept(directory: &Path) -> Result<Vec<(RelativePath, Bytes)>> {
    let mut files = Vec::new();
    for name in well_known() {
        let place = RelativePath::parse(name)?;
        if let Some(file) = existing(directory, &place)? {
            files.push((place, file.contents(MAX_BESIDE)?));
        }
    }
    Ok(files)
}

/// A graph that somebody else exported into the directory.
pub(super) fn onnx_file(directory: &Path) -> Result<Option<OpenedFile>> {
    for name in ONNX {
        if let Some(file) = existing(directory, &RelativePath::parse(name)?)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// The directory's `config.json`.
pub(super) fn config(directory: &Path) -> Result<Option<Config>> {
    let path = directory.join(CONFIG);
    match path.is_file() {
        true => Config::read(&path).map(Some),
        false => Ok(None),
    }
}

/// A well-known file. At the top of the directory it may be a link: the Hub's cache consists of them.
fn existing(directory: &Path, place: &RelativePath) -> Result<Option<OpenedFile>> {
    let opened = match place.components().count() {
        1 => OpenedFile::open(place.beneath(directory)),
        _ => Directory::open(directory)?.open_file(place),
    };
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
