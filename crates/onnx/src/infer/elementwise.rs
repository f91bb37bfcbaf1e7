//! Operators that work on each element: the shape is that of the operands, broadcast.

use super::call::{Call, Outcome, holding, unknown};
use super::value::{Scalar, Size, Value, broadcast};

/// The first output has the shape of the first input.
pub(super) fn same_shape(call: &Call<'_>) -> Outcome {
    Ok(vec![call.input(0).same_shape()])
}

/// As the first input, elements included.
pub(super) fn identity(call: &Call<'_>) -> Outcome {
    Ok(vec![call.input(0).clone()])
}

pub(super) fn cast(call: &Call<'_>) -> Outcome {
    let target = call.dtype("to").or_else(|| call.input(1).dtype);
    let mut value = call.input(0).clone();
    value.dtype = target;
    // A narrower type would change the elements, and a float is no dimension.
    let keeps = target.is_some_and(|target| matches!(target.name(), "int64" | "int32"));
    if !keeps || !fits(&value, target.is_some_and(|target| target.bits() == 32)) {
        value.data = None;
    }
    Ok(vec![value])
}

fn fits(value: &Value, in_32_bits: bool) -> bool {
    let data = value.data.as_deref().unwrap_or_default();
    let small = |scalar: &Scalar| scalar.known().is_none_or(|n| i32::try_from(n).is_ok());
    !in_32_bits || data.iter().all(small)
}

pub(super) fn dropout(call: &Call<'_>) -> Outcome {
    let same = call.input(0).same_shape();
    Ok(vec![same.clone(), same])
}

/// `BatchNormalization`: the further outputs are statistics, one for each channel.
pub(super) fn batch_normalization(call: &Call<'_>) -> Outcome {
    let mut outputs = vec![call.input(0).same_shape()];
    for position in 1..call.node.output.len() {
        outputs.push(
            call.input(if position % 2 == 1 { 3 } else { 4 })
                .same_shape(),
        );
    }
    Ok(outputs)
}

/// `LayerNormalization`: the further outputs are statistics, one for each normalized block.
pub(super) fn layer_normalization(call: &Call<'_>) -> Outcome {
    let first = call.input(0).same_shape();
    let Some(shape) = call.shape(0) else {
        return Ok(vec![first]);
    };
    let axis = super::value::axis(call.int("axis").unwrap_or(-1), shape.len())?;
    let mut statistics = shape.to_vec();
    statistics[axis..].fill(Size::Fixed(1));
    let statistics = Value::shaped(statistics);
    Ok(vec![first, statistics.clone(), statistics])
}

/// Operators of two or more operands that are broadcast; before version 7, the first one's shape.
pub(super) fn broadcasting(call: &Call<'_>) -> Outcome {
    if call.attribute("broadcast").is_some() || call.attribute("axis").is_some() {
        return same_shape(call);
    }
    let mut shape: Option<Vec<Size>> = None;
    for index in 0..call.inputs.len() {
        let Some(next) = call.shape(index) else {
            return unknown();
        };
        shape = Some(match shape {
            None => next.to_vec(),
            Some(shape) => broadcast(&shape, next)?,
        });
    }
    let Some(shape) = shape else {
        return unknown();
    };
    let data = elements(call);
    holding(shape, data)
}

/// Integer arithmetic on sizes. Elements are paired one to one, or one with all.
fn elements(call: &Call<'_>) -> Option<Vec<Scalar>> {
    let operation: fn(&[&Scalar]) -> Scalar = match call.operator.name {
        "Add" => |of| add(of[0], of[1]),
        "Sub" => |of| subtract(of[0], of[1]),
        "Mul" => |of| multiply(of[0], of[1]),
        "Div" => |of| divide(of[0], of[1]),
        "Equal" => |of| equal(of[0], of[1]),
        "Where" => |of| choose(of[0], of[1], of[2]),
        "Max" if call.inputs.len() == 2 => |of| extreme(of[0], of[1], i64::max),
        "Min" if call.inputs.len() == 2 => |of| extreme(of[0], of[1], i64::min),
        _ => return None,
    };
    // Beyond rank 1, elements would have to be matched by their position.
    if (0..call.inputs.len()).any(|index| call.shape(index).is_none_or(|shape| shape.len() > 1)) {
        return None;
    }
    let operands: Option<Vec<&[Scalar]>> = (0..call.inputs.len()).map(|i| call.data(i)).collect();
    let operands = operands?;
    let empty = operands.iter().any(|operand| operand.is_empty());
    let count = if empty {
        0
    } else {
        operands.iter().map(|operand| operand.len()).max()?
    };
    let result = (0..count).map(|index| {
        let row: Vec<&Scalar> = operands
            .iter()
            .filter_map(|operand| operand.get(if operand.len() == 1 { 0 } else { index }))
            .collect();
        if row.len() == operands.len() {
            operation(&row)
        } else {
            Scalar::Unknown
        }
    });
    Some(result.collect())
}

