//! Operators that take parts of tensors, or put parts together.

use super::call::{Call, Outcome, holding, shaped, unknown};
use super::value::{Fault, Scalar, Size, Value, axis, show};

pub(super) fn concat(call: &Call<'_>) -> Outcome {
    let shapes: Option<Vec<&[Size]>> = (0..call.inputs.len()).map(|i| call.shape(i)).collect();
    let Some(shapes) = shapes else {
        // All operands have the same rank.
        let rank = (0..call.inputs.len()).find_map(|index| call.input(index).rank());
        return rank.map_or_else(unknown, |rank| shaped(vec![Size::Unknown; rank]));
    };
    let Some((first, rest)) = shapes.split_first() else {
        return unknown();
    };
    // Version 1 joins along axis 1 when nothing is said.
    let axis = axis(call.int("axis").unwrap_or(1), first.len())?;
    let mut shape = first.to_vec();
    for next in rest {
        if next.len() != shape.len() {
            return Err(format!(
                "{} and {} cannot be joined",
                show(first),
                show(next)
            ));
        }
        for (position, size) in next.iter().enumerate() {
            shape[position] = if position == axis {
                shape[position].plus(size)
            } else {
                let joined = shape[position].unify(size);
                joined
                    .ok_or_else(|| format!("{} and {} cannot be joined", show(first), show(next)))?
            };
        }
    }
    let data = (shape.len() == 1).then(|| joined(call)).flatten();
    holding(shape, data)
}

/// The elements of all operands; those of an operand without known elements are unknown.
fn joined(call: &Call<'_>) -> Option<Vec<Scalar>> {
    let mut all = Vec::new();
    for index in 0..call.inputs.len() {
        match (call.data(index), call.shape(index)) {
            (Some(data), _) => all.extend_from_slice(data),
            (None, Some([Size::Fixed(count)])) if *count <= 64 => {
                all.extend((0..*count).map(|_| Scalar::Unknown));
            }
            _ => return None,
        }
        if all.len() > super::MOST_ELEMENTS {
            return None;
        }
    }
    let known = all.iter().any(|scalar| *scalar != Scalar::Unknown);
    known.then_some(all)
}

pub(super) fn split(call: &Call<'_>) -> Outcome {
    let outputs = call.node.output.len();
    let Some(input) = call.shape(0).filter(|_| outputs <= super::MOST_ELEMENTS) else {
        return unknown();
    };
    let axis = axis(call.int("axis").unwrap_or(0), input.len())?;
    let parts: Vec<Size> = match call.numbers("split", 1) {
        Some(Some(parts)) => {
            if parts.len() != outputs {
                return Err(format!("{} parts for {outputs} outputs", parts.len()));
            }
            let sum = parts
                .iter()
                .try_fold(0_i64, |sum, part| sum.checked_add(*part));
            if let (Size::Fixed(size), Some(sum)) = (&input[axis], sum)
                && i64::try_from(*size) != Ok(sum)
            {
                return Err(format!("the parts sum to {sum}, the dimension is {size}"));
            }
            let sizes = parts
                .iter()
                .map(|part| u64::try_from(*part).map_or(Size::Unknown, Size::Fixed));
            sizes.collect()
        }
        Some(None) => vec![Size::Unknown; outputs],
        None => equal_parts(&input[axis], outputs as u64),
    };
    let output = |part: Size| {
        let mut shape = input.to_vec();
        shape[axis] = part;
        Value::shaped(shape)
    };
    Ok(parts.into_iter().map(output).collect())
}

/// Equal parts, of which the last may be smaller.
fn equal_parts(size: &Size, outputs: u64) -> Vec<Size> {
    let Size::Fixed(size) = size else {
        let part = if outputs == 1 {
            size.clone()
        } else {
            Size::Unknown
        };
        return (0..outputs).map(|_| part.clone()).collect();
    };
    let part = size.div_ceil(outputs.max(1));
    let parts = (0..outputs).map(|index| {
        let begin = part.saturating_mul(index);
        Size::Fixed(part.min(size.saturating_sub(begin)))
    });
    parts.collect()
}

