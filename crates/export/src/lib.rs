//! From a checkpoint of a known architecture to an ONNX graph, without Python.
//!
//! [`export`] takes an [`Architecture`] (read from a configuration), the [`Checkpoint`] that holds
//! its weights, and [`ExportOptions`]; it returns the model, ready to be written.
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
mod emitter;
mod encoder;
mod mlp;
mod transformer;
mod urm;

use amphora_checkpoint::Checkpoint;
use amphora_checkpoint::architecture::{Architecture, Axis, Port, Values};
use amphora_error::Result;
use amphora_files::RelativePath;
use amphora_onnx::proto::ModelProto;
use amphora_onnx::{Dim, Dtype};

use emitter::Emitter;

/// How to export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// The opset of the graph; [`Architecture::default_opset`] when absent.
    pub opset: Option<u64>,
    /// Leave the weights where they are: initializers point by offset into the checkpoint's
    /// safetensors file, which lies at this path beneath the model's directory.
    pub link: Option<RelativePath>,
}

/// Writes `architecture` with the weights of `checkpoint` as an ONNX model.
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
    let opset = options.opset.unwrap_or(architecture.default_opset());
    let mut emitter = Emitter::new(architecture, checkpoint, opset, options.link.as_ref())?;
    let inputs: Vec<_> = architecture
        .inputs()
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
        _ => Err(amphora_error::Error::internal(
            "architecture-inputs",
            format!("no exporter for the {} model", architecture.model_type()),
        )),
    }?;
    for (value, port) in results.iter().zip(architecture.outputs()) {
        emitter
            .graph
            .output(value, &port.name, dtype(&port), &shape(&port));
    }
    Ok(emitter.graph.finish())
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
