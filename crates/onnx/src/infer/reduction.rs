//! Operators that turn an axis into one number, or into a few.

use super::call::{Call, Outcome, shaped, unknown};
use super::value::{Fault, Size, Value, axis};

/// The `Reduce` family. Axes are an attribute at first and an input later.
pub(super) fn reduce(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return unknown();
    };
    let keep = call.int("keepdims").unwrap_or(1) != 0;
    let axes = match call.numbers("axes", 1) {
        Some(None) if keep => return shaped(vec![Size::Unknown; input.len()]),
        Some(None) => return unknown(),
        Some(Some(axes)) => axes,
        None => Vec::new(),
    };
    if axes.is_empty() && call.int("noop_with_empty_axes").unwrap_or(0) != 0 {
        return shaped(input.to_vec());
    }
    let reduced = positions(&axes, input.len())?;
    let all = axes.is_empty();
    let mut shape = Vec::new();
    let mut count = Size::Fixed(1);
    for (position, size) in input.iter().enumerate() {
        if !all && !reduced.contains(&position) {
            shape.push(size.clone());
            continue;
        }
        count = count.times(size);
        if keep {
            shape.push(Size::Fixed(1));
        }
    }
    // The product of a shape is the number of elements.
    let data = match (call.operator.name, call.data(0), all || input.len() == 1) {
        ("ReduceProd", Some(data), true) => {
            let sizes: Option<Vec<Size>> = data.iter().map(|scalar| scalar.to_size()).collect();
            sizes.map(|sizes| vec![super::value::product(&sizes).to_scalar()])
        }
        _ => None,
    };
    super::call::holding(shape, data)
}

/// Axes counted from the front.
pub(super) fn positions(axes: &[i64], rank: usize) -> Result<Vec<usize>, Fault> {
    axes.iter().map(|index| axis(*index, rank)).collect()
}

/// `ArgMax` and `ArgMin`.
pub(super) fn arg(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return unknown();
    };
    let axis = axis(call.int("axis").unwrap_or(0), input.len())?;
    let mut shape = input.to_vec();
    match call.int("keepdims").unwrap_or(1) {
        0 => drop(shape.remove(axis)),
        _ => shape[axis] = Size::Fixed(1),
    }
    shaped(shape)
}

/// `TopK`: values and indices.
pub(super) fn top_k(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return unknown();
    };
    let axis = axis(call.int("axis").unwrap_or(-1), input.len())?;
    let k = match call.int("k") {
        Some(k) => u64::try_from(k).map_or(Size::Unknown, Size::Fixed),
        None => call
            .data(1)
            .and_then(|data| data.first())
            .and_then(|k| k.to_size())
            .unwrap_or(Size::Unknown),
    };
    let mut shape = input.to_vec();
    shape[axis] = k;
    let value = Value::shaped(shape);
    Ok(vec![value.clone(), value])
}

/// `LSTM`, `GRU`, `RNN`: the whole sequence, then the last states.
pub(super) fn recurrent(call: &Call<'_>) -> Outcome {
    let directions = match call.text("direction") {
        Some(b"bidirectional") => 2,
        _ => 1,
    };
    let hidden = match call.int("hidden_size").map(u64::try_from) {
        Some(Ok(size)) if size > 0 => Size::Fixed(size),
        _ => match call.shape(2) {
            Some([_, _, hidden]) => hidden.clone(),
            _ => Size::Unknown,
        },
    };
    let batch_first = call.int("layout").unwrap_or(0) != 0;
    let (sequence, batch) = match call.shape(0) {
        Some([sequence, batch, _]) if !batch_first => (sequence.clone(), batch.clone()),
        Some([batch, sequence, _]) => (sequence.clone(), batch.clone()),
        Some(shape) => {
            return Err(format!("the input has rank {} instead of 3", shape.len()));
        }
        None => (Size::Unknown, Size::Unknown),
    };
    let directions = Size::Fixed(directions);
    let (all, last) = match batch_first {
        true => (
            vec![batch.clone(), sequence, directions.clone(), hidden.clone()],
            vec![batch, directions, hidden],
        ),
        false => (
            vec![sequence, directions.clone(), batch.clone(), hidden.clone()],
            vec![directions, batch, hidden],
        ),
    };
    let last = Value::shaped(last);
    Ok(vec![Value::shaped(all), last.clone(), last])
}
