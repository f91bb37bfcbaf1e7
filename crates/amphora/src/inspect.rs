//! What a bundle or an ONNX file is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use amphora_bundle::{Bundle, Manifest, Summary};
use amphora_error::Result;
use amphora_files::{Digest, sha256};
use amphora_onnx::proto::ModelProto;
use amphora_onnx::{Contract, Limits, Model};
use bytes::Bytes;
use serde::Serialize;

use crate::Subject;

/// What [`inspect`] found.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Inspection {
    /// An ONNX file.
    Onnx(Box<OnnxInspection>),
    /// A bundle, as its manifest describes it, and its entry graph.
    Bundle(Box<BundleInspection>),
}

/// What an ONNX file is.
#[derive(Debug, Clone, Serialize)]
pub struct OnnxInspection {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes, without external data.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
    /// The program that wrote it, as it says.
    pub producer: String,
    /// The files that hold external data, by the location that the graph names.
    pub external_files: Vec<String>,
    /// The graph.
    #[serde(flatten)]
    pub graph: GraphInspection,
}

/// What a bundle is.
#[derive(Debug, Clone, Serialize)]
pub struct BundleInspection {
    /// Id, name, version, path, formats, size.
    #[serde(flatten)]
    pub summary: Summary,
    /// The entry graph.
    pub graph: GraphInspection,
    /// Everything that the bundle says of itself.
    pub manifest: Manifest,
}

/// What a graph is.
#[derive(Debug, Clone, Serialize)]
pub struct GraphInspection {
    /// Inputs, outputs, opset, operators, parameters.
    #[serde(flatten)]
    pub contract: Contract,
    /// How many weights are NaN or infinite.
    pub nonfinite_weights: u64,
    /// The nodes of the main graph, when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Vec<NodeInspection>>,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeInspection {
    /// The name; may be empty.
    pub name: String,
    /// The operator, with its domain unless that is `ai.onnx`.
    pub operator: String,
    /// The values that go in; an empty name is an input left out.
    pub inputs: Vec<String>,
    /// The values that come out.
    pub outputs: Vec<String>,
}

/// Describes a bundle or an ONNX file; with `nodes`, every node of its main graph too.
///
/// Of a bundle the manifest and the entry graph are checked while they are read; `verify` checks
/// everything.
pub fn inspect(subject: &Subject, nodes: bool) -> Result<Inspection> {
    match subject {
        Subject::Onnx(path) => {
            let model = Model::open(path, &Limits::default())?;
            let bytes = model.bytes().cloned().unwrap_or_default();
            Ok(Inspection::Onnx(Box::new(OnnxInspection {
                path: path.clone(),
                size: bytes.len() as u64,
                sha256: sha256(&bytes),
                producer: producer(model.proto()),
                external_files: model.external_files().keys().cloned().collect(),
                graph: graph(&model, nodes).map_err(|error| error.in_file(path))?,
            })))
        }
        Subject::Bundle(bundle) => {
            let model = entry_model(bundle)?;
            Ok(Inspection::Bundle(Box::new(BundleInspection {
                summary: Summary::of(bundle),
                graph: graph(&model, nodes)?,
                manifest: bundle.manifest().clone(),
            })))
        }
    }
}

/// The entry graph of a bundle, from bytes that were compared with the manifest.
fn entry_model(bundle: &Bundle) -> Result<Model> {
    let entry = &bundle.manifest().spec.entry;
    let (bytes, external) = bundle.graph_bytes(entry)?;
    decoded(bundle, bytes, external)
}

/// A graph of `bundle`, from its bytes.
pub(crate) fn decoded(
    bundle: &Bundle,
    bytes: Bytes,
    external: BTreeMap<String, Bytes>,
) -> Result<Model> {
    Model::from_parts(bytes, external, &Limits::default())
        .map_err(|error| error.in_file(bundle.path()))
}

fn graph(model: &Model, nodes: bool) -> Result<GraphInspection> {
    Ok(GraphInspection {
        contract: model.contract()?,
        nonfinite_weights: model.nonfinite_weights(),
        nodes: nodes.then(|| list_nodes(model.proto())),
    })
}

fn producer(proto: &ModelProto) -> String {
    let name = proto.producer_name.as_deref().unwrap_or_default();
    let version = proto.producer_version.as_deref().unwrap_or_default();
    format!("{name} {version}").trim().to_owned()
}

fn list_nodes(proto: &ModelProto) -> Vec<NodeInspection> {
    let nodes = proto.graph.iter().flat_map(|graph| &graph.node);
    nodes
        .map(|node| {
            let operator = node.op_type.as_deref().unwrap_or_default();
            let domain = node.domain.as_deref().unwrap_or_default();
            NodeInspection {
                name: node.name.clone().unwrap_or_default(),
                operator: match domain {
                    "" | "ai.onnx" => operator.to_owned(),
                    domain => format!("{domain}.{operator}"),
                },
                inputs: node.input.clone(),
                outputs: node.output.clone(),
            }
        })
        .collect()
}