pub(super) fn slice(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return unknown();
    };
    let inputs = call.operator.since_version >= 10;
    let numbers = |name: &str, index: usize| -> Option<Vec<Scalar>> {
        match inputs {
            true => call.data(index).map(<[Scalar]>::to_vec),
            false => call
                .ints(name)
                .map(|numbers| numbers.iter().map(|n| Scalar::Known(*n)).collect()),
        }
    };
    let given = |name: &str, index: usize| match inputs {
        true => call.has(index),
        false => call.attribute(name).is_some(),
    };
    let (starts, ends) = (numbers("starts", 1), numbers("ends", 2));
    let count = match (&starts, &ends, call.shape(1), call.shape(2)) {
        (Some(known), ..) | (_, Some(known), ..) => Some(known.len()),
        (_, _, Some([Size::Fixed(count)]), _) | (_, _, _, Some([Size::Fixed(count)])) => {
            usize::try_from(*count).ok()
        }
        _ => None,
    };
    let axes: Option<Vec<usize>> = match (given("axes", 3), numbers("axes", 3), count) {
        (true, Some(axes), _) => {
            let axes: Option<Vec<i64>> = axes.iter().map(Scalar::known).collect();
            axes.map(|axes| super::reduction::positions(&axes, input.len()))
                .transpose()?
        }
        (true, None, _) => None,
        (false, _, Some(count)) if count <= input.len() => Some((0..count).collect()),
        (false, _, Some(count)) => {
            return Err(format!("{count} starts for rank {}", input.len()));
        }
        (false, _, None) => None,
    };
    let Some(axes) = axes else {
        return shaped(vec![Size::Unknown; input.len()]);
    };
    let steps = match given("steps", 4) {
        true => numbers("steps", 4),
        false => Some(vec![Scalar::Known(1); axes.len()]),
    };
    let mut shape = input.to_vec();
    let mut ranges = Vec::new();
    for (position, axis) in axes.iter().enumerate() {
        let at = |list: &Option<Vec<Scalar>>| {
            list.as_ref()
                .and_then(|list| list.get(position).cloned())
                .unwrap_or(Scalar::Unknown)
        };
        let range = Range::new(&input[*axis], &at(&starts), &at(&ends), &at(&steps))?;
        shape[*axis] = range.size.clone();
        ranges.push(range);
    }
    let data = match (call.data(0), input.len(), &ranges[..]) {
        (Some(data), 1, [range]) => range.pick(data),
        (Some(data), 1, []) => Some(data.to_vec()),
        _ => None,
    };
    holding(shape, data)
}

/// What a slice takes of one dimension.
struct Range {
    size: Size,
    /// First position, step and count, when they are known.
    positions: Option<(i64, i64, u64)>,
}

impl Range {
    fn new(size: &Size, start: &Scalar, end: &Scalar, step: &Scalar) -> Result<Self, Fault> {
        let open = |size| {
            Ok(Self {
                size,
                positions: None,
            })
        };
        if *step == Scalar::Known(0) {
            return Err("the step is 0".to_owned());
        }
        let whole = match (start, end, step) {
            (Scalar::Known(0), Scalar::Known(end), Scalar::Known(1)) => *end >= i64::from(i32::MAX),
            (Scalar::Known(0), Scalar::Size(end), Scalar::Known(1)) => {
                matches!(size, Size::Symbol(name) if name == end)
            }
            _ => false,
        };
        let Size::Fixed(length) = size else {
            return open(if whole { size.clone() } else { Size::Unknown });
        };
        let (Some(start), Some(end), Some(step)) = (start.known(), end.known(), step.known())
        else {
            return open(Size::Unknown);
        };
        let Ok(length) = i64::try_from(*length) else {
            return open(Size::Unknown);
        };
        let from_front = |index: i64| {
            if index < 0 {
                index.saturating_add(length)
            } else {
                index
            }
        };
        let (low, high) = if step > 0 {
            (0, length)
        } else {
            (-1, length - 1)
        };
        let start = from_front(start).clamp(low.max(0), high.max(0));
        let end = from_front(end).clamp(low, high.max(low));
        let span = if step > 0 {
            end.saturating_sub(start)
        } else {
            start.saturating_sub(end)
        };
        let count = span.max(0).unsigned_abs().div_ceil(step.unsigned_abs());
        Ok(Self {
            size: Size::Fixed(count),
            positions: Some((start, step, count)),
        })
    }

    fn pick(&self, data: &[Scalar]) -> Option<Vec<Scalar>> {
        let (start, step, count) = self.positions?;
        let position = |index: u64| {
            let offset = i64::try_from(index).ok()?.checked_mul(step)?;
            data.get(usize::try_from(start.checked_add(offset)?).ok()?)
                .cloned()
        };
        (0..count).map(position).collect()
    }
}

pub(super) fn gather(call: &Call<'_>) -> Outcome {
    let (Some(input), Some(indices)) = (call.shape(0), call.shape(1)) else {
        return unknown();
    };
    let axis = axis(call.int("axis").unwrap_or(0), input.len())?;
    let mut shape = input[..axis].to_vec();
    shape.extend_from_slice(indices);
    shape.extend_from_slice(&input[axis + 1..]);
    let data = match (call.data(0), call.data(1), input.len()) {
        (Some(data), Some(indices), 1) => gathered(data, indices)?,
        _ => None,
    };
    holding(shape, data)
}

