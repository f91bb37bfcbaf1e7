//! Operators that arrange elements anew: the number of elements stays.

use super::call::{Call, Outcome, holding, shaped, unknown};
use super::reduction::positions;
use super::value::{Fault, Scalar, Size, Value, axis, broadcast, product, show};

pub(super) fn reshape(call: &Call<'_>) -> Outcome {
    let target: Option<Vec<Scalar>> = match call.ints("shape") {
        Some(shape) => Some(shape.iter().map(|n| Scalar::Known(*n)).collect()),
        None => match (call.data(1), call.shape(1)) {
            (Some(data), _) => Some(data.to_vec()),
            (None, Some([Size::Fixed(rank)])) if *rank <= 64 => {
                Some(vec![Scalar::Unknown; usize::try_from(*rank).unwrap_or(0)])
            }
            _ => None,
        },
    };
    let Some(target) = target else {
        return unknown();
    };
    let shape = target_shape(
        call.shape(0),
        &target,
        call.int("allowzero").unwrap_or(0) != 0,
    )?;
    let mut value = Value::shaped(shape);
    value.data = call.input(0).data.clone();
    Ok(vec![value])
}

/// The shape that a `Reshape` gives: 0 copies a dimension, -1 takes what is left.
fn target_shape(
    input: Option<&[Size]>,
    target: &[Scalar],
    zero_is_zero: bool,
) -> Result<Vec<Size>, Fault> {
    let mut shape = Vec::with_capacity(target.len());
    let mut open = None;
    for (position, scalar) in target.iter().enumerate() {
        shape.push(match scalar {
            Scalar::Known(0) if !zero_is_zero => match input {
                Some(input) => input
                    .get(position)
                    .cloned()
                    .ok_or_else(|| format!("dimension {position} of {} is copied", show(input)))?,
                None => Size::Unknown,
            },
            Scalar::Known(-1) if open.replace(position).is_some() => {
                return Err("two dimensions are to be computed".to_owned());
            }
            Scalar::Known(-1) => Size::Fixed(1),
            scalar => scalar
                .to_size()
                .ok_or_else(|| "a dimension of the new shape is negative".to_owned())?,
        });
    }
    let Some(input) = input else {
        shape.iter_mut().enumerate().for_each(|(position, size)| {
            if Some(position) == open {
                *size = Size::Unknown;
            }
        });
        return Ok(shape);
    };
    if let Some(open) = open {
        shape[open] = rest(input, &shape)?;
    } else if let (Size::Fixed(before), Size::Fixed(after)) = (product(input), product(&shape))
        && before != after
    {
        return Err(format!("{} cannot become {}", show(input), show(&shape)));
    }
    Ok(shape)
}

/// What is left of `input` when it is divided by `known`; symbols cancel.
fn rest(input: &[Size], known: &[Size]) -> Result<Size, Fault> {
    let mut left: Vec<&Size> = Vec::new();
    let mut divisor = 1_u64;
    let mut cancelled: Vec<&Size> = Vec::new();
    for size in known {
        match size {
            Size::Fixed(n) => match divisor.checked_mul(*n) {
                Some(product) => divisor = product,
                None => return Ok(Size::Unknown),
            },
            size => cancelled.push(size),
        }
    }
    let mut dividend = 1_u64;
    for size in input {
        match size {
            Size::Fixed(n) => match dividend.checked_mul(*n) {
                Some(product) => dividend = product,
                None => return Ok(Size::Unknown),
            },
            Size::Unknown => left.push(size),
            Size::Symbol(_) => match cancelled.iter().position(|other| *other == size) {
                Some(position) => drop(cancelled.swap_remove(position)),
                None => left.push(size),
            },
        }
    }
    if !cancelled.is_empty() || divisor == 0 {
        return Ok(Size::Unknown);
    }
    match (&left[..], dividend % divisor, dividend / divisor) {
        ([], 0, quotient) => Ok(Size::Fixed(quotient)),
        ([], ..) => Err(format!(
            "{} cannot be divided into {}",
            show(input),
            show(known)
        )),
        ([only], 0, 1) => Ok((*only).clone()),
        _ => Ok(Size::Unknown),
    }
}

pub(super) fn transpose(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return match call.ints("perm") {
            Some(order) if !order.is_empty() => shaped(vec![Size::Unknown; order.len()]),
            _ => unknown(),
        };
    };
    let order = match call
        .ints("perm")
        .filter(|order| !order.is_empty() || input.is_empty())
    {
        Some(order) => order
            .iter()
            .map(|index| usize::try_from(*index).unwrap_or(usize::MAX))
            .collect(),
        None => (0..input.len()).rev().collect::<Vec<usize>>(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..input.len()) {
        return Err(format!(
            "'perm' is no permutation of {} dimensions",
            input.len()
        ));
    }
    shaped(
        order
            .into_iter()
            .map(|index| input[index].clone())
            .collect(),
    )
}

