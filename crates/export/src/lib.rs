//! From a checkpoint of a known architecture to an ONNX graph, without Python.
//!
//! [`export`] takes an [`Architecture`] (read from a configuration), the [`Checkpoint`] that holds
//! its weights, and [`ExportOptions`]; it returns the model, ready to be written. A language model is
//! several graphs: [`export_graphs`] returns them all, [`export_graph`] one of them.
//!
//! ```
//! use amphora_checkpoint::{Checkpoint, Limits, architecture::Architecture};
//! use amphora_export::{ExportOptions, export};
//!
//! let architecture = Architecture::from_config(&serde_json::json!({
//!     "model_type": "mlp", "d_in": 2, "hidden_sizes": [1], "heads": {"swarm": 1},
//! }))?;
//! let mut header = serde_json::Map::new();
//! let mut end = 0;
//! for parameter in architecture.parameters() {
//!     let start = end;
//!     end += 4 * parameter.shape.iter().product::<u64>();
//!     let entry = serde_json::json!({
//!         "dtype": "F32", "shape": parameter.shape, "data_offsets": [start, end],
//!     });
//!     header.insert(parameter.name, entry);
//! }
//! let header = serde_json::Value::from(header).to_string();
//! let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! file.extend(header.bytes());
//! file.resize(file.len() + end as usize, 0);
//! let checkpoint = Checkpoint::from_bytes(file.into(), &Limits::default())?;
//!
//! let model = export(&architecture, &checkpoint, &ExportOptions::default())?;
//! assert_eq!(model.opset_import[0].version, Some(14));
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! One file per architecture, each a transcription of the PyTorch `forward` that its weights were
//! trained with, in evaluation mode. Weights keep their names and their values: nothing is folded
//! or fused at export, because engines do that when they load a graph, and a tensor that is byte for
//! byte the checkpoint's can be compared, linked and digested. The one exception are the matrices of
//! layers over sequences, stored transposed (`NAME.T`), which saves every engine a node.

#![forbid(unsafe_code)]

mod attention;
mod conv2d_fsq;
mod decoder;
mod emitter;
mod encoder;
mod mlp;
mod resnet;
mod rotary;
mod transformer;
mod urm;
mod vit;

use std::collections::BTreeMap;

use amphora_checkpoint::Checkpoint;
use amphora_checkpoint::architecture::{Architecture, Axis, GraphRole, Port, Values};
use amphora_error::{Error, Result};
use amphora_files::RelativePath;
use amphora_onnx::proto::ModelProto;
use amphora_onnx::{Dim, Dtype, TensorSpec};

use emitter::{Converted, Emitter};

/// How to export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// The opset of the graph; [`Architecture::default_opset`] when absent.
    pub opset: Option<u64>,
    /// Leave the weights where they are: initializers point by offset into the checkpoint's
    /// safetensors files, which lie there.
    pub link: Option<Links>,
}

/// For each file of a checkpoint ([`Checkpoint::file_names`]), its path beneath the model's directory.
pub type Links = BTreeMap<String, RelativePath>;

/// Writes `architecture` with the weights of `checkpoint` as an ONNX model; where it is exported as
/// several graphs, the first of them.
///
/// Inputs and outputs are [`Architecture::inputs`] and [`Architecture::outputs`]; batch and sequence
/// length are dynamic. Weights become float32: from float16 and bfloat16 exactly, from float64
/// rounded to the nearest. Equal arguments give equal models.
///
/// # Errors
///
/// Incompatible (`checkpoint-parameters`) when the checkpoint does not hold the model's tensors;
/// unsupported (`opset-range`) for an opset that cannot be written, and (`link-format`,
/// `link-dtype`) for weights that cannot be used as they are stored.
pub fn export(
    architecture: &Architecture,
    checkpoint: &Checkpoint,
    options: &ExportOptions,
) -> Result<ModelProto> {
    let first = architecture.roles().first().copied();
    let role = first.unwrap_or(GraphRole::Single);
    export_graph(architecture, checkpoint, role, options)
}

