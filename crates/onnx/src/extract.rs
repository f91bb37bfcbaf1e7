//! Reads the I/O contract out of a graph.

use std::collections::{BTreeMap, HashSet};

use amphora_error::{Error, Result, quoted};

use crate::proto::{DimensionValue, ModelProto, TensorTypeProto, TypeValue, ValueInfoProto};
use crate::visit::{self, Item, Role};
use crate::{Contract, Dim, Dtype, Model, TensorSpec, tensor};

/// How many faulty inputs or outputs one error lists.
const MOST_FAULTS: usize = 100;

impl Model {
    /// What a caller must supply and gets back, and what an engine must know.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] when an input or output has no name or no type, or no
    /// operator set is imported; [`amphora_error::ErrorKind::Unsupported`] when one is not a dense
    /// tensor. All faulty inputs and outputs are listed at once.
    pub fn contract(&self) -> Result<Contract> {
        let proto = self.proto();
        let graph = proto.graph.as_ref().ok_or_else(|| {
            Error::malformed("graph-missing", "not a valid ONNX model: it has no graph")
        })?;
        let initialized: HashSet<&str> = graph
            .initializer
            .iter()
            .map(|tensor| tensor.name())
            .chain(
                graph
                    .sparse_initializer
                    .iter()
                    .filter_map(|pair| pair.values.as_ref())
                    .map(|values| values.name()),
            )
            .collect();
        let real = graph
            .input
            .iter()
            .filter(|input| !initialized.contains(input.name()));
        let (opset, other_opsets) = opsets(proto)?;
        let (operators, parameters) = self.contents()?;
        Ok(Contract {
            inputs: specs("input", real)?,
            outputs: specs("output", graph.output.iter())?,
            opset,
            other_opsets,
            ir_version: u64::try_from(proto.ir_version.unwrap_or(0)).unwrap_or(0),
            operators,
            parameters,
        })
    }

    /// How often each operator occurs, and the elements of all floating-point initializers.
    fn contents(&self) -> Result<(BTreeMap<String, u64>, u64)> {
        let mut operators = BTreeMap::new();
        let mut parameters = 0_u64;
        visit::items(self.proto(), &mut |_, item| {
            match item {
                Item::Node(node) => {
                    let name = match node.domain() {
                        "" | "ai.onnx" => node.op_type().to_owned(),
                        domain => format!("{domain}.{}", node.op_type()),
                    };
                    *operators.entry(name).or_insert(0) += 1;
                }
                Item::Tensor(Role::Initializer | Role::SparseValues, weights) => {
                    let layout = tensor::layout(weights, self.limits())?;
                    if is_float(layout.dtype) {
                        parameters = parameters.saturating_add(layout.elements);
                    }
                }
                Item::Tensor(..) | Item::Sparse(_) => {}
            }
            Ok(())
        })?;
        Ok((operators, parameters))
    }
}

fn is_float(dtype: Dtype) -> bool {
    let name = dtype.name();
    name.starts_with("float") || name.starts_with("bfloat")
}

/// Version of the default operator set, and the others by domain.
fn opsets(proto: &ModelProto) -> Result<(u64, BTreeMap<String, u64>)> {
    let mut default = None;
    let mut others = BTreeMap::new();
    for import in &proto.opset_import {
        let domain = import.domain();
        let version = u64::try_from(import.version()).map_err(|_| {
            let message = format!("the operator set {} has a negative version", quoted(domain));
            Error::malformed("opset-version", message).found(import.version().to_string())
        })?;
        let before = match domain {
            "" | "ai.onnx" => default.replace(version),
            _ => others.insert(domain.to_owned(), version),
        };
        if before.is_some_and(|before| before != version) {
            let message = format!("the operator set {} has two versions", quoted(domain));
            return Err(Error::malformed("opset-conflict", message));
        }
    }
    match default {
        Some(version) => Ok((version, others)),
        // Before version 3 of the intermediate representation there was only operator set 1.
        None if others.is_empty() && proto.ir_version() < 3 => Ok((1, others)),
        None if others.is_empty() => Err(Error::malformed(
            "opset-missing",
            "the model does not say which operator set it uses",
        )),
        None => Ok((0, others)),
    }
}

fn specs<'a>(
    what: &str,
    values: impl Iterator<Item = &'a ValueInfoProto>,
) -> Result<Vec<TensorSpec>> {
    let mut specs = Vec::new();
    let mut faults: Vec<(String, Error)> = Vec::new();
    for value in values {
        match spec(value) {
            Ok(spec) => specs.push(spec),
            Err(error) => faults.push((format!("{what} {}", quoted(value.name())), error)),
        }
    }
    match faults.len() {
        0 => Ok(specs),
        1 => Err(faults.remove(0)).map_err(|(place, error)| error.at(place)),
        count => {
            let (_, first) = &faults[0];
            let message = format!("{count} {what}s have no usable type");
            let error = Error::new(first.kind(), first.rule(), message);
            let mut list: Vec<_> = faults
                .iter()
                .take(MOST_FAULTS)
                .map(|(place, error)| format!("{place}: {error}"))
                .collect();
            if count > MOST_FAULTS {
                list.push(format!("and {} more", count - MOST_FAULTS));
            }
            Err(error.faults(list))
        }
    }
}

fn spec(value: &ValueInfoProto) -> Result<TensorSpec> {
    if value.name().is_empty() {
        return Err(Error::malformed("value-name", "it has no name"));
    }
    let untyped = || Error::malformed("value-type", "its type is not given");
    let kind = value.r#type.as_ref().ok_or_else(untyped)?;
    let tensor = match kind.value.as_ref().ok_or_else(untyped)? {
        TypeValue::Tensor(tensor) => tensor,
        other => {
            let found = match other {
                TypeValue::Sequence(_) => "a sequence",
                TypeValue::Map(_) => "a map",
                TypeValue::Optional(_) => "an optional",
                TypeValue::SparseTensor(_) => "a sparse tensor",
                TypeValue::Opaque(_) | TypeValue::Tensor(_) => "an opaque value",
            };
            return Err(
                Error::unsupported("value-kind", "only tensors are supported")
                    .expected("a tensor")
                    .found(found),
            );
        }
    };
    Ok(TensorSpec {
        name: value.name().to_owned(),
        dtype: Dtype::from_onnx(tensor.elem_type.unwrap_or(0))?,
        shape: shape(tensor)?,
    })
}

/// The dimensions of a tensor type, or `None` when even the rank is open.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Malformed`] for a negative size other than -1, which some exporters
/// write for an unknown one.
pub(crate) fn shape(tensor: &TensorTypeProto) -> Result<Option<Vec<Dim>>> {
    let Some(shape) = &tensor.shape else {
        return Ok(None);
    };
    let dims = shape.dim.iter().map(|dim| match &dim.value {
        None | Some(DimensionValue::Value(-1)) => Ok(Dim::Unknown),
        Some(DimensionValue::Param(name)) if name.is_empty() => Ok(Dim::Unknown),
        Some(DimensionValue::Param(name)) => Ok(Dim::Symbol(name.clone())),
        Some(DimensionValue::Value(size)) => u64::try_from(*size).map(Dim::Fixed).map_err(|_| {
            Error::malformed("negative-dimension", "a dimension is negative")
                .found(size.to_string())
        }),
    });
    dims.collect::<Result<_>>().map(Some)
}