pub(super) fn flatten(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return shaped(vec![Size::Unknown; 2]);
    };
    // The axis may lie behind the last dimension.
    let split = match call.int("axis").unwrap_or(1) {
        index if usize::try_from(index) == Ok(input.len()) => input.len(),
        index => axis(index, input.len())?,
    };
    let (outer, inner) = input.split_at(split);
    shaped(vec![product(outer), product(inner)])
}

pub(super) fn squeeze(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return unknown();
    };
    let dropped = match call.numbers("axes", 1) {
        Some(None) => return unknown(),
        Some(Some(axes)) => positions(&axes, input.len())?,
        None if input.iter().all(|size| matches!(size, Size::Fixed(_))) => {
            let ones = input
                .iter()
                .enumerate()
                .filter(|(_, size)| **size == Size::Fixed(1));
            ones.map(|(position, _)| position).collect()
        }
        None => return unknown(),
    };
    let mut shape = Vec::new();
    for (position, size) in input.iter().enumerate() {
        match size {
            _ if !dropped.contains(&position) => shape.push(size.clone()),
            Size::Fixed(n) if *n != 1 => {
                return Err(format!("dimension {position} of {} is not 1", show(input)));
            }
            _ => {}
        }
    }
    let mut value = Value::shaped(shape);
    value.data = call.input(0).data.clone();
    Ok(vec![value])
}

pub(super) fn unsqueeze(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return unknown();
    };
    let Some(Some(axes)) = call.numbers("axes", 1) else {
        return match call.shape(1) {
            Some([Size::Fixed(added)]) if *added <= 64 => {
                let rank = input.len() + usize::try_from(*added).unwrap_or(0);
                shaped(vec![Size::Unknown; rank])
            }
            _ => unknown(),
        };
    };
    if axes.len() > super::MOST_ELEMENTS {
        return unknown();
    }
    let rank = input.len() + axes.len();
    let added = positions(&axes, rank)?;
    let mut rest = input.iter();
    let mut shape = Vec::with_capacity(rank);
    for position in 0..rank {
        match added.contains(&position) {
            true => shape.push(Size::Fixed(1)),
            false => shape.extend(rest.next().cloned()),
        }
    }
    if shape.len() != rank {
        return Err("an axis is listed twice".to_owned());
    }
    let mut value = Value::shaped(shape);
    value.data = call.input(0).data.clone();
    Ok(vec![value])
}

pub(super) fn expand(call: &Call<'_>) -> Outcome {
    let target = call.shape_data(1)?;
    match (call.shape(0), target) {
        (Some(input), Some(target)) => broadcast(input, &target).and_then(shaped),
        _ => unknown(),
    }
}

/// `Shape`, with its range from version 15 on.
pub(super) fn shape(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return shaped(vec![Size::Unknown]);
    };
    let rank = i64::try_from(input.len()).unwrap_or(i64::MAX);
    let clamp = |index: i64| {
        let index = if index < 0 {
            index.saturating_add(rank)
        } else {
            index
        };
        usize::try_from(index.clamp(0, rank)).unwrap_or(0)
    };
    let start = clamp(call.int("start").unwrap_or(0));
    let end = clamp(call.int("end").unwrap_or(rank));
    let part = input.get(start..end).unwrap_or_default();
    let data = part.iter().map(Size::to_scalar).collect();
    holding(vec![Size::Fixed(part.len() as u64)], Some(data))
}

/// `Size`: the number of elements.
pub(super) fn size(call: &Call<'_>) -> Outcome {
    let data = call.shape(0).map(|shape| vec![product(shape).to_scalar()]);
    holding(Vec::new(), data)
}

/// `DepthToSpace` and `SpaceToDepth`.
pub(super) fn depth(call: &Call<'_>, to_space: bool) -> Outcome {
    let Some([batch, channels, height, width]) = call.shape(0) else {
        return unknown();
    };
    let block = u64::try_from(call.int("blocksize").unwrap_or(0)).unwrap_or(0);
    if block == 0 {
        return Err("'blocksize' is not positive".to_owned());
    }
    let square = Size::Fixed(block.saturating_mul(block));
    let block = Size::Fixed(block);
    let divide = |size: &Size, by: &Size| match (size, by) {
        (Size::Fixed(size), Size::Fixed(by)) if size.is_multiple_of(*by) => Size::Fixed(size / by),
        _ => Size::Unknown,
    };
    let (channels, height, width) = match to_space {
        true => (
            divide(channels, &square),
            height.times(&block),
            width.times(&block),
        ),
        false => (
            channels.times(&square),
            divide(height, &block),
            divide(width, &block),
        ),
    };
    shaped(vec![batch.clone(), channels, height, width])
}

/// `Tile`.
pub(super) fn tile(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return unknown();
    };
    let repeats = match call.operator.since_version {
        ..6 => None,
        _ => call.shape_data(1)?,
    };
    let Some(repeats) = repeats else {
        return shaped(vec![Size::Unknown; input.len()]);
    };
    if repeats.len() != input.len() {
        return Err(format!(
            "{} repeats for rank {}",
            repeats.len(),
            input.len()
        ));
    }
    shaped(
        input
            .iter()
            .zip(&repeats)
            .map(|(size, times)| size.times(times))
            .collect(),
    )
}
