//! A model in the form that engines are handed: bytes of the graph, and large weights beside it.

use std::collections::HashSet;

use amphora_error::{Error, Result};
use amphora_onnx::proto::{ModelProto, StringStringEntryProto, TensorProto};
use amphora_onnx::visit::{self, Item};
use amphora_onnx::{Dtype, Model};
use bytes::Bytes;
use prost::Message as _;

/// The one file name that a handed-over graph refers to. No such file exists; rten wants an extension
/// that begins with `data`.
pub(super) const LOCATION: &str = "weights.data";
/// Weights of fewer bytes travel inside the graph: ONNX Runtime's shape inference reads small ones.
const INSIDE: usize = 1 << 10;
/// Alignment of each weight in the file of weights, in bytes.
const ALIGNMENT: u64 = 64;

/// What an engine is handed.
pub(super) struct Handover {
    /// The serialized model. It is written from the messages that were checked, so that an engine's
    /// own reading of the original bytes cannot differ from ours.
    pub(super) graph: Vec<u8>,
    /// Weights of the main graph that are not inside; the graph refers to them at `offset` of
    /// [`LOCATION`].
    pub(super) weights: Vec<Weight>,
    /// Bytes of a file that holds all weights at their offsets.
    pub(super) weights_len: u64,
}

/// A weight beside the graph.
pub(super) struct Weight {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) dims: Vec<usize>,
    pub(super) bytes: Bytes,
    pub(super) offset: u64,
}

impl Handover {
    /// Takes the weights of `model` apart: large ones of the main graph go beside it; every other
    /// tensor (small, unused, in an attribute, in a sub-graph, in a function) is inside. ONNX Runtime
    /// forgets unused initializers and then refuses to be given them.
    ///
    /// External data is brought inside first, all of it, so that no name of a file from the model
    /// reaches an engine.
    pub(super) fn new(model: &Model) -> Result<Self> {
        let mut proto = inside(model)?;
        let used = names_used(model)?;
        let mut weights = Vec::new();
        let mut end = 0_u64;
        let graph = proto.graph.iter_mut();
        for tensor in graph.flat_map(|graph| &mut graph.initializer) {
            let dtype = Dtype::from_onnx(tensor.data_type())?;
            let beside = has_own_type(dtype) && used.contains(tensor.name());
            let large = |bytes: &mut Bytes| beside && bytes.len() >= INSIDE;
            let Some(bytes) = tensor.raw_data.take_if(large) else {
                continue;
            };
            let offset = end;
            end = offset
                .checked_add(bytes.len() as u64)
                .and_then(|end| end.checked_next_multiple_of(ALIGNMENT))
                .ok_or_else(|| Error::limit("weights-size", "the weights exceed 64 bits"))?;
            let entry = |key: &str, value: String| StringStringEntryProto {
                key: Some(key.to_owned()),
                value: Some(value),
            };
            tensor.data_location = Some(TensorProto::LOCATION_EXTERNAL);
            tensor.external_data = vec![
                entry("location", LOCATION.to_owned()),
                entry("offset", offset.to_string()),
                entry("length", bytes.len().to_string()),
            ];
            weights.push(Weight {
                name: tensor.name().to_owned(),
                dtype,
                dims: dims(tensor)?,
                bytes,
                offset,
            });
        }
        Ok(Self {
            graph: proto.encode_to_vec(),
            weights,
            weights_len: end,
        })
    }
}

/// The serialized model with everything inside.
#[cfg(feature = "tract")]
pub(super) fn self_contained(model: &Model) -> Result<Vec<u8>> {
    Ok(inside(model)?.encode_to_vec())
}

/// The messages of `model` with all external data brought inside.
fn inside(model: &Model) -> Result<ModelProto> {
    let mut proto = model.proto().clone();
    visit::tensors_mut(&mut proto, &mut |_, _, tensor| {
        if tensor.data_location == Some(TensorProto::LOCATION_EXTERNAL) {
            tensor.raw_data = Some(model.tensor_bytes(tensor)?);
            tensor.external_data.clear();
            tensor.data_location = None;
        }
        Ok(())
    })?;
    Ok(proto)
}

/// The names of all values that a node reads or the graph gives.
fn names_used(model: &Model) -> Result<HashSet<&str>> {
    let graph = model.proto().graph.iter();
    let mut used: HashSet<&str> = graph
        .flat_map(|graph| &graph.output)
        .map(|v| v.name())
        .collect();
    visit::items(model.proto(), &mut |_, item| {
        if let Item::Node(node) = item {
            used.extend(node.input.iter().map(String::as_str));
            let graphs = node
                .attribute
                .iter()
                .flat_map(|a| a.g.as_deref().into_iter().chain(&a.graphs));
            used.extend(
                graphs
                    .flat_map(|graph| &graph.output)
                    .map(|value| value.name()),
            );
        }
        Ok(())
    })?;
    Ok(used)
}

fn dims(tensor: &TensorProto) -> Result<Vec<usize>> {
    let dims = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok());
    dims.collect::<Option<_>>()
        .ok_or_else(|| Error::malformed("negative-dimension", "a dimension is negative"))
}

/// Whether elements have a Rust type of their own, so that an engine can be given them as a tensor.
fn has_own_type(dtype: Dtype) -> bool {
    matches!(dtype.bits(), 8 | 16 | 32 | 64)
        && !matches!(
            dtype,
            Dtype::Complex64
                | Dtype::Float8e4m3fn
                | Dtype::Float8e4m3fnuz
                | Dtype::Float8e5m2
                | Dtype::Float8e5m2fnuz
                | Dtype::Float8e8m0
        )
}
