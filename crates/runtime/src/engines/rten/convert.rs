//! Tensors to rten's values and back.

use amphora_error::{Error, Result, quoted};
use amphora_onnx::Dtype;
use half::f16;
use rten::{Value, ValueView};
use rten_tensor::prelude::*;

use crate::Tensor;
use crate::tensor::Data;

/// An input in a type that rten has; `Borrowed` when it is of such a type already.
pub(super) enum Input {
    Borrowed,
    Integers(Vec<i32>),
    Floats(Vec<f32>),
}

impl Input {
    /// Narrows 64-bit integers, refusing those that do not fit, and widens booleans and f16.
    pub(super) fn new(name: &str, tensor: &Tensor) -> Result<Self> {
        match tensor.data() {
            Data::F32(_) | Data::I32(_) | Data::I8(_) | Data::U8(_) => Ok(Self::Borrowed),
            Data::Bool(values) => Ok(Self::Integers(values.iter().map(|&v| v.into()).collect())),
            Data::F16(values) => Ok(Self::Floats(values.iter().map(|v| v.to_f32()).collect())),
            Data::I64(values) => {
                let narrow = values.iter().enumerate().map(|(index, &value)| {
                    i32::try_from(value).map_err(|_| {
                        Error::unsupported(
                            "engine-range",
                            "rten computes 64-bit integers in 32 bits, and an input does not fit",
                        )
                        .at(format!("input {}, element {index}", quoted(name)))
                        .found(value.to_string())
                        .hint("choose the engine ort")
                    })
                });
                narrow.collect::<Result<_>>().map(Self::Integers)
            }
            _ => Err(no_type(name, tensor.dtype())),
        }
    }

    /// The value that rten reads, borrowed from here or from `tensor`.
    pub(super) fn view<'a>(&'a self, tensor: &'a Tensor) -> Result<ValueView<'a>> {
        let shape = tensor.shape();
        let view = match (self, tensor.data()) {
            (Self::Integers(values), _) => ValueView::from_shape(shape, values).ok(),
            (Self::Floats(values), _) => ValueView::from_shape(shape, values).ok(),
            (Self::Borrowed, Data::F32(values)) => ValueView::from_shape(shape, values).ok(),
            (Self::Borrowed, Data::I32(values)) => ValueView::from_shape(shape, values).ok(),
            (Self::Borrowed, Data::I8(values)) => ValueView::from_shape(shape, values).ok(),
            (Self::Borrowed, Data::U8(values)) => ValueView::from_shape(shape, values).ok(),
            _ => None,
        };
        view.ok_or_else(|| Error::internal("engine-input", "a checked tensor has another size"))
    }
}

/// An output in the type of the contract: rten answers i32 for booleans and 64-bit integers, and f32
/// for f16.
pub(crate) fn output(name: &str, dtype: Option<Dtype>, value: Value) -> Result<Tensor> {
    match value {
        Value::FloatTensor(tensor) => {
            let shape = tensor.shape().to_vec();
            let values = tensor.into_data();
            match dtype {
                Some(Dtype::Float16) => {
                    Tensor::new(shape, values.into_iter().map(f16::from_f32).collect())
                }
                None | Some(Dtype::Float32) => Tensor::new(shape, values),
                Some(other) => Err(answered(name, other, "float32")),
            }
        }
        Value::Int32Tensor(tensor) => {
            let shape = tensor.shape().to_vec();
            let values = tensor.into_data();
            match dtype {
                Some(Dtype::Int64) => {
                    Tensor::new(shape, values.into_iter().map(i64::from).collect())
                }
                Some(Dtype::Bool) => {
                    Tensor::new(shape, values.into_iter().map(|v| v != 0).collect())
                }
                None | Some(Dtype::Int32) => Tensor::new(shape, values),
                Some(other) => Err(answered(name, other, "int32")),
            }
        }
        Value::Int8Tensor(tensor) => {
            expect(name, dtype, Dtype::Int8)?;
            Tensor::new(tensor.shape().to_vec(), tensor.into_data())
        }
        Value::UInt8Tensor(tensor) => {
            expect(name, dtype, Dtype::Uint8)?;
            Tensor::new(tensor.shape().to_vec(), tensor.into_data())
        }
        _ => Err(Error::unsupported(
            "engine-value",
            format!(
                "rten answered {} with something that is no tensor",
                quoted(name)
            ),
        )),
    }
}

/// A tensor that rten is to own.
pub(super) fn owned(name: &str, tensor: Tensor) -> Result<Value> {
    let input = Input::new(name, &tensor)?;
    let shape = tensor.shape().to_vec();
    let made = match (input, tensor.into_data()) {
        (Input::Integers(values), _) => Value::from_shape(shape, values).ok(),
        (Input::Floats(values), _) => Value::from_shape(shape, values).ok(),
        (Input::Borrowed, Data::F32(values)) => Value::from_shape(shape, values).ok(),
        (Input::Borrowed, Data::I32(values)) => Value::from_shape(shape, values).ok(),
        (Input::Borrowed, Data::I8(values)) => Value::from_shape(shape, values).ok(),
        (Input::Borrowed, Data::U8(values)) => Value::from_shape(shape, values).ok(),
        _ => None,
    };
    made.ok_or_else(|| Error::internal("engine-input", "a checked tensor has another size"))
}

fn expect(name: &str, dtype: Option<Dtype>, found: Dtype) -> Result<()> {
    match dtype {
        Some(other) if other != found => Err(answered(name, other, found.name())),
        _ => Ok(()),
    }
}

fn answered(name: &str, expected: Dtype, found: &str) -> Error {
    Error::incompatible(
        "outputs",
        format!("rten answered {} in another type", quoted(name)),
    )
    .expected(expected.name())
    .found(found)
}

fn no_type(name: &str, dtype: Dtype) -> Error {
    Error::unsupported(
        "engine-dtype",
        format!("rten has no values of type {dtype}"),
    )
    .at(format!("input {}", quoted(name)))
    .hint("choose the engine ort")
}
