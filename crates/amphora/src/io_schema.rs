//! What goes into a model and what comes out, where no bundle and no graph says so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use amphora_bundle::manifest::{
    ApiVersion, EffectiveIo, Io, IoSource, IoSpec, Kind, io_of_model_type,
};
use amphora_bundle::package::{
    Level, PackageFile, PackageFormat, PackageFramework, PackageManifest, PackageMetadata,
    PackageSpec,
};
use amphora_bundle::{Package, layout};
use amphora_checkpoint::{Limits as CheckpointLimits, SavedModel, Signature, SignatureTensor};
use amphora_error::{Error, ErrorKind, Result, quoted};
use amphora_files::{OpenedFile, RelativePath, json};
use amphora_onnx::{Dim, Dtype, TensorSpec};
use amphora_runtime::image::ImageConfig;
use serde::Serialize;
use serde_json::Value;

use crate::config::{CONFIG, Config};
use crate::inspect::description_limits;
use crate::run::Medium;
use crate::write_file;

/// What a model takes and gives.
#[derive(Debug, Clone, Serialize)]
pub struct IoSchema {
    /// Where the model lies.
    pub path: PathBuf,
    /// What lies there.
    #[serde(rename = "model_kind")]
    pub kind: ModelKind,
    /// The `model_type` of its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_type: Option<String>,
    /// The signature of a SavedModel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Inputs and outputs, and who says so.
    #[serde(flatten)]
    pub io: EffectiveIo,
    /// Whether that is only what is usual for such models: the model itself was not asked.
    pub unverified: bool,
}

/// What a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// A package.
    Package,
    /// A checkpoint with its configuration, as the Hugging Face Hub lays it out.
    Checkpoint,
    /// A TensorFlow SavedModel.
    SavedModel,
}

/// What the model in the directory `path` takes and gives; `None` for a directory that is no model by
/// itself, and for a file.
///
/// * A package: its manifest, settled with its graph.
/// * A SavedModel: the signature called `signature`, by default `serving_default`.
/// * A checkpoint's directory: what the export of its architecture takes and gives; for an
///   architecture that is not exported what is usual for its `model_type`, which is `unverified`.
///
/// # Errors
///
/// Those of reading; [`ErrorKind::NotFound`] for a signature that is not there;
/// [`ErrorKind::Usage`] for a signature of what has none.
pub fn io_schema(path: &Path, signature: Option<&str>) -> Result<Option<IoSchema>> {
    let schema = if Package::is_at(path) {
        Some(of_package(path)?)
    } else if SavedModel::is_at(path) {
        return of_saved_model(path, signature).map(Some);
    } else if is_checkpoint(path) {
        Some(of_checkpoint(path)?)
    } else {
        None
    };
    match (signature, schema) {
        (Some(_), _) => Err(Error::usage(
            "signature-of-nothing",
            "only a SavedModel has signatures",
        )
        .in_file(path)
        .hint("leave --signature out")),
        (None, schema) => Ok(schema),
    }
}

/// Whether the directory `path` holds a checkpoint or a SavedModel.
pub(crate) fn has_schema(path: &Path) -> bool {
    SavedModel::is_at(path) || is_checkpoint(path)
}

/// A configuration, and no graph to ask.
fn is_checkpoint(path: &Path) -> bool {
    let graph = ["model.onnx", "onnx"]
        .iter()
        .any(|name| path.join(name).exists());
    path.join(CONFIG).is_file() && !graph && !path.join(layout::MANIFEST).exists()
}

pub(crate) fn not_a_model(path: &Path) -> Error {
    Error::not_found("not-a-model", "this directory holds no model").in_file(path)
}

