//! From a checkpoint to an ONNX file.

use std::path::{Path, PathBuf};

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Limits as CheckpointLimits};
use amphora_error::{Error, Result};
use amphora_export::ExportOptions;
use amphora_files::{Digest, Directory, OpenedFile, RelativePath, durable};
use amphora_onnx::{Contract, Limits, Model, write};
use serde::Serialize;

use crate::config::Config;
use crate::output::{not_over, outside_bundles};

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// The configuration; not needed when the checkpoint carries one.
    pub config: Option<PathBuf>,
    /// Where the ONNX file goes; a file that is there is replaced.
    pub output: PathBuf,
    /// The opset; the architecture's own when absent.
    pub opset: Option<u64>,
    /// Leave the weights in the checkpoint (a safetensors file beside or beneath the output's
    /// directory) and point into it.
    pub link: bool,
    /// Write the weights to `OUTPUT.data`, whatever their size.
    pub external_data: bool,
}

/// What was exported.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    /// The ONNX file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
    /// The files that hold weights, by the location that the graph names.
    pub external_files: Vec<String>,
    /// The architecture.
    pub model_type: &'static str,
    /// The graph's contract.
    #[serde(flatten)]
    pub contract: Contract,
}

/// A checkpoint as a graph, with everything that was needed to make it.
pub(crate) struct Graph {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) config: Config,
    pub(crate) architecture: Architecture,
    pub(crate) model: Model,
}

/// Exports a checkpoint of a known architecture to an ONNX file.
///
/// # Errors
///
/// Those of reading the checkpoint and its configuration, of the exporter (a missing, extra or
/// misshapen tensor: one error that lists them all), and of writing. An output that would replace an
/// input, or lie in a sealed bundle, is [`amphora_error::ErrorKind::Usage`].
pub fn export(request: &ExportRequest) -> Result<Exported> {
    keep_inputs(request)?;
    let link = request
        .link
        .then(|| location(&request.checkpoint, &request.output))
        .transpose()?;
    let graph = graph(
        &request.checkpoint,
        request.config.as_deref(),
        &ExportOptions {
            opset: request.opset,
            link,
        },
        &request.output,
    )?;
    if request.link {
        durable::write_file(&request.output, &write::to_bytes(graph.model.proto()))?;
    } else {
        write::save(&graph.model, &request.output, request.external_data)?;
    }
    let written = Model::open(&request.output, &Limits::default())?;
    let file = OpenedFile::open(&request.output)?;
    Ok(Exported {
        path: request.output.clone(),
        size: file.len(),
        sha256: file.digest()?,
        external_files: written.external_files().keys().cloned().collect(),
        model_type: graph.architecture.model_type(),
        contract: written.contract()?,
    })
}

/// Refuses outputs that would destroy what the export reads, or a bundle.
fn keep_inputs(request: &ExportRequest) -> Result<()> {
    outside_bundles(&request.output)?;
    let mut outputs = vec![request.output.clone()];
    if !request.link {
        // Large weights go to the data file without being asked to.
        let mut data = request.output.clone().into_os_string();
        data.push(".data");
        outputs.push(data.into());
    }
    for output in &outputs {
        for input in std::iter::once(&request.checkpoint).chain(&request.config) {
            not_over(output, input)?;
        }
    }
    Ok(())
}

/// Builds the graph of the checkpoint at `path`; linked weights are looked for beside `output`.
fn graph(
    path: &Path,
    config_path: Option<&Path>,
    options: &ExportOptions,
    output: &Path,
) -> Result<Graph> {
    let checkpoint = Checkpoint::open(path, &CheckpointLimits::default())?;
    graph_of(checkpoint, path, config_path, options, output)
}

/// Builds the graph of `checkpoint`, which messages call `path`.
pub(crate) fn graph_of(
    checkpoint: Checkpoint,
    path: &Path,
    config_path: Option<&Path>,
    options: &ExportOptions,
    output: &Path,
) -> Result<Graph> {
    let config = Config::of(&checkpoint, config_path).map_err(|error| error.in_file(path))?;
    let architecture = config.architecture(config_path, path)?;
    let proto = amphora_export::export(&architecture, &checkpoint, options)
        .map_err(|error| error.in_file(path))?;
    let model = if options.link.is_some() {
        let directory = Directory::open(parent_of(output))?;
        let bytes = write::to_bytes(&proto).into();
        Model::from_bytes(bytes, Some(&directory), &Limits::default())?
    } else {
        Model::from_proto(proto, &Limits::default())?
    };
    Ok(Graph {
        checkpoint,
        config,
        architecture,
        model,
    })
}

/// Where the checkpoint lies, seen from the directory of the ONNX file.
fn location(checkpoint: &Path, output: &Path) -> Result<RelativePath> {
    let absolute = |path: &Path| {
        fs_err::canonicalize(path).map_err(|source| Error::from_io("looking at", path, source))
    };
    let directory = absolute(parent_of(output))?;
    let checkpoint_path = absolute(checkpoint)?;
    let text = checkpoint_path
        .strip_prefix(&directory)
        .ok()
        .and_then(Path::to_str)
        .ok_or_else(|| {
            Error::usage(
                "link-outside",
                "linked weights must lie in the directory of the ONNX file, or deeper",
            )
            .expected(format!("a file beneath {}", directory.display()))
            .in_file(checkpoint)
            .hint("write the ONNX file beside the checkpoint, or leave --link out")
        })?;
    RelativePath::parse(text)
}

pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
