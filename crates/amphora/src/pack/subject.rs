//! What is packed, read once: its digest, and the copy that is kept, are of the bytes that were decoded.

use std::path::Path;

use amphora_bundle::MAIN_GRAPH;
use amphora_bundle::manifest::{
    Dependencies, Framework, Io, Performance, Requirements, Source, effective_io,
};
use amphora_checkpoint::architecture::GraphRole;
use amphora_checkpoint::{Checkpoint, Format, Limits as CheckpointLimits, SavedModel};
use amphora_error::{Error, ErrorKind, Result};
use amphora_files::durable::{self, StagingDirectory};
use amphora_files::{Directory, OpenedFile, sha256};
use amphora_onnx::{Contract, Limits, Model};
use bytes::Bytes;
use serde_json::Value;

use super::{PackRequest, directory};
use crate::config::Config;
use crate::export::{Graph, graph_of, parent_of};
use crate::io_schema::signature_io;
use crate::source::{ModelFile, kind_of};

/// A model that is about to be packed, with what is known about where it came from.
pub(super) struct Subject {
    /// The graphs of the bundle, the entry first.
    pub(super) parts: Vec<Part>,
    /// What it was exported from, when that is a checkpoint.
    pub(super) graph: Option<Graph>,
    pub(super) config: Option<Config>,
    pub(super) source: Source,
    /// The bytes of the checkpoint, where they are kept in the bundle.
    pub(super) checkpoint: Option<Bytes>,
    /// What the manifest of a package says beyond its graphs, when it comes out of one.
    pub(super) stated: Option<Stated>,
}

/// What a manifest says that no graph and no checkpoint says.
pub(super) struct Stated {
    /// What the model was trained with.
    pub(super) framework: Framework,
    /// The format that the model came in.
    pub(super) format: String,
    /// How several encoders belong together.
    pub(super) multi_encoder: Option<String>,
    /// The I/O of the entry graph, settled with what the graph says.
    pub(super) io: Io,
    pub(super) requirements: Option<Requirements>,
    pub(super) performance: Option<Performance>,
    pub(super) dependencies: Option<Dependencies>,
}

/// One graph of the bundle.
pub(super) struct Part {
    /// Its name in the bundle.
    pub(super) name: String,
    /// Its role in the manifest.
    pub(super) role: String,
    pub(super) model: Model,
    pub(super) contract: Contract,
}

impl Part {
    /// Checks the only graph of a model.
    fn single(model: Model) -> Result<Vec<Self>> {
        Ok(vec![Self::new(GraphRole::Single, model)?])
    }

    fn new(role: GraphRole, model: Model) -> Result<Self> {
        model.check()?;
        let contract = model.contract()?;
        Ok(Self {
            name: match role {
                GraphRole::Single => MAIN_GRAPH.to_owned(),
                GraphRole::Prefill | GraphRole::Decode => role.word().to_owned(),
            },
            role: role.word().to_owned(),
            model,
            contract,
        })
    }
}

impl Subject {
    /// Opens what the request names, exports it where it is a checkpoint, and checks every graph.
    pub(super) fn read(request: &PackRequest, step: &dyn Fn(&str)) -> Result<Self> {
        let path = &request.model;
        step("reading the model");
        if SavedModel::is_at(path) {
            return Self::of_saved_model(request, step);
        }
        if path.is_dir() {
            let opened = Checkpoint::open(path, &CheckpointLimits::default());
            return match (opened, directory::onnx_file(path)?) {
                (Err(error), Some(onnx)) if error.kind() == ErrorKind::NotFound => {
                    step("checking the model");
                    let mut subject = Self::of_onnx(request, &onnx)?;
                    if subject.config.is_none() {
                        subject.config = directory::config(path)?;
                    }
                    Ok(subject)
                }
                (opened, _) => Self::of_checkpoint(request, opened?, step),
            };
        }
        let file = OpenedFile::open(path)?;
        match kind_of(&file)? {
            ModelFile::Onnx => {
                step("checking the model");
                Self::of_onnx(request, &file)
            }
            ModelFile::Checkpoint => {
                let checkpoint = Checkpoint::open(path, &CheckpointLimits::default())?;
                Self::of_checkpoint(request, checkpoint, step)
            }
        }
    }