fn of_package(path: &Path) -> Result<IoSchema> {
    let package = Package::open(path, Level::Install)?;
    let io = match package.graphs() {
        Ok(graphs) => {
            let entry = graphs.first().ok_or_else(|| not_a_model(path))?;
            let model = package.model(entry, &description_limits())?;
            package.effective_io(&model.contract()?, false)?
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => package.stated_io()?,
        Err(error) => return Err(error),
    };
    Ok(IoSchema {
        path: path.to_owned(),
        kind: ModelKind::Package,
        model_type: None,
        signature: None,
        unverified: io.source.is_unverified(),
        io,
    })
}

fn of_checkpoint(path: &Path) -> Result<IoSchema> {
    let place = path.join(CONFIG);
    let config = Config::read(&place)?;
    let model_type = config.value.get("model_type").and_then(Value::as_str);
    let has = |name: &str| path.join(name).is_file();
    let io = match config.architecture(Some(&place), path) {
        Ok(architecture) => {
            let specs = |ports: Vec<_>| -> Vec<IoSpec> {
                let specs = ports.iter().map(amphora_export::tensor_spec);
                specs.map(|spec| IoSpec::of(&spec)).collect()
            };
            let io = Io {
                inputs: specs(architecture.inputs()),
                outputs: specs(architecture.outputs()),
            };
            EffectiveIo::of(io, IoSource::Architecture, &has)
        }
        // A family, or a variant of one, that is not exported.
        Err(error) if error.kind() == ErrorKind::Unsupported || model_type.is_none() => {
            match model_type.and_then(io_of_model_type) {
                Some(mut io) => {
                    prepare_pictures(&mut io, path)?;
                    EffectiveIo::of(io, IoSource::ModelType, &has)
                }
                None => EffectiveIo::legacy(),
            }
        }
        Err(error) => return Err(error),
    };
    Ok(IoSchema {
        path: path.to_owned(),
        kind: ModelKind::Checkpoint,
        model_type: model_type.map(str::to_owned),
        signature: None,
        unverified: io.source.is_unverified(),
        io,
    })
}

/// Replaces what is usual for the pictures of a family by what the model's own file says; nothing stays where
/// that cannot be done here.
fn prepare_pictures(io: &mut Io, path: &Path) -> Result<()> {
    let own = path.join("preprocessor_config.json");
    if !own.is_file() {
        return Ok(());
    }
    for input in &mut io.inputs {
        let spec = input.tensor_spec();
        let is_picture = Medium::of(input) == Some(Medium::Image);
        if let (true, Some(how)) = (is_picture, &mut input.preprocessing) {
            let file = |_: &str| OpenedFile::open(&own)?.contents(json::MAX_BYTES).map(Some);
            how.config = match ImageConfig::settled(None, &file, &spec) {
                Ok(config) => Some(config.to_manifest()),
                Err(error) if error.kind() == ErrorKind::Unsupported => None,
                Err(error) => return Err(error.in_file(&own)),
            };
        }
    }
    Ok(())
}

fn of_saved_model(path: &Path, signature: Option<&str>) -> Result<IoSchema> {
    let model = SavedModel::open(path, &CheckpointLimits::default())?;
    let (name, signature) = model
        .signature(signature)
        .map_err(|error| error.in_file(path))?;
    let io = signature_io(signature)?;
    Ok(IoSchema {
        path: path.to_owned(),
        kind: ModelKind::SavedModel,
        model_type: None,
        signature: Some(name.to_owned()),
        io: EffectiveIo::of(io, IoSource::Signature, &|name| path.join(name).is_file()),
        unverified: false,
    })
}

/// Inputs and outputs of a signature, by name.
pub(crate) fn signature_io(signature: &Signature) -> Result<Io> {
    let specs = |tensors: &BTreeMap<String, SignatureTensor>| {
        tensors
            .iter()
            .map(|(name, tensor)| {
                let dim = |size: &Option<u64>| size.map_or(Dim::Unknown, Dim::Fixed);
                Ok(IoSpec::of(&TensorSpec {
                    name: name.clone(),
                    dtype: Dtype::from_name(tensor.dtype)?,
                    shape: tensor
                        .shape
                        .as_ref()
                        .map(|sizes| sizes.iter().map(dim).collect()),
                }))
            })
            .collect::<Result<Vec<IoSpec>>>()
    };
    Ok(Io {
        inputs: specs(&signature.inputs)?,
        outputs: specs(&signature.outputs)?,
    })
}

/// Writes `manifest.yaml` of a package for the SavedModel in `path` into the directory `out`: its
/// inputs and outputs, the digest of its graph, and `execution_format: tensorflow`, by which every
/// command knows that it cannot run here before it is converted.
///
/// # Errors
///
/// Those of [`io_schema`] and of writing; [`ErrorKind::Malformed`] when no name can be made of the
/// directory's.
pub fn write_manifest(path: &Path, signature: Option<&str>, out: &Path) -> Result<PathBuf> {
    let model = SavedModel::open(path, &CheckpointLimits::default())?;
    let (name, signature) = model
        .signature(signature)
        .map_err(|error| error.in_file(path))?;
    let folder =
        fs_err::canonicalize(path).map_err(|source| Error::from_io("looking at", path, source))?;
    let stem = folder.file_name().unwrap_or_default().to_string_lossy();
    let manifest = PackageManifest {
        api_version: ApiVersion::V1,
        kind: Kind::Model,
        metadata: PackageMetadata {
            name: stem.into_owned(),
            namespace: None,
            version: "latest".to_owned(),
            description: format!(
                "the signature {} of a SavedModel; it runs after conversion to ONNX",
                quoted(name)
            ),
            license: None,
            authors: Vec::new(),
            homepage: None,
            documentation: None,
            tags: Vec::new(),
            created: None,
            updated: None,
        },
        spec: PackageSpec {
            framework: PackageFramework {
                name: "tensorflow".to_owned(),
                version: None,
            },
            format: PackageFormat {
                r#type: "saved_model".to_owned(),
                execution_format: Some("tensorflow".to_owned()),
                multi_encoder: None,
                files: vec![PackageFile {
                    path: RelativePath::parse(SavedModel::FILE)?,
                    size: model.size,
                    sha256: Some(model.sha256),
                }],
                execution_files: Vec::new(),
            },
            io: Some(signature_io(signature)?),
            requirements: None,
            performance: None,
            dependencies: None,
        },
        distribution: None,
    };
    let target = out.join(layout::MANIFEST);
    write_file(&target, manifest.to_yaml()?.as_bytes())?;
    Ok(target)
}
