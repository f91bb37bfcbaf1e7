//! Types as they are declared.

use amphora_error::{Error, ErrorKind, quoted};

use super::Findings;
use crate::Dtype;
use crate::proto::{
    DimensionValue, TensorProto, TensorTypeProto, TypeProto, TypeValue, ValueInfoProto,
};
use crate::visit::Place;

/// Checks the name and, for the main graph, the type of an input or output.
pub(super) fn value_info(
    info: &ValueInfoProto,
    what: &str,
    main: bool,
    findings: &mut Findings,
    place: &Place<'_>,
) {
    if info.name().is_empty() {
        findings.malformed("value-name", place, format!("{what} has no name"));
    }
    if !main {
        return;
    }
    let Some(kind) = &info.r#type else {
        findings.malformed("value-type", place, format!("{what} has no type"));
        return;
    };
    match fault(kind) {
        Some(error) if error.kind() == ErrorKind::Unsupported => {
            findings.unsupported(error.rule(), place, format!("{what}: {error}"));
        }
        Some(error) => findings.malformed(error.rule(), place, format!("{what}: {error}")),
        None if lacks_shape(kind) => {
            let message = format!("{what} declares no shape, not even its rank");
            findings.malformed("value-shape", place, message);
        }
        None => {}
    }
}

fn lacks_shape(kind: &TypeProto) -> bool {
    match &kind.value {
        Some(TypeValue::Tensor(tensor) | TypeValue::SparseTensor(tensor)) => tensor.shape.is_none(),
        _ => false,
    }
}

/// What is wrong with a type.
pub(super) fn fault(kind: &TypeProto) -> Option<Error> {
    let incomplete = |what| Some(Error::malformed("value-type", what));
    let mut kind = kind;
    loop {
        kind = match &kind.value {
            None => return incomplete("the type says nothing"),
            Some(TypeValue::Tensor(tensor) | TypeValue::SparseTensor(tensor)) => {
                return tensor_fault(tensor);
            }
            Some(TypeValue::Opaque(opaque)) if opaque.name().is_empty() => {
                return incomplete("the opaque type has no name");
            }
            Some(TypeValue::Opaque(_)) => return None,
            Some(TypeValue::Sequence(inner) | TypeValue::Optional(inner)) => {
                match &inner.elem_type {
                    Some(inner) => inner,
                    None => return incomplete("the type has no element type"),
                }
            }
            Some(TypeValue::Map(map)) => {
                if let Err(error) = Dtype::from_onnx(map.key_type.unwrap_or(0)) {
                    return Some(error);
                }
                match &map.value_type {
                    Some(inner) => inner,
                    None => return incomplete("the map has no value type"),
                }
            }
        };
    }
}

fn tensor_fault(tensor: &TensorTypeProto) -> Option<Error> {
    let dtype = Dtype::from_onnx(tensor.elem_type.unwrap_or(0)).err();
    dtype.or_else(|| crate::extract::shape(tensor).err())
}

/// How a declared type and a tensor contradict each other, if they do.
pub(super) fn differs(info: &ValueInfoProto, tensor: &TensorProto) -> Option<String> {
    let Some(TypeValue::Tensor(declared)) = info.r#type.as_ref()?.value.as_ref() else {
        return None;
    };
    let name = |number: i32| {
        Dtype::from_onnx(number).map_or_else(|_| number.to_string(), |d| d.to_string())
    };
    let (expected, found) = (
        declared.elem_type.unwrap_or(0),
        tensor.data_type.unwrap_or(0),
    );
    if expected != found {
        return Some(format!(
            "the input of the same name declares {}, the tensor holds {}",
            name(expected),
            name(found)
        ));
    }
    let dims = &declared.shape.as_ref()?.dim;
    let agree = dims.len() == tensor.dims.len()
        && dims
            .iter()
            .zip(&tensor.dims)
            .all(|(declared, actual)| match &declared.value {
                Some(DimensionValue::Value(declared)) => declared == actual || *declared == -1,
                _ => true,
            });
    (!agree).then(|| {
        format!(
            "the input {} declares another shape than {:?}",
            quoted(info.name()),
            tensor.dims
        )
    })
}