    /// Converts a SavedModel; the graph must have what its signature says.
    fn of_saved_model(request: &PackRequest, step: &dyn Fn(&str)) -> Result<Self> {
        let path = &request.model;
        let model = SavedModel::open(path, &CheckpointLimits::default())?;
        let (name, signature) = model
            .signature(request.signature.as_deref())
            .map_err(|error| error.in_file(path))?;
        let stated = signature_io(signature)?;
        let converter = request.converter.as_ref().ok_or_else(|| absent(path))?;
        step("converting the SavedModel with tf2onnx");
        durable::create_directory(request.store.path())?;
        let staging = StagingDirectory::create_in(request.store.path())?;
        let output = staging.path().join("model.onnx");
        converter.convert(path, name, &output)?;
        step("checking the model");
        let mut subject = Self::of_onnx(request, &OpenedFile::open(&output)?)?;
        let contract = &subject.entry()?.contract;
        let known = effective_io(Some(&stated), contract, true, &|_| false)
            .map_err(|error| error.in_file(path))?;
        subject.source = Source {
            format: "saved_model".to_owned(),
            sha256: model.sha256,
            size: model.size,
        };
        subject.stated = Some(Stated {
            framework: Framework {
                name: "tensorflow".to_owned(),
                version: None,
            },
            format: "saved_model".to_owned(),
            multi_encoder: None,
            io: known.io,
            requirements: None,
            performance: None,
            dependencies: None,
        });
        Ok(subject)
    }

    fn of_onnx(request: &PackRequest, file: &OpenedFile) -> Result<Self> {
        let path = file.path();
        if request.keep_checkpoint {
            return Err(
                Error::usage("keep-checkpoint", "an ONNX file has no checkpoint to keep")
                    .in_file(path)
                    .hint("leave --keep-checkpoint out, or pack the checkpoint itself"),
            );
        }
        let limits = Limits::default();
        let bytes = file.contents(limits.file_bytes)?;
        let beside = Directory::open(parent_of(path))?;
        let source = Source {
            format: "onnx".to_owned(),
            sha256: sha256(&bytes),
            size: bytes.len() as u64,
        };
        let model = Model::from_bytes(bytes, Some(&beside), &limits);
        Ok(Self {
            parts: model
                .and_then(Part::single)
                .map_err(|error| error.in_file(path))?,
            graph: None,
            config: request.config.as_deref().map(Config::read).transpose()?,
            source,
            checkpoint: None,
            stated: None,
        })
    }

    fn of_checkpoint(
        request: &PackRequest,
        checkpoint: Checkpoint,
        step: &dyn Fn(&str),
    ) -> Result<Self> {
        let path = &request.model;
        let source = source_of(&checkpoint);
        let kept = match request.keep_checkpoint {
            true => Some(only_file(&checkpoint, path)?),
            false => None,
        };
        let config = request.config.as_deref();
        let graph = graph_of(checkpoint, path, config)?;
        step("checking the model");
        Ok(Self {
            parts: graph
                .models
                .iter()
                .map(|(role, model)| Part::new(*role, model.clone()))
                .collect::<Result<_>>()
                .map_err(|error| error.in_file(path))?,
            config: Some(graph.config.clone()),
            graph: Some(graph),
            source,
            checkpoint: kept,
            stated: None,
        })
    }

    /// The graph whose I/O is the bundle's.
    pub(super) fn entry(&self) -> Result<&Part> {
        self.parts
            .first()
            .ok_or_else(|| Error::internal("pack-entry", "there is no graph to pack"))
    }

    /// What the configuration says; nothing where there is none.
    pub(super) fn config_value(&self) -> &Value {
        self.config
            .as_ref()
            .map_or(&Value::Null, |config| &config.value)
    }

    /// What the kept checkpoint is called inside the bundle.
    pub(super) fn checkpoint_name(&self) -> &'static str {
        let format = self.graph.as_ref().map(|graph| graph.checkpoint.format());
        match format {
            Some(Format::Safetensors) => "checkpoint.safetensors",
            _ => "checkpoint.pt",
        }
    }
}

fn absent(path: &Path) -> Error {
    Error::unsupported(
        "tf2onnx-absent",
        "a SavedModel runs after conversion to ONNX, and tf2onnx, which does that, is not installed here",
    )
    .in_file(path)
    .hint(
        "pip install tf2onnx tensorflow, or convert it elsewhere and pack the ONNX file; \
         amphora contract says what it takes and gives",
    )
}

/// Format, digest and size of a checkpoint: of its file, and where it has several, of the list that
/// `sha256sum` would print of them.
fn source_of(checkpoint: &Checkpoint) -> Source {
    let files = checkpoint.files();
    let sha256 = match files.values().collect::<Vec<_>>().as_slice() {
        [only] => sha256(only),
        _ => {
            let lines = files
                .iter()
                .map(|(name, bytes)| format!("{}  {name}\n", sha256(bytes)));
            sha256(lines.collect::<String>().as_bytes())
        }
    };
    Source {
        format: checkpoint.format().to_string(),
        sha256,
        size: files.values().map(|bytes| bytes.len() as u64).sum(),
    }
}

fn only_file(checkpoint: &Checkpoint, path: &Path) -> Result<Bytes> {
    match checkpoint.files().values().collect::<Vec<_>>().as_slice() {
        [only] => Ok(Bytes::clone(only)),
        files => Err(Error::usage(
            "keep-checkpoint",
            "only a checkpoint of one file can be kept in the bundle",
        )
        .found(format!("{} files", files.len()))
        .in_file(path)
        .hint("leave --keep-checkpoint out")),
    }
}
