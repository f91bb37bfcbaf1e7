//! From a checkpoint to an ONNX file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use amphora_checkpoint::architecture::{Architecture, GraphRole};
use amphora_checkpoint::{Checkpoint, Limits as CheckpointLimits, Tensor};
use amphora_error::{Error, Result};
use amphora_export::{ExportOptions, Links};
use amphora_files::{Digest, Directory, OpenedFile, RelativePath, durable};
use amphora_onnx::{Contract, Limits, Model, write};
use serde::Serialize;

use crate::config::{CONFIG, Config};
use crate::output::{not_over, outside_bundles, prepare_directory};

/// The data file of graphs that share their weights.
const SHARED_DATA: &str = "model.onnx.data";

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// The checkpoint: a file, or a directory as Hugging Face lays it out.
    pub checkpoint: PathBuf,
    /// The configuration; not needed when the checkpoint carries one.
    pub config: Option<PathBuf>,
    /// Where the ONNX file goes; a file that is there is replaced. For a language model, which is two
    /// graphs, the directory that `prefill.onnx` and `decode.onnx` go to.
    pub output: PathBuf,
    /// The opset; the architecture's own when absent.
    pub opset: Option<u64>,
    /// Leave the weights in the checkpoint (safetensors files beside or beneath the directory of the
    /// ONNX files), unread, and point into it.
    pub link: bool,
    /// Write the weights to `OUTPUT.data`, whatever their size; those of a language model to one file
    /// for both graphs, `model.onnx.data`.
    pub external_data: bool,
}

/// What was exported.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    /// The architecture.
    pub model_type: &'static str,
    /// Its graphs, in the order of their use.
    pub graphs: Vec<ExportedGraph>,
}

/// One graph that was exported.
#[derive(Debug, Clone, Serialize)]
pub struct ExportedGraph {
    /// `single`, or for a language model `prefill` and `decode`.
    pub role: &'static str,
    /// The ONNX file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
    /// The files that hold weights, by the location that the graph names.
    pub external_files: Vec<String>,
    /// The graph's contract.
    #[serde(flatten)]
    pub contract: Contract,
}

/// A checkpoint as graphs, with everything that was needed to make them.
pub(crate) struct Graph {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) config: Config,
    pub(crate) architecture: Architecture,
    /// In the order of [`Architecture::roles`].
    pub(crate) models: Vec<(GraphRole, Model)>,
}

/// Exports a checkpoint of a known architecture to one ONNX file, or to two for a language model.
///
/// # Errors
///
/// Those of reading the checkpoint and its configuration, of the exporter (a missing, extra or
/// misshapen tensor: one error that lists them all), and of writing. An output that would replace an
/// input, or lie in a sealed bundle, is [`amphora_error::ErrorKind::Usage`], and so is one that is a
/// file where a directory is needed.
pub fn export(request: &ExportRequest) -> Result<Exported> {
    outside_bundles(&request.output)?;
    let path = &request.checkpoint;
    let config_path = request.config.as_deref();
    let limits = CheckpointLimits::default();
    let checkpoint = match request.link {
        true => Checkpoint::open_in_place(path, &limits)?,
        false => Checkpoint::open(path, &limits)?,
    };
    let config = Config::of(&checkpoint, config_path).map_err(|error| error.in_file(path))?;
    let architecture = config.architecture(config_path, path)?;
    let places = places(&request.output, architecture.roles())?;
    keep_inputs(request, &checkpoint, &places)?;
    let [first, ..] = places.as_slice() else {
        return Err(Error::internal(
            "export-roles",
            "there is no graph to export",
        ));
    };
    let link = request
        .link
        .then(|| links(path, &checkpoint, first))
        .transpose()?;
    let options = ExportOptions {
        opset: request.opset,
        link,
    };
    let directory = request.link.then(|| Directory::open(parent_of(first)));
    let directory = directory.transpose()?;
    let models = models(&architecture, &checkpoint, &options, directory.as_ref())
        .map_err(|error| error.in_file(path))?;
    if places.len() > 1 {
        prepare_directory(parent_of(first))?;
    }
    if request.link {
        for ((_, model), place) in models.iter().zip(&places) {
            durable::write_file(place, &write::to_bytes(model.proto()))?;
        }
    } else if let [(_, model)] = models.as_slice() {
        write::save(model, first, request.external_data)?;
    } else {
        save_together(&models, &places, request.external_data)?;
    }
    let roles = architecture.roles().iter();
    Ok(Exported {
        model_type: architecture.model_type(),
        graphs: roles
            .zip(places)
            .map(|(role, place)| exported(*role, place))
            .collect::<Result<_>>()?,
    })
}

/// What was written to `path`.
fn exported(role: GraphRole, path: PathBuf) -> Result<ExportedGraph> {
    let written = Model::open(&path, &graph_only())?;
    let file = OpenedFile::open(&path)?;
    Ok(ExportedGraph {
        role: role.word(),
        size: file.len(),
        sha256: file.digest()?,
        external_files: written.unread_files().iter().cloned().collect(),
        contract: written.contract()?,
        path,
    })
}

/// To check a graph against its data files without reading those.
fn graph_only() -> Limits {
    Limits {
        external_read_bytes: 0,
        ..Limits::default()
    }
}

