//! What a bundle, a package or an ONNX file is.

mod package;

use std::collections::BTreeMap;
use std::path::PathBuf;

use amphora_bundle::{Bundle, Manifest, Summary};
use amphora_error::{Error, Result};
use amphora_files::{Digest, sha256};
use amphora_onnx::proto::ModelProto;
use amphora_onnx::{CheckReport, Contract, Limits, Model};
use amphora_verify::OnnxCheck;
use bytes::Bytes;
use serde::Serialize;

use crate::io_schema::not_a_model;
use crate::{IoSchema, Subject, io_schema};

pub use package::{PackageFileInspection, PackageInspection};

/// Most bytes of external data that are read in order to describe a graph.
const MAX_WEIGHTS_READ: u64 = 256 << 20;

/// What describing a graph may cost: its weights are left on disk when they are large.
pub(crate) fn description_limits() -> Limits {
    Limits {
        external_read_bytes: MAX_WEIGHTS_READ,
        ..Limits::default()
    }
}

/// What [`inspect`] found.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Inspection {
    /// An ONNX file.
    Onnx(Box<OnnxInspection>),
    /// A bundle, as its manifest describes it, and its entry graph.
    Bundle(Box<BundleInspection>),
    /// A package, as its manifest describes it, and its entry graph.
    Package(Box<PackageInspection>),
    /// A checkpoint's directory or a SavedModel: what its graph will take and give.
    Schema(Box<IoSchema>),
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
    /// How many weights are NaN or infinite; absent when they are more than are read for this.
    pub nonfinite_weights: Option<u64>,
    /// What the model check found: the faults that keep the graph from being packed or run.
    pub onnx_check: OnnxCheck,
    #[serde(skip)]
    checked: CheckReport,
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

impl Inspection {
    /// The error that the model check of the graph amounts to: what is described here may be neither
    /// packed nor run.
    pub fn verdict(&self) -> Option<Error> {
        let (graph, path) = match self {
            Self::Onnx(onnx) => (&onnx.graph, &onnx.path),
            Self::Bundle(bundle) => (&bundle.graph, &bundle.summary.path),
            Self::Package(package) => {
                if let Some(error) = package.conflict() {
                    return Some(error);
                }
                (package.graph.as_ref()?, &package.path)
            }
            Self::Schema(_) => return None,
        };
        let failure = graph.checked.clone().into_result().err();
        failure.map(|error| error.in_file(path))
    }
}

/// Describes a bundle or an ONNX file; with `nodes`, every node of its main graph too.
///
/// What can be read is described even when it makes no sense: [`Inspection::verdict`] says so. Of a
/// bundle the manifest and the entry graph are checked; `verify` checks everything.
pub fn inspect(subject: &Subject, nodes: bool) -> Result<Inspection> {
    match subject {
        Subject::Onnx(path) => {
            let model = Model::open(path, &description_limits())?;
            let bytes = model.bytes().cloned().unwrap_or_default();
            Ok(Inspection::Onnx(Box::new(OnnxInspection {
                path: path.clone(),
                size: bytes.len() as u64,
                sha256: sha256(&bytes),
                producer: producer(model.proto()),
                external_files: external_files(&model),
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
        Subject::Package(package) => {
            let inspection = PackageInspection::of(package, nodes)?;
            Ok(Inspection::Package(Box::new(inspection)))
        }
        Subject::Directory(path) => {
            let schema = io_schema(path, None)?;
            let schema = schema.ok_or_else(|| not_a_model(path))?;
            Ok(Inspection::Schema(Box::new(schema)))
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
    let checked = model.check_report();
    Ok(GraphInspection {
        contract: model.contract()?,
        nonfinite_weights: (model.unread_files().is_empty()).then(|| model.nonfinite_weights()),
        onnx_check: OnnxCheck {
            passed: checked.is_ok(),
            errors: checked.errors.iter().map(ToString::to_string).collect(),
        },
        checked,
        nodes: nodes.then(|| list_nodes(model.proto())),
    })
}

fn external_files(model: &Model) -> Vec<String> {
    let mut names: Vec<String> = model.external_files().keys().cloned().collect();
    names.extend(model.unread_files().iter().cloned());
    names.sort();
    names
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
