//! Operators that make tensors out of nothing but numbers.

use super::MOST_ELEMENTS;
use super::call::{Call, Outcome, holding, shaped, unknown};
use super::value::{Scalar, Size, Value, product};
use crate::proto::TensorProto;
use crate::{Dtype, Model, tensor};

/// What is known of a constant; its elements when they are few integers or booleans.
pub(super) fn constant(model: &Model, constant: &TensorProto) -> Value {
    let Ok(layout) = tensor::layout(constant, model.limits()) else {
        return Value::default();
    };
    let sizes = constant
        .dims
        .iter()
        .map(|dim| u64::try_from(*dim).map_or(Size::Unknown, Size::Fixed));
    let mut value = Value::of(Some(layout.dtype), Some(sizes.collect()));
    if layout.elements <= MOST_ELEMENTS as u64 {
        value.data = elements(model, constant, layout.dtype).map(Into::into);
    }
    value
}

fn elements(model: &Model, constant: &TensorProto, dtype: Dtype) -> Option<Vec<Scalar>> {
    if !matches!(dtype, Dtype::Int64 | Dtype::Int32 | Dtype::Bool) {
        return None;
    }
    let bytes = model.tensor_bytes(constant).ok()?;
    let numbers: Vec<i64> = match dtype {
        Dtype::Int64 => bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|n| i64::from_le_bytes(*n))
            .collect(),
        Dtype::Int32 => {
            let chunks = bytes.as_chunks::<4>().0.iter();
            chunks.map(|n| i64::from(i32::from_le_bytes(*n))).collect()
        }
        _ => bytes.iter().map(|byte| i64::from(*byte != 0)).collect(),
    };
    Some(numbers.into_iter().map(Scalar::Known).collect())
}

/// `Constant`, in each of the forms its value can have.
pub(super) fn constant_node(call: &Call<'_>, model: &Model) -> Outcome {
    let mut attributes = call.node.attribute.iter();
    let Some(attribute) = attributes.find(|attribute| attribute.name().starts_with("value")) else {
        return unknown();
    };
    let list =
        |dtype: Dtype, count: usize| Value::of(Some(dtype), Some(vec![Size::Fixed(count as u64)]));
    let scalar = |dtype: Dtype| Value::of(Some(dtype), Some(Vec::new()));
    Ok(vec![match attribute.name() {
        "value" => match &attribute.t {
            Some(value) => constant(model, value),
            None => return unknown(),
        },
        "value_int" => {
            let mut value = scalar(Dtype::Int64);
            value.data = Some([Scalar::Known(attribute.i())].into());
            value
        }
        "value_ints" => {
            let mut value = list(Dtype::Int64, attribute.ints.len());
            if attribute.ints.len() <= MOST_ELEMENTS {
                value.data = Some(attribute.ints.iter().map(|n| Scalar::Known(*n)).collect());
            }
            value
        }
        "value_float" => scalar(Dtype::Float32),
        "value_floats" => list(Dtype::Float32, attribute.floats.len()),
        "value_string" => scalar(Dtype::String),
        "value_strings" => list(Dtype::String, attribute.strings.len()),
        _ => return unknown(),
    }])
}

pub(super) fn constant_of_shape(call: &Call<'_>, model: &Model) -> Outcome {
    let fill = call
        .attribute("value")
        .and_then(|attribute| attribute.t.as_deref());
    let fill = fill.map(|fill| constant(model, fill));
    let dtype = match &fill {
        Some(fill) => fill.dtype,
        None => Some(Dtype::Float32),
    };
    let Some(shape) = call.shape_data(0)? else {
        return Ok(vec![Value::of(dtype, None)]);
    };
    let count = product(&shape);
    let mut value = Value::of(dtype, Some(shape));
    if let (Size::Fixed(count), Some([element])) =
        (count, fill.as_ref().and_then(|f| f.data.as_deref()))
        && count <= MOST_ELEMENTS as u64
    {
        value.data = Some((0..count).map(|_| element.clone()).collect());
    }
    Ok(vec![value])
}

pub(super) fn range(call: &Call<'_>) -> Outcome {
    let first = |index: usize| call.data(index).and_then(|data| data.first());
    let (Some(start), Some(limit), Some(step)) = (first(0), first(1), first(2)) else {
        return shaped(vec![Size::Unknown]);
    };
    let (start, limit, step) = match (start, limit, step) {
        (Scalar::Known(0), Scalar::Size(limit), Scalar::Known(1)) => {
            return shaped(vec![Size::Symbol(limit.clone())]);
        }
        (Scalar::Known(start), Scalar::Known(limit), Scalar::Known(step)) => {
            (*start, *limit, *step)
        }
        _ => return shaped(vec![Size::Unknown]),
    };
    if step == 0 {
        return Err("the step is 0".to_owned());
    }
    let span = i128::from(limit) - i128::from(start);
    let forward = (span > 0) == (step > 0);
    let count = match forward {
        true => span
            .unsigned_abs()
            .div_ceil(u128::from(step.unsigned_abs())),
        false => 0,
    };
    let Ok(count) = u64::try_from(count) else {
        return shaped(vec![Size::Unknown]);
    };
    let element = |index: u64| {
        let offset = i64::try_from(index)
            .ok()
            .and_then(|index| index.checked_mul(step));
        let element = offset.and_then(|offset| start.checked_add(offset));
        element.map_or(Scalar::Unknown, Scalar::Known)
    };
    let data = (count <= MOST_ELEMENTS as u64).then(|| (0..count).map(element).collect());
    holding(vec![Size::Fixed(count)], data)
}

/// `RandomNormal` and its relatives: dtype and shape are attributes.
pub(super) fn random(call: &Call<'_>) -> Outcome {
    let sizes = call.ints("shape").map(|shape| {
        shape
            .iter()
            .map(|size| u64::try_from(*size).map_or(Size::Unknown, Size::Fixed))
            .collect()
    });
    Ok(vec![Value::of(
        call.dtype("dtype").or(Some(Dtype::Float32)),
        sizes,
    )])
}

/// `RandomNormalLike` and its relatives, `EyeLike`: the shape of the input, its dtype if none is given.
pub(super) fn like(call: &Call<'_>) -> Outcome {
    let mut value = call.input(0).same_shape();
    value.dtype = call.dtype("dtype").or(call.input(0).dtype);
    Ok(vec![value])
}