/// The file of each graph.
fn places(output: &Path, roles: &[GraphRole]) -> Result<Vec<PathBuf>> {
    if roles.len() == 1 {
        return match output.is_dir() {
            false => Ok(vec![output.to_owned()]),
            true => Err(Error::usage(
                "output-file",
                "this model becomes one file, and the output is a directory",
            )
            .in_file(output)
            .expected("the name of an ONNX file")
            .hint(format!("-o {}", output.join("model.onnx").display()))),
        };
    }
    let names: Vec<String> = roles
        .iter()
        .map(|role| format!("{}.onnx", role.word()))
        .collect();
    if output.is_file() || output.extension().is_some_and(|end| end == "onnx") {
        return Err(Error::usage(
            "output-directory",
            "a language model becomes several files, and the output is one",
        )
        .in_file(output)
        .expected(format!("a directory for {}", names.join(" and ")))
        .hint("name a directory as the output; it is made when it is absent"));
    }
    Ok(names.iter().map(|name| output.join(name)).collect())
}

/// Refuses outputs that would destroy what the export reads.
fn keep_inputs(request: &ExportRequest, checkpoint: &Checkpoint, places: &[PathBuf]) -> Result<()> {
    let mut outputs = places.to_vec();
    if !request.link {
        // Large weights go to the data file without being asked to.
        outputs.push(match places {
            [only] => {
                let mut data = only.clone().into_os_string();
                data.push(".data");
                data.into()
            }
            _ => request.output.join(SHARED_DATA),
        });
    }
    let path = &request.checkpoint;
    let mut inputs = vec![path.clone()];
    inputs.extend(request.config.clone());
    if path.is_dir() {
        inputs.push(path.join(CONFIG));
        inputs.extend(checkpoint.file_names().map(|name| path.join(name)));
    }
    for output in &outputs {
        for input in &inputs {
            not_over(output, input)?;
        }
    }
    Ok(())
}

/// Where the files that hold the tensors lie, seen from the ONNX file `output`.
fn links(path: &Path, checkpoint: &Checkpoint, output: &Path) -> Result<Links> {
    let places = checkpoint.tensors().values().filter_map(Tensor::place);
    let files: BTreeSet<&str> = places.map(|place| &*place.file).collect();
    let link = |name: &str| {
        let file = match path.is_dir() {
            true => path.join(name),
            false => path.to_owned(),
        };
        Ok((name.to_owned(), location(&file, output)?))
    };
    files.into_iter().map(link).collect()
}

/// Writes graphs that share their weights: where those need a data file, one serves all.
fn save_together(models: &[(GraphRole, Model)], places: &[PathBuf], data_file: bool) -> Result<()> {
    let limit = match data_file {
        true => 0,
        false => write::STAND_ALONE_INLINE_LIMIT,
    };
    let parts = |(_, model): &(_, Model)| write::self_contained(model, SHARED_DATA, limit);
    let parts = models.iter().map(parts).collect::<Result<Vec<_>>>()?;
    let mut written = None;
    for (files, place) in parts.iter().zip(places) {
        if written.is_some_and(|written| written != &files.data) {
            return Err(Error::internal(
                "shared-weights",
                "the graphs of one model do not lay out its weights alike",
            ));
        }
        if let (None, Some(data)) = (written, &files.data) {
            let target = place.with_file_name(SHARED_DATA);
            durable::write_file_with(&target, &mut |file| data.write_to(file))?;
        }
        written = Some(&files.data);
    }
    for (files, place) in parts.iter().zip(places) {
        durable::write_file(place, &files.graph)?;
    }
    Ok(())
}

/// Builds the graphs of `checkpoint`, which messages call `path`.
pub(crate) fn graph_of(
    checkpoint: Checkpoint,
    path: &Path,
    config_path: Option<&Path>,
) -> Result<Graph> {
    let config = Config::of(&checkpoint, config_path).map_err(|error| error.in_file(path))?;
    let architecture = config.architecture(config_path, path)?;
    let models = models(&architecture, &checkpoint, &ExportOptions::default(), None)
        .map_err(|error| error.in_file(path))?;
    Ok(Graph {
        checkpoint,
        config,
        architecture,
        models,
    })
}

/// The graphs of a model; those that link to weights shall lie in `directory`.
fn models(
    architecture: &Architecture,
    checkpoint: &Checkpoint,
    options: &ExportOptions,
    directory: Option<&Directory>,
) -> Result<Vec<(GraphRole, Model)>> {
    let graphs = amphora_export::export_graphs(architecture, checkpoint, options)?;
    let model = |(role, proto)| {
        let model = match directory {
            Some(_) => {
                let bytes = write::to_bytes(&proto).into();
                Model::from_bytes(bytes, directory, &graph_only())?
            }
            None => Model::from_proto(proto, &Limits::default())?,
        };
        Ok((role, model))
    };
    graphs.into_iter().map(model).collect()
}

/// Where the checkpoint lies, seen from the directory of the ONNX file.
fn location(checkpoint: &Path, output: &Path) -> Result<RelativePath> {
    let checkpoint_path = fs_err::canonicalize(checkpoint)
        .map_err(|source| Error::from_io("looking at", checkpoint, source))?;
    let directory = parent_of(output);
    // Nothing lies beneath a directory that does not exist.
    let text = fs_err::canonicalize(directory)
        .ok()
        .and_then(|directory| checkpoint_path.strip_prefix(directory).ok())
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
