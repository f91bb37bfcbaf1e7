//! `spec`: the framework, the files that run, the graphs and what they need.

use std::collections::BTreeMap;

use amphora_files::RelativePath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::golden::finite;
use super::{FileEntry, Generation, Io};

/// What goes in, what comes out, what runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What the model was trained with.
    pub framework: Framework,
    /// The files of the model.
    pub format: Format,
    /// The I/O of the entry graph.
    pub io: Io,
    /// The name of the graph that `io` repeats.
    pub entry: String,
    /// Every graph, by name.
    pub graphs: BTreeMap<String, Graph>,
    /// How a language model writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// What the model needs to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
    /// How it performs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performance: Option<Performance>,
    /// What else must be installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Dependencies>,
}

/// What the model was trained with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    /// `pytorch`, `tensorflow`, `onnx`, ...
    pub name: String,
    /// Its version, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The files of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// The format the model came in, for example `pytorch` or `onnx`.
    pub r#type: String,
    /// The format that runs.
    pub execution_format: String,
    /// How several encoders belong together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_encoder: Option<String>,
    /// The model files; each is listed under `files` too.
    pub files: Vec<FileEntry>,
    /// The files that run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub execution_files: Vec<ExecutionFile>,
}

/// One file that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionFile {
    /// The path inside the bundle.
    pub path: RelativePath,
    /// `onnx`, `coreml`, ...
    pub format: String,
    /// The role: `single`, `encoder`, `decoder`, `text_encoder`, `vision_encoder`, `prefill`, ...
    pub r#type: String,
}

/// One ONNX graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// The ONNX file.
    pub file: RelativePath,
    /// The files that hold its external data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<RelativePath>,
    /// `single`, `encoder`, `decoder`, `prefill`, `decode`, or another word in snake case.
    pub role: String,
    /// Its inputs and outputs.
    pub io: Io,
    /// The version of its default operator set.
    pub opset: u64,
    /// The version of its ONNX intermediate representation.
    pub ir_version: u64,
    /// Elements in its floating-point weights.
    pub parameters: u64,
}

/// What the model needs to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requirements {
    /// Processors and memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<Compute>,
    /// Disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
}

/// Processors and memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compute {
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Main memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Graphics processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
}

/// Cores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// The fewest that do.
    pub min_cores: u32,
    /// How many are good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommended_cores: Option<u32>,
}

/// Main memory, in gigabytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The least that does.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "finite"
    )]
    pub min_gb: Option<f64>,
    /// How much is good.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "finite"
    )]
    pub recommended_gb: Option<f64>,
}

/// Disk, in gigabytes.
pub type Storage = Memory;

/// Graphics processor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Whether the model does not run without.
    pub required: bool,
    /// Whether one is good.
    #[serde(default)]
    pub recommended: bool,
    /// The least memory, in gigabytes.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "finite"
    )]
    pub min_vram_gb: Option<f64>,
    /// The CUDA version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda_version: Option<String>,
}

/// How the model performs, as its maker says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Performance {
    /// Time per call, by device.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inference_time: BTreeMap<String, String>,
    /// Calls per time, by device.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub throughput: BTreeMap<String, String>,
    /// Accuracy, by measure.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accuracy: BTreeMap<String, f64>,
    /// What it was measured on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
}

/// What else must be installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dependencies {
    /// Other models, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Packages of the framework.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
}

/// A package of the framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
}
