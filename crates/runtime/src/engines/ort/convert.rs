//! Tensors to ONNX Runtime's values and back.

use amphora_error::{Error, Result, quoted};
use amphora_onnx::{Contract, Dtype};
use ort::session::SessionInputValue;
use ort::value::{DynValue, Tensor as OrtTensor, TensorElementType, TensorRef, ValueType};

use crate::cache::Held;
use crate::engine::shortened;
use crate::tensor::Data;
use crate::{Kept, Tensor};

/// Refuses a graph that takes or gives element types which have no Rust type: the binding to ONNX
/// Runtime cannot carry them. Weights of such types are no concern.
pub(super) fn check(contract: &Contract) -> Result<()> {
    let values = contract.inputs.iter().chain(&contract.outputs);
    let faults: Vec<String> = values
        .filter(|spec| element_type(spec.dtype).is_none())
        .map(|spec| format!("{} is {}", quoted(&spec.name), spec.dtype))
        .collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(
        "engine-dtype",
        "ONNX Runtime cannot be given or asked for all element types of the graph",
    )
    .faults(faults))
}

fn element_type(dtype: Dtype) -> Option<TensorElementType> {
    Some(match dtype {
        Dtype::Float32 => TensorElementType::Float32,
        Dtype::Float64 => TensorElementType::Float64,
        Dtype::Float16 => TensorElementType::Float16,
        Dtype::Bfloat16 => TensorElementType::Bfloat16,
        Dtype::Int8 => TensorElementType::Int8,
        Dtype::Int16 => TensorElementType::Int16,
        Dtype::Int32 => TensorElementType::Int32,
        Dtype::Int64 => TensorElementType::Int64,
        Dtype::Uint8 => TensorElementType::Uint8,
        Dtype::Uint16 => TensorElementType::Uint16,
        Dtype::Uint32 => TensorElementType::Uint32,
        Dtype::Uint64 => TensorElementType::Uint64,
        Dtype::Bool => TensorElementType::Bool,
        Dtype::String => TensorElementType::String,
        _ => return None,
    })
}

/// Runs `$body` with `$elements` bound to the typed vector of any element type but strings and packed
/// ones.
macro_rules! with_plain {
    ($data:expr, $elements:ident => $body:expr, $rest:pat => $other:expr) => {
        match $data {
            Data::F32($elements) => $body,
            Data::F64($elements) => $body,
            Data::F16($elements) => $body,
            Data::Bf16($elements) => $body,
            Data::I8($elements) => $body,
            Data::I16($elements) => $body,
            Data::I32($elements) => $body,
            Data::I64($elements) => $body,
            Data::U8($elements) => $body,
            Data::U16($elements) => $body,
            Data::U32($elements) => $body,
            Data::U64($elements) => $body,
            Data::Bool($elements) => $body,
            $rest => $other,
        }
    };
}

/// An input, borrowed for the duration of the run.
pub(super) fn input<'a>(name: &str, tensor: &'a Tensor) -> Result<SessionInputValue<'a>> {
    let shape = tensor.shape();
    let value: ort::Result<SessionInputValue<'a>> = with_plain!(
        tensor.data(),
        elements => TensorRef::from_array_view((shape, elements.as_slice())).map(Into::into),
        rest => match rest {
            Data::String(elements) => {
                OrtTensor::from_string_array((shape, elements.as_slice())).map(Into::into)
            }
            _ => return Err(no_type(name, tensor.dtype())),
        }
    );
    value.map_err(|source| refused(name, &source))
}

/// A weight, which the session keeps.
pub(super) fn weight(name: &str, tensor: Tensor) -> Result<DynValue> {
    let shape = tensor.shape().to_vec();
    let dtype = tensor.dtype();
    let value: ort::Result<DynValue> = with_plain!(
        tensor.into_data(),
        elements => OrtTensor::from_array((shape, elements)).map(OrtTensor::into_dyn),
        _ => return Err(no_type(name, dtype))
    );
    value.map_err(|source| refused(name, &source))
}

/// An output, copied out of ONNX Runtime's memory.
pub(crate) fn output(name: &str, dtype: Option<Dtype>, value: &DynValue) -> Result<Tensor> {
    let (found, _) = form(name, dtype, value)?;
    macro_rules! copied {
        ($type:ty) => {{
            let (shape, elements) = value
                .try_extract_tensor::<$type>()
                .map_err(|source| refused(name, &source))?;
            Tensor::new(sizes(name, shape)?, elements.to_vec())
        }};
    }
    match found {
        Dtype::Float32 => copied!(f32),
        Dtype::Float64 => copied!(f64),
        Dtype::Float16 => copied!(half::f16),
        Dtype::Bfloat16 => copied!(half::bf16),
        Dtype::Int8 => copied!(i8),
        Dtype::Int16 => copied!(i16),
        Dtype::Int32 => copied!(i32),
        Dtype::Int64 => copied!(i64),
        Dtype::Uint8 => copied!(u8),
        Dtype::Uint16 => copied!(u16),
        Dtype::Uint32 => copied!(u32),
        Dtype::Uint64 => copied!(u64),
        Dtype::Bool => copied!(bool),
        _ => {
            let (shape, elements) = value
                .try_extract_strings()
                .map_err(|source| refused(name, &source))?;
            Tensor::new(sizes(name, shape)?, elements)
        }
    }
}

/// An output that stays in ONNX Runtime's memory.
pub(super) fn kept(name: &str, dtype: Option<Dtype>, value: DynValue) -> Result<Kept> {
    let (dtype, shape) = form(name, dtype, &value)?;
    Ok(Kept {
        dtype,
        shape: sizes(name, shape)?,
        held: Held::Ort(value),
    })
}

/// The element type of an output, which must be the one that the contract states, and its shape.
fn form<'v>(name: &str, dtype: Option<Dtype>, value: &'v DynValue) -> Result<(Dtype, &'v [i64])> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(Error::unsupported(
            "engine-value",
            format!("{} is no tensor", quoted(name)),
        ));
    };
    let found = Dtype::all().find(|dtype| element_type(*dtype) == Some(*ty));
    let Some(found) = found.filter(|found| dtype.is_none_or(|dtype| dtype == *found)) else {
        return Err(Error::incompatible(
            "outputs",
            format!("ONNX Runtime answered {} in another type", quoted(name)),
        )
        .expected(dtype.map_or("a tensor", Dtype::name))
        .found(ty.to_string()));
    };
    Ok((found, shape))
}

fn sizes(name: &str, shape: &[i64]) -> Result<Vec<usize>> {
    let sizes: Option<Vec<usize>> = shape.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    sizes.ok_or_else(|| {
        Error::incompatible(
            "outputs",
            format!("ONNX Runtime gave {} a negative dimension", quoted(name)),
        )
    })
}

fn no_type(name: &str, dtype: Dtype) -> Error {
    Error::unsupported(
        "engine-dtype",
        format!("ONNX Runtime cannot be given values of type {dtype}"),
    )
    .at(format!("value {}", quoted(name)))
}

fn refused(name: &str, source: &ort::Error) -> Error {
    Error::unsupported("engine-value", "ONNX Runtime refused a tensor")
        .at(format!("value {}", quoted(name)))
        .found(shortened(&source.to_string()))
}