fn gathered(data: &[Scalar], indices: &[Scalar]) -> Result<Option<Vec<Scalar>>, Fault> {
    let picked = indices.iter().map(|index| match index.known() {
        Some(index) => axis(index, data.len())
            .map(|index| data[index].clone())
            .map_err(|_| format!("index {index} is beyond {} elements", data.len())),
        None => Ok(Scalar::Unknown),
    });
    picked.collect::<Result<Vec<Scalar>, Fault>>().map(Some)
}

/// `GatherElements`: as many as there are indices.
pub(super) fn gather_elements(call: &Call<'_>) -> Outcome {
    Ok(vec![call.input(1).same_shape()])
}

pub(super) fn gather_nd(call: &Call<'_>) -> Outcome {
    let (Some(input), Some(indices)) = (call.shape(0), call.shape(1)) else {
        return unknown();
    };
    let Some((Size::Fixed(depth), outer)) = indices.split_last() else {
        return unknown();
    };
    let batch = usize::try_from(call.int("batch_dims").unwrap_or(0)).unwrap_or(usize::MAX);
    let depth = usize::try_from(*depth).unwrap_or(usize::MAX);
    let Some(inner) = batch
        .checked_add(depth)
        .and_then(|skipped| input.get(skipped..))
    else {
        return Err(format!(
            "indices of {depth} dimensions into {}",
            show(input)
        ));
    };
    let mut shape = outer.to_vec();
    shape.extend_from_slice(inner);
    shaped(shape)
}

pub(super) fn pad(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return unknown();
    };
    let rank = input.len();
    let pads: Option<Vec<Scalar>> = match call.ints("pads").or_else(|| call.ints("paddings")) {
        Some(pads) => Some(pads.iter().map(|n| Scalar::Known(*n)).collect()),
        None => call.data(1).map(<[Scalar]>::to_vec),
    };
    let axes = match call.has(3) {
        true => match call.known(3) {
            Some(axes) => Some(super::reduction::positions(&axes, rank)?),
            None => None,
        },
        false => Some((0..rank).collect()),
    };
    let (Some(pads), Some(axes)) = (pads, axes) else {
        return shaped(vec![Size::Unknown; rank]);
    };
    if pads.len() != 2 * axes.len() {
        return Err(format!("{} pads for {} dimensions", pads.len(), axes.len()));
    }
    let mut shape = input.to_vec();
    for (position, axis) in axes.iter().enumerate() {
        let (begin, end) = (&pads[position], &pads[position + axes.len()]);
        shape[*axis] = match (&input[*axis], begin.known(), end.known()) {
            (Size::Fixed(size), Some(begin), Some(end)) => {
                let padded = i64::try_from(*size)
                    .ok()
                    .and_then(|size| size.checked_add(begin)?.checked_add(end))
                    .and_then(|size| u64::try_from(size).ok());
                Size::Fixed(padded.ok_or_else(|| format!("pads {begin} and {end} of {size}"))?)
            }
            (size, Some(0), Some(0)) => size.clone(),
            _ => Size::Unknown,
        };
    }
    shaped(shape)
}

pub(super) fn one_hot(call: &Call<'_>) -> Outcome {
    let Some(indices) = call.shape(0) else {
        return unknown();
    };
    let depth = call
        .data(1)
        .and_then(|data| data.first())
        .and_then(Scalar::to_size);
    let position = axis(call.int("axis").unwrap_or(-1), indices.len() + 1)?;
    let mut shape = indices.to_vec();
    shape.insert(position, depth.unwrap_or(Size::Unknown));
    shaped(shape)
}

/// `NonZero`: one row for each dimension.
pub(super) fn non_zero(call: &Call<'_>) -> Outcome {
    let rows = call
        .input(0)
        .rank()
        .map_or(Size::Unknown, |rank| Size::Fixed(rank as u64));
    shaped(vec![rows, Size::Unknown])
}

/// `Resize` and `Upsample`: the sizes when they are given, else only the rank.
pub(super) fn resize(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return unknown();
    };
    let plain = call.attribute("axes").is_none()
        && call.attribute("keep_aspect_ratio_policy").is_none()
        && call.has(3);
    match call.shape_data(3)? {
        Some(sizes) if plain && sizes.len() == input.len() => shaped(sizes),
        _ => shaped(vec![Size::Unknown; input.len()]),
    }
}
