//! Inputs and outputs as a manifest describes them.

use amphora_files::RelativePath;
use amphora_onnx::{Contract, Dim, Dtype, TensorSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Postprocessing;

/// What goes in and what comes out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Io {
    /// The inputs, in graph order.
    pub inputs: Vec<IoSpec>,
    /// The outputs, in graph order.
    pub outputs: Vec<IoSpec>,
}

impl Io {
    /// The I/O that a graph's own contract states.
    pub fn of(contract: &Contract) -> Self {
        Self {
            inputs: contract.inputs.iter().map(IoSpec::of).collect(),
            outputs: contract.outputs.iter().map(IoSpec::of).collect(),
        }
    }
}

/// One input or output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IoSpec {
    /// The name in the graph.
    pub name: String,
    /// The element type.
    pub dtype: Dtype,
    /// The dimensions, outermost first, -1 where the size varies; absent when the rank is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<i64>>,
    /// The same dimensions with the names of those that vary, where they have names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dims: Option<Vec<Dim>>,
    /// What it means, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How it is made from text, a picture or sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<Preprocessing>,
    /// What an output becomes before it is answered, step by step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub postprocessing: Vec<Postprocessing>,
}

impl IoSpec {
    /// The description of a graph's input or output.
    pub fn of(spec: &TensorSpec) -> Self {
        let size = |dim: &Dim| match dim {
            Dim::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
            Dim::Symbol(_) | Dim::Unknown => -1,
        };
        let named = |dims: &&Vec<Dim>| dims.iter().any(|dim| matches!(dim, Dim::Symbol(_)));
        Self {
            name: spec.name.clone(),
            dtype: spec.dtype,
            shape: spec
                .shape
                .as_ref()
                .map(|dims| dims.iter().map(size).collect()),
            dims: spec.shape.as_ref().filter(named).cloned(),
            description: None,
            preprocessing: None,
            postprocessing: Vec::new(),
        }
    }

    /// Name, dtype and symbolic shape, to compare with a graph's contract.
    pub fn tensor_spec(&self) -> TensorSpec {
        let from_shape = |shape: &Vec<i64>| {
            shape
                .iter()
                .map(|size| u64::try_from(*size).map_or(Dim::Unknown, Dim::Fixed))
                .collect()
        };
        TensorSpec {
            name: self.name.clone(),
            dtype: self.dtype,
            shape: self
                .dims
                .clone()
                .or_else(|| self.shape.as_ref().map(from_shape)),
        }
    }
}

/// How an input is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// `tokenization`, `normalization`, `resize`, ...
    pub r#type: String,
    /// The tokenizer file inside the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<RelativePath>,
    /// The family of the tokenizer, for example `bert` or `gpt2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer_type: Option<String>,
    /// Parameters of this kind of preprocessing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Map<String, Value>>,
}