fn both(a: &Scalar, b: &Scalar, operation: fn(i64, i64) -> Option<i64>) -> Scalar {
    match (a, b) {
        (Scalar::Known(a), Scalar::Known(b)) => {
            operation(*a, *b).map_or(Scalar::Unknown, Scalar::Known)
        }
        _ => Scalar::Unknown,
    }
}

fn extreme(a: &Scalar, b: &Scalar, operation: fn(i64, i64) -> i64) -> Scalar {
    match (a, b) {
        (Scalar::Known(a), Scalar::Known(b)) => Scalar::Known(operation(*a, *b)),
        _ if a == b => a.clone(),
        _ => Scalar::Unknown,
    }
}

fn add(a: &Scalar, b: &Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Known(0), other) | (other, Scalar::Known(0)) => other.clone(),
        _ => both(a, b, i64::checked_add),
    }
}

fn subtract(a: &Scalar, b: &Scalar) -> Scalar {
    match (a, b) {
        (_, Scalar::Known(0)) => a.clone(),
        (Scalar::Size(a), Scalar::Size(b)) if a == b => Scalar::Known(0),
        _ => both(a, b, i64::checked_sub),
    }
}

fn multiply(a: &Scalar, b: &Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Known(1), other) | (other, Scalar::Known(1)) => other.clone(),
        (Scalar::Known(0), _) | (_, Scalar::Known(0)) => Scalar::Known(0),
        _ => both(a, b, i64::checked_mul),
    }
}

/// Integer division truncates, as ONNX says for integers.
fn divide(a: &Scalar, b: &Scalar) -> Scalar {
    match (a, b) {
        (_, Scalar::Known(1)) => a.clone(),
        (Scalar::Known(_), Scalar::Known(_)) => both(a, b, i64::checked_div),
        _ => Scalar::Unknown,
    }
}

fn equal(a: &Scalar, b: &Scalar) -> Scalar {
    match (a, b) {
        (Scalar::Known(a), Scalar::Known(b)) => Scalar::Known(i64::from(a == b)),
        (Scalar::Size(a), Scalar::Size(b)) if a == b => Scalar::Known(1),
        // A size is never negative.
        (Scalar::Size(_), Scalar::Known(n)) | (Scalar::Known(n), Scalar::Size(_)) if *n < 0 => {
            Scalar::Known(0)
        }
        _ => Scalar::Unknown,
    }
}

fn choose(condition: &Scalar, yes: &Scalar, no: &Scalar) -> Scalar {
    match condition {
        Scalar::Known(0) => no.clone(),
        Scalar::Known(_) => yes.clone(),
        _ if yes == no => yes.clone(),
        _ => Scalar::Unknown,
    }
}

/// `Neg`, on elements too.
pub(super) fn negate(call: &Call<'_>) -> Outcome {
    let mut value = call.input(0).clone();
    value.data = value.data.map(|data| {
        let negated = data.iter().map(|scalar| match scalar {
            Scalar::Known(n) => n.checked_neg().map_or(Scalar::Unknown, Scalar::Known),
            Scalar::Size(_) | Scalar::Unknown => Scalar::Unknown,
        });
        negated.collect()
    });
    Ok(vec![value])
}

/// `Not`, on elements too.
pub(super) fn not(call: &Call<'_>) -> Outcome {
    let mut value = call.input(0).clone();
    value.data = value.data.map(|data| {
        let negated = data.iter().map(|scalar| match scalar {
            Scalar::Known(n) => Scalar::Known(i64::from(*n == 0)),
            Scalar::Size(_) | Scalar::Unknown => Scalar::Unknown,
        });
        negated.collect()
    });
    Ok(vec![value])
}

/// `QuantizeLinear`: the dtype is that of the zero point, or an attribute, or uint8.
pub(super) fn quantize(call: &Call<'_>) -> Outcome {
    let mut value = call.input(0).same_shape();
    value.dtype = match call.dtype("output_dtype") {
        Some(dtype) => Some(dtype),
        None if call.has(2) => call.input(2).dtype,
        None => Some(crate::Dtype::Uint8),
    };
    Ok(vec![value])
}

/// `DequantizeLinear`: the dtype is an attribute or that of the scale.
pub(super) fn dequantize(call: &Call<'_>) -> Outcome {
    let mut value = call.input(0).same_shape();
    value.dtype = match call.operator.since_version {
        ..19 => Some(crate::Dtype::Float32),
        _ => call.dtype("output_dtype").or(call.input(1).dtype),
    };
    Ok(vec![value])
}
