//! Recognizing and reading one checkpoint file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use amphora_error::Result;
use amphora_files::OpenedFile;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::safetensors::Source;
use crate::{Limits, Safetensors, Tensor, directory, sniff, torch};

/// The format a checkpoint was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// A safetensors file.
    Safetensors,
    /// A PyTorch file in zip format (1.6 and later).
    TorchZip,
    /// A PyTorch file in the stream format of releases before 1.6.
    TorchLegacy,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "torch-zip",
            Self::TorchLegacy => "torch-legacy",
        })
    }
}

/// The named tensors of one checkpoint, and the configuration stored beside them if there is one.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    tensors: BTreeMap<String, Tensor>,
    format: Format,
    pub(crate) config: Option<Map<String, Value>>,
    pub(crate) files: BTreeMap<String, Option<Bytes>>,
}

/// How much of safetensors files is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Whole,
    /// The headers.
    InPlace,
}

impl Checkpoint {
    /// Reads the checkpoint at `path`, which a person named: a file, or a directory as the Hugging Face Hub lays
    /// it out (`config.json` beside `model.safetensors`, its shards, or `pytorch_model.bin`).
    pub fn open(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        Self::open_with(path.as_ref(), Reading::Whole, limits)
    }

    /// As [`Self::open`], but the weights of safetensors files stay there until [`Tensor::data`] asks for
    /// them: for programs that want to know what there is and where, however large it is. A file that
    /// changes meanwhile is read as it is then.
    pub fn open_in_place(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        Self::open_with(path.as_ref(), Reading::InPlace, limits)
    }

    fn open_with(path: &Path, reading: Reading, limits: &Limits) -> Result<Self> {
        if path.is_dir() {
            return directory::read(path, reading, limits);
        }
        Self::from_file(OpenedFile::open(path)?, reading, limits)
    }

    pub(crate) fn from_file(file: OpenedFile, reading: Reading, limits: &Limits) -> Result<Self> {
        let path = file.path().to_owned();
        let name = path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        if reading == Reading::InPlace && sniff::is_safetensors(&file)? {
            let read = Safetensors::read(&Source::File(&Arc::new(file)), &name, limits);
            let tensors = read.map_err(|error| error.in_file(&path))?.tensors;
            let mut checkpoint = Self::new(tensors, Format::Safetensors, None);
            checkpoint.files = BTreeMap::from([(name, None)]);
            return Ok(checkpoint);
        }
        let bytes = file.contents(limits.file_bytes)?;
        let mut checkpoint =
            Self::named(bytes.clone(), &name, limits).map_err(|error| error.in_file(&path))?;
        checkpoint.files = BTreeMap::from([(name, Some(bytes))]);
        Ok(checkpoint)
    }

    /// Reads a checkpoint from the content of its file; the tensors share `bytes` where they can.
    pub fn from_bytes(bytes: Bytes, limits: &Limits) -> Result<Self> {
        Self::named(bytes, "", limits)
    }

    /// As [`Self::from_bytes`], of a file called `name`.
    fn named(bytes: Bytes, name: &str, limits: &Limits) -> Result<Self> {
        let format = sniff::format(&bytes, limits)?;
        let (tensors, config) = match format {
            Format::Safetensors => (
                Safetensors::read(&Source::Memory(&bytes), name, limits)?.tensors,
                None,
            ),
            Format::TorchZip => torch::read_zip(&bytes, limits)?,
            Format::TorchLegacy => torch::read_legacy(&bytes, limits)?,
        };
        Ok(Self::new(tensors, format, config))
    }

    pub(crate) fn new(
        tensors: BTreeMap<String, Tensor>,
        format: Format,
        config: Option<Map<String, Value>>,
    ) -> Self {
        Self {
            tensors: without_common_prefix(tensors),
            format,
            config,
            files: BTreeMap::new(),
        }
    }

    /// The tensors by name, without the prefixes that all of them share (`module.`, `model.`, `_orig_mod.`).
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The format of the file.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The names of the files that the tensors were read from; none where the checkpoint was read
    /// [from bytes](Self::from_bytes).
    pub fn file_names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Those files by name, with the bytes that were decoded; without files that are read
    /// [in place](Self::open_in_place).
    pub fn files(&self) -> BTreeMap<&str, &Bytes> {
        let files = self.files.iter();
        files
            .filter_map(|(name, bytes)| Some((name.as_str(), bytes.as_ref()?)))
            .collect()
    }

    /// The `config.json` of a directory, or the mapping under `config` in a training checkpoint;
    /// `None` where there is none, or where it holds something that JSON cannot express.
    pub fn config(&self) -> Option<&Map<String, Value>> {
        self.config.as_ref()
    }
}

/// Prefixes that wrapping a model adds to the name of every parameter: `DataParallel`,
/// Lightning modules, `torch.compile`.
const PREFIXES: [&str; 3] = ["module.", "model.", "_orig_mod."];

/// Removes the wrappers' prefixes that every name has; a prefix that only some names have is part of the model.
fn without_common_prefix(tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let all_wrapped = |start: usize, prefix: &str| {
        tensors.keys().all(|name| {
            name.get(start..)
                .and_then(|rest| rest.strip_prefix(prefix))
                .is_some_and(|rest| !rest.is_empty())
        })
    };
    let mut start = 0;
    while let Some(prefix) = PREFIXES
        .into_iter()
        .find(|prefix| !tensors.is_empty() && all_wrapped(start, prefix))
    {
        start += prefix.len();
    }
    tensors
        .into_iter()
        .map(|(mut name, tensor)| (name.split_off(start), tensor))
        .collect()
}