/// [`export()`] of one graph, with the inputs [`Architecture::graph_inputs`] and the outputs
/// [`Architecture::graph_outputs`].
///
/// # Errors
///
/// Those of [`export()`]; usage (`graph-role`) for a role that the architecture does not have.
pub fn export_graph(
    architecture: &Architecture,
    checkpoint: &Checkpoint,
    role: GraphRole,
    options: &ExportOptions,
) -> Result<ModelProto> {
    write(
        architecture,
        checkpoint,
        role,
        options,
        &mut Converted::new(),
    )
}

/// Every graph of [`Architecture::roles`], in that order. Weights that several graphs use share their
/// bytes in memory, and so in one data file.
///
/// # Errors
///
/// Those of [`export()`].
pub fn export_graphs(
    architecture: &Architecture,
    checkpoint: &Checkpoint,
    options: &ExportOptions,
) -> Result<Vec<(GraphRole, ModelProto)>> {
    let mut converted = Converted::new();
    let roles = architecture.roles().iter();
    let graph = |role: &GraphRole| {
        let model = write(architecture, checkpoint, *role, options, &mut converted)?;
        Ok((*role, model))
    };
    roles.map(graph).collect()
}

fn write(
    architecture: &Architecture,
    checkpoint: &Checkpoint,
    role: GraphRole,
    options: &ExportOptions,
    converted: &mut Converted,
) -> Result<ModelProto> {
    if !architecture.roles().contains(&role) {
        let known: Vec<&str> = architecture
            .roles()
            .iter()
            .map(|role| role.word())
            .collect();
        return Err(Error::usage(
            "graph-role",
            format!("the {} model has no such graph", architecture.model_type()),
        )
        .expected(known.join(" or "))
        .found(role.word()));
    }
    let opset = options.opset.unwrap_or(architecture.default_opset());
    let link = options.link.as_ref();
    let mut emitter = Emitter::new(architecture, checkpoint, opset, link, converted)?;
    let inputs: Vec<_> = architecture
        .graph_inputs(role)
        .iter()
        .map(|port| emitter.graph.input(&port.name, dtype(port), &shape(port)))
        .collect();
    let results = match (architecture, inputs.as_slice()) {
        (Architecture::Mlp(config), [input]) => mlp::forward(&mut emitter, config, input),
        (Architecture::Transformer(config), [ids, mask]) => {
            transformer::forward(&mut emitter, config, ids, mask)
        }
        (Architecture::Urm(config), [ids, mask]) => urm::forward(&mut emitter, config, ids, mask),
        (Architecture::Conv2dFsq(config), [input]) => {
            conv2d_fsq::forward(&mut emitter, config, input)
        }
        (Architecture::Encoder(config), inputs) => encoder::forward(&mut emitter, config, inputs),
        (Architecture::Decoder(config), inputs) => decoder::forward(&mut emitter, config, inputs),
        (Architecture::ResNet(config), [pixels]) => resnet::forward(&mut emitter, config, pixels),
        (Architecture::Vit(config), [pixels]) => vit::forward(&mut emitter, config, pixels),
        _ => Err(Error::internal(
            "architecture-inputs",
            format!("no exporter for the {} model", architecture.model_type()),
        )),
    }?;
    for (value, port) in results.iter().zip(architecture.graph_outputs(role)) {
        emitter
            .graph
            .output(value, &port.name, dtype(&port), &shape(&port));
    }
    Ok(emitter.graph.finish())
}

/// An input or output of an architecture as its graph states it.
pub fn tensor_spec(port: &Port) -> TensorSpec {
    TensorSpec {
        name: port.name.clone(),
        dtype: dtype(port),
        shape: Some(shape(port)),
    }
}

fn dtype(port: &Port) -> Dtype {
    match port.values {
        Values::Real => Dtype::Float32,
        Values::Index { .. } | Values::Mask => Dtype::Int64,
    }
}

fn shape(port: &Port) -> Vec<Dim> {
    port.shape
        .iter()
        .map(|axis| match axis {
            Axis::Fixed(size) => Dim::Fixed(*size),
            Axis::Dynamic { name, .. } => Dim::Symbol((*name).to_owned()),
        })
        .collect()
}
