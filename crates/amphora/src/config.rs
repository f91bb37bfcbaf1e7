//! The configuration of a model or experiment: JSON or YAML, read strictly, kept verbatim.

use std::path::Path;

use amphora_checkpoint::Checkpoint;
use amphora_checkpoint::architecture::Architecture;
use amphora_error::{Error, Result};
use amphora_files::{OpenedFile, json};
use bytes::Bytes;
use serde_json::Value;

/// Beside the weights of a model directory.
pub(crate) const CONFIG: &str = "config.json";
/// Beside the weights of an embedding model (sentence-transformers): its configuration may still name
/// the class with a head that it was trained from.
const EMBEDDING_MODULES: &str = "modules.json";

/// A configuration as it was given and as it is understood.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The file's content.
    pub(crate) bytes: Bytes,
    /// Its name inside a bundle: `config.json` or `config.yaml`.
    pub(crate) name: &'static str,
    /// What it says.
    pub(crate) value: Value,
}

impl Config {
    /// Reads the file at `path`: YAML when its name ends in `.yaml` or `.yml`, JSON otherwise.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = OpenedFile::open(path)?.contents(json::MAX_BYTES)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let (name, value) = match extension {
            Some("yaml" | "yml") => ("config.yaml", amphora_bundle::parse_yaml(&bytes)),
            _ => (CONFIG, json::parse(&bytes)),
        };
        let value = value.map_err(|error| error.in_file(path))?;
        Ok(Self { bytes, name, value })
    }

    /// Reads a `config.json`.
    pub(crate) fn of_json(bytes: Bytes) -> Result<Self> {
        let value = json::parse(&bytes).map_err(|error| error.in_file(CONFIG))?;
        Ok(Self {
            bytes,
            name: CONFIG,
            value,
        })
    }

    /// The configuration that a training checkpoint carries with its weights.
    pub(crate) fn inside(checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let Some(object) = checkpoint.config() else {
            return Ok(None);
        };
        let value = Value::Object(object.clone());
        let bytes = json::to_pretty_bytes(&value)?.into();
        Ok(Some(Self {
            bytes,
            name: CONFIG,
            value,
        }))
    }

    /// The configuration for `checkpoint`: the file at `path`, else the one inside.
    pub(crate) fn of(checkpoint: &Checkpoint, path: Option<&Path>) -> Result<Self> {
        if let Some(path) = path {
            return Self::read(path);
        }
        Self::inside(checkpoint)?.ok_or_else(|| {
            Error::usage(
                "config-missing",
                "the checkpoint does not say what model it belongs to",
            )
            .hint("name the model's configuration with --config")
        })
    }

    /// The architecture it describes, without a head where the checkpoint is a directory that holds an
    /// embedding model. `path` is the file it was read from, `checkpoint` the one that carries it
    /// otherwise.
    pub(crate) fn architecture(
        &self,
        path: Option<&Path>,
        checkpoint: &Path,
    ) -> Result<Architecture> {
        let read = match checkpoint.join(EMBEDDING_MODULES).is_file() {
            true => Architecture::without_head,
            false => Architecture::from_config,
        };
        read(&self.value).map_err(|error| match path {
            Some(path) => error.in_file(path),
            None if checkpoint.is_dir() => error.in_file(checkpoint.join(CONFIG)),
            None => {
                let hinted = error.hint_text().is_some();
                let error = error
                    .in_file(checkpoint)
                    .at("the configuration inside the checkpoint");
                match hinted {
                    true => error,
                    false => error.hint("name the model's configuration with --config"),
                }
            }
        })
    }
}
