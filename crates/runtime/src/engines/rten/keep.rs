//! Values that rten keeps from one run to the next.

use amphora_error::{Error, Result, quoted};
use amphora_onnx::Dtype;
use rten::Value;
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use super::convert;
use crate::Kept;
use crate::cache::Held;

/// An output that stays. Its type is checked as if it went out.
pub(super) fn kept(name: &str, dtype: Option<Dtype>, value: Value) -> Result<Kept> {
    let dtype = match (dtype, &value) {
        (None | Some(Dtype::Float32), Value::FloatTensor(_)) => Dtype::Float32,
        (Some(Dtype::Float16), Value::FloatTensor(_)) => Dtype::Float16,
        (Some(dtype @ (Dtype::Int64 | Dtype::Bool)), Value::Int32Tensor(_)) => dtype,
        (None | Some(Dtype::Int32), Value::Int32Tensor(_)) => Dtype::Int32,
        (None | Some(Dtype::Int8), Value::Int8Tensor(_)) => Dtype::Int8,
        (None | Some(Dtype::Uint8), Value::UInt8Tensor(_)) => Dtype::Uint8,
        (expected, _) => {
            return Err(Error::incompatible(
                "outputs",
                format!("rten answered {} in another type", quoted(name)),
            )
            .expected(expected.map_or("a tensor", Dtype::name)));
        }
    };
    Ok(Kept {
        dtype,
        shape: value.as_view().shape().to_vec(),
        held: Held::Rten(value),
    })
}

/// The value with capacity for `room` positions along `axis`, and how many bytes were copied to get
/// there: none when it has the capacity already.
pub(super) fn with_room(kept: Kept, axis: usize, room: usize) -> Result<(Value, u64)> {
    let bytes = kept.bytes();
    let (value, moved) = match kept.held {
        Held::Rten(value) => (value, false),
        _ => (convert::owned("cache", kept.into_tensor()?)?, true),
    };
    let (value, grown) = match value {
        Value::FloatTensor(tensor) => {
            let (tensor, grown) = grown(tensor, axis, room)?;
            (Value::FloatTensor(tensor), grown)
        }
        Value::Int32Tensor(tensor) => {
            let (tensor, grown) = grown(tensor, axis, room)?;
            (Value::Int32Tensor(tensor), grown)
        }
        // rten concatenates no others.
        other => (other, false),
    };
    Ok((value, if moved || grown { bytes } else { 0 }))
}

fn grown<T: Copy>(tensor: Tensor<T>, axis: usize, room: usize) -> Result<(Tensor<T>, bool)> {
    if axis >= tensor.ndim() || room <= tensor.size(axis) || tensor.has_capacity(axis, room) {
        return Ok((tensor, false));
    }
    let mut shape = tensor.shape().to_vec();
    shape[axis] = room;
    let elements = shape.iter().try_fold(1_usize, |all, &n| all.checked_mul(n));
    let fits = |count: usize| Vec::<T>::new().try_reserve_exact(count).is_ok();
    if !elements.is_some_and(fits) {
        return Err(Error::limit(
            "memory",
            "the cache of the positions to come does not fit into memory",
        )
        .found(format!("shape {shape:?}")));
    }
    let mut larger = Tensor::with_capacity(&shape, axis);
    larger
        .append(axis, &tensor)
        .map_err(|_| Error::internal("cache-room", "a value does not fit into a larger one"))?;
    Ok((larger, true))
}

/// Where the elements are in memory.
pub(super) fn address(value: &Value) -> Option<usize> {
    match value {
        Value::FloatTensor(tensor) => Some(tensor.data_ptr().addr()),
        Value::Int32Tensor(tensor) => Some(tensor.data_ptr().addr()),
        _ => None,
    }
}
