//! Recognizing and reading one checkpoint file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use amphora_error::Result;
use amphora_files::OpenedFile;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{Limits, Tensor, directory, safetensors, sniff, torch};

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
    pub(crate) files: BTreeMap<String, Bytes>,
}

impl Checkpoint {
    /// Reads the checkpoint at `path`, which a person named: a file, or a directory as the Hugging Face Hub lays
    /// it out (`config.json` beside `model.safetensors`, its shards, or `pytorch_model.bin`).
    pub fn open(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            return directory::read(path, limits);
        }
        Self::from_file(&OpenedFile::open(path)?, limits)
    }

    pub(crate) fn from_file(file: &OpenedFile, limits: &Limits) -> Result<Self> {
        let bytes = file.contents(limits.file_bytes)?;
        let mut checkpoint =
            Self::from_bytes(bytes.clone(), limits).map_err(|error| error.in_file(file.path()))?;
        let name = file.path().file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        checkpoint.files = BTreeMap::from([(name, bytes)]);
        Ok(checkpoint)
    }

    /// Reads a checkpoint from the content of its file; the tensors share `bytes` where they can.
    pub fn from_bytes(bytes: Bytes, limits: &Limits) -> Result<Self> {
        let format = sniff::format(&bytes, limits)?;
        let (tensors, config) = match format {
            Format::Safetensors => (safetensors::read(&bytes, limits)?, None),
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

    /// The files that the tensors were read from, by name, with the bytes that were decoded; none where the
    /// checkpoint was read [from bytes](Self::from_bytes).
    pub fn files(&self) -> &BTreeMap<String, Bytes> {
        &self.files
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
