//! `manifest.yaml`: the only source of truth of a bundle.

mod effective;
mod generation;
mod golden;
mod io;
mod metadata;
mod model_types;
mod postprocessing;
mod spec;
mod validate;
pub(crate) mod write;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::ops::Deref;

use amphora_error::{Error, Result};
use amphora_files::{Digest, RelativePath};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use effective::{EffectiveIo, IoSource, effective_io};
pub use generation::{Generation, Sampling};
pub use golden::{Golden, GoldenKind, Tolerance};
pub use io::{Io, IoSpec, Preprocessing};
pub use metadata::{
    Author, Distribution, DistributionPackage, Metadata, Provenance, Registry, Source,
};
pub use model_types::{MODEL_TYPES, io_of_model_type};
pub use postprocessing::{AudioLayout, Pooling, Postprocessing};
pub use spec::{
    Compute, Cpu, Dependencies, ExecutionFile, Format, Framework, Gpu, Graph, Memory, Package,
    Performance, Requirements, Spec, Storage,
};
pub(crate) use validate::dims_agree;
pub use yaml::parse_yaml;

use crate::BundleId;

/// Largest manifest read, in bytes.
pub const MAX_BYTES: u64 = 16 << 20;

/// A manifest that keeps every rule: it cannot be built otherwise.
///
/// The fields are read through [`ManifestFields`], which this type dereferences to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ManifestFields", into = "ManifestFields")]
pub struct Manifest(ManifestFields);

impl Manifest {
    /// Checks `fields` and keeps them; one error lists every rule that is broken.
    pub fn new(fields: ManifestFields) -> Result<Self> {
        validate::validate(&fields)?;
        Ok(Self(fields))
    }

    /// Reads `manifest.yaml` strictly: one document, no key twice, no unknown key, no anchor, alias,
    /// merge key or tag, only finite numbers. Errors name line and column.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::new(yaml::parse(bytes)?)
    }

    /// The manifest as YAML; the same manifest always gives the same bytes.
    pub fn to_yaml(&self) -> Result<String> {
        write::to_yaml(&self.0)
    }

    /// The id that the content deserves, computed anew.
    pub fn computed_id(&self) -> Result<BundleId> {
        BundleId::of(&self.0)
    }

    /// The listed file at `path`.
    pub fn file(&self, path: &RelativePath) -> Option<&FileEntry> {
        let index = self.0.files.binary_search_by(|file| file.path.cmp(path));
        index.ok().and_then(|index| self.0.files.get(index))
    }

    /// The graph called `name`.
    pub fn graph(&self, name: &str) -> Result<&Graph> {
        self.0.spec.graphs.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.0.spec.graphs.keys().map(String::as_str).collect();
            Error::not_found("graph-not-found", "the bundle has no graph of this name")
                .at(format!("graph {}", amphora_error::quoted(name)))
                .expected(format!("one of {}", known.join(", ")))
        })
    }

    /// The I/O of the graph called `name`, with the preprocessing that is stated, or else detected
    /// from names, types and shapes.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::NotFound`] when there is no such graph.
    pub fn effective_io(&self, name: &str) -> Result<EffectiveIo> {
        let io = self.graph(name)?.io.clone();
        let listed = |path: &str| self.files.iter().any(|file| file.path.as_str() == path);
        Ok(EffectiveIo::of(io, IoSource::Manifest, &listed))
    }

    /// Gives the fields back, to change them and check them again.
    pub fn into_fields(self) -> ManifestFields {
        self.0
    }
}

impl Deref for Manifest {
    type Target = ManifestFields;
    fn deref(&self) -> &ManifestFields {
        &self.0
    }
}

impl TryFrom<ManifestFields> for Manifest {
    type Error = Error;
    fn try_from(fields: ManifestFields) -> Result<Self> {
        Self::new(fields)
    }
}

impl From<Manifest> for ManifestFields {
    fn from(manifest: Manifest) -> Self {
        manifest.0
    }
}

impl JsonSchema for Manifest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Manifest".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        ManifestFields::json_schema(generator)
    }
}

/// What a manifest says. The keys of document 004 have their meaning there; `spec.entry`,
/// `spec.graphs`, `dims` and everything from `identity` on are Amphora's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestFields {
    /// The version of the format.
    #[serde(rename = "apiVersion")]
    pub api_version: ApiVersion,
    /// What the manifest describes.
    pub kind: Kind,
    /// Name, version and who made it.
    pub metadata: Metadata,
    /// What goes in, what comes out, what runs.
    pub spec: Spec,
    /// Where a package was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// The identity of the bundle.
    pub identity: Identity,
    /// Every other file of the bundle but `manifest.sha256`, sorted by path.
    pub files: Vec<FileEntry>,
    /// The deployment formats, keyed `onnx`, `coreml`, `hailo`: what is there, and what was skipped and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub formats: BTreeMap<String, FormatEntry>,
    /// Files with a known meaning.
    #[serde(default, skip_serializing_if = "Assets::is_empty")]
    pub assets: Assets,
    /// Golden vectors, keyed by the graph that they exercise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub golden: BTreeMap<String, Golden>,
    /// Where the model came from.
    #[serde(default, skip_serializing_if = "Provenance::is_empty")]
    pub provenance: Provenance,
    /// What is needed to open and run the bundle.
    pub compatibility: Compatibility,
    /// How many weights are NaN or infinite.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nonfinite_weights: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The version of the manifest format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// `axon.mlos.io/v1`; the short form `v1` is read too.
    #[serde(rename = "axon.mlos.io/v1", alias = "v1")]
    V1,
}

/// What a manifest describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A model.
    Model,
}

/// The identity of the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The digest of the [canonical form](crate::canonical_form).
    pub id: BundleId,
}

/// One file: where, how large, which bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// The path inside the bundle.
    pub path: RelativePath,
    /// The size in bytes.
    pub size: u64,
    /// The digest of the content.
    pub sha256: Digest,
}

/// One deployment format: present (`file`) or skipped (`skipped`, with the reason).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FormatEntry {
    /// The file, or the folder of a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<RelativePath>,
    /// The size in bytes, all files of a package and external data together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// The ONNX operator set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opset_version: Option<u64>,
    /// The oldest iOS that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_ios_version: Option<String>,
    /// The Hailo tool chain that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hailo_version: Option<String>,
    /// Why the format is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// Files with a known meaning; every path is listed in `files`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assets {
    /// The configuration of the model or experiment, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<RelativePath>,
    /// Evaluation metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<RelativePath>,
    /// Class number to label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<RelativePath>,
    /// Temperature per head, applied to logits by the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<RelativePath>,
    /// The tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<RelativePath>,
    /// The checkpoint that the model was exported from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<RelativePath>,
}

impl Assets {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Every asset that is set, with its key.
    pub fn paths(&self) -> impl Iterator<Item = (&'static str, &RelativePath)> {
        [
            ("config", &self.config),
            ("metrics", &self.metrics),
            ("labels", &self.labels),
            ("calibration", &self.calibration),
            ("tokenizer", &self.tokenizer),
            ("checkpoint", &self.checkpoint),
        ]
        .into_iter()
        .filter_map(|(key, path)| path.as_ref().map(|path| (key, path)))
    }
}

/// What is needed to open and run the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compatibility {
    /// The oldest Amphora that reads this manifest.
    #[schemars(with = "String")]
    pub amphora_min_version: semver::Version,
    /// The oldest ONNX Runtime that runs the graphs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub onnxruntime_min_version: Option<semver::Version>,
    /// The highest operator set that a graph needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_opset: Option<u64>,
}
