//! Windows that slide over the dimensions after batch and channel.

use super::call::{Call, Outcome, shaped, unknown};
use super::value::{Fault, Size, Value, show};

/// The attributes of a window, one number for each spatial dimension.
struct Window {
    kernel: Vec<Size>,
    strides: Vec<u64>,
    dilations: Vec<u64>,
    /// Begin and end of each dimension.
    pads: Vec<(i64, i64)>,
    same: bool,
    ceil: bool,
}

fn positive(call: &Call<'_>, name: &str, count: usize) -> Result<Vec<u64>, Fault> {
    let Some(numbers) = call.ints(name).filter(|numbers| !numbers.is_empty()) else {
        return Ok(vec![1; count]);
    };
    let positive: Option<Vec<u64>> = numbers
        .iter()
        .map(|number| u64::try_from(*number).ok().filter(|number| *number > 0))
        .collect();
    positive
        .filter(|numbers| numbers.len() == count)
        .ok_or_else(|| {
            format!("'{name}' is not one positive number for each of {count} dimensions")
        })
}

fn window(call: &Call<'_>, kernel: Vec<Size>) -> Result<Window, Fault> {
    let count = kernel.len();
    let automatic = call.text("auto_pad").unwrap_or(b"NOTSET");
    let explicit = call.ints("pads").filter(|pads| !pads.is_empty());
    let pads = match explicit {
        Some(pads) if automatic == b"NOTSET" => {
            if pads.len() != 2 * count {
                return Err(format!(
                    "'pads' is not two numbers for each of {count} dimensions"
                ));
            }
            let (begin, end) = pads.split_at(count);
            begin.iter().copied().zip(end.iter().copied()).collect()
        }
        _ => vec![(0, 0); count],
    };
    Ok(Window {
        strides: positive(call, "strides", count)?,
        dilations: positive(call, "dilations", count)?,
        kernel,
        pads,
        same: automatic.starts_with(b"SAME"),
        ceil: call.int("ceil_mode").unwrap_or(0) != 0,
    })
}

impl Window {
    fn slide(&self, index: usize, size: &Size) -> Result<Size, Fault> {
        let stride = self.strides[index];
        let Size::Fixed(size) = size else {
            let keeps = (self.same && stride == 1) || self.keeps_size(index);
            return Ok(if keeps { size.clone() } else { Size::Unknown });
        };
        if self.same {
            return Ok(Size::Fixed(size.div_ceil(stride)));
        }
        let Size::Fixed(kernel) = self.kernel[index] else {
            return Ok(Size::Unknown);
        };
        let (begin, end) = self.pads[index];
        let covered = kernel
            .saturating_sub(1)
            .checked_mul(self.dilations[index])
            .and_then(|reach| reach.checked_add(1));
        let padded = i64::try_from(*size)
            .ok()
            .and_then(|size| size.checked_add(begin)?.checked_add(end));
        let (Some(covered), Some(padded)) = (covered, padded) else {
            return Err("the window is too large".to_owned());
        };
        let Some(room) = u64::try_from(padded)
            .ok()
            .and_then(|padded| padded.checked_sub(covered))
        else {
            return Err(format!("a window of {covered} does not fit into {padded}"));
        };
        let down = room / stride + 1;
        let up = room.div_ceil(stride) + 1;
        // Engines differ in whether a last window that begins in the padding counts.
        let begins = (up - 1).checked_mul(stride);
        let inside = i64::try_from(*size)
            .ok()
            .and_then(|size| u64::try_from(size.checked_add(begin)?).ok());
        Ok(match self.ceil {
            false => Size::Fixed(down),
            true if up == down || begins < inside => Size::Fixed(up),
            true => Size::Unknown,
        })
    }

    /// Whether a dimension of any size comes out as it went in.
    fn keeps_size(&self, index: usize) -> bool {
        let Size::Fixed(kernel) = self.kernel[index] else {
            return false;
        };
        let (begin, end) = self.pads[index];
        let reach = kernel.saturating_sub(1).checked_mul(self.dilations[index]);
        let pads = begin
            .checked_add(end)
            .and_then(|pads| u64::try_from(pads).ok());
        self.strides[index] == 1 && reach.is_some() && pads == reach
    }
}

fn split<'s>(shape: &'s [Size], what: &str) -> Result<(&'s Size, &'s Size, &'s [Size]), Fault> {
    match shape {
        [first, second, spatial @ ..] => Ok((first, second, spatial)),
        _ => Err(format!(
            "{what} {} has fewer than two dimensions",
            show(shape)
        )),
    }
}

fn kernel_attribute(call: &Call<'_>) -> Option<Vec<Size>> {
    let sizes = call
        .ints("kernel_shape")
        .filter(|sizes| !sizes.is_empty())?;
    sizes
        .iter()
        .map(|size| u64::try_from(*size).ok().map(Size::Fixed))
        .collect()
}

/// `Conv` and its relatives, with the weights at this position.
pub(super) fn convolution(call: &Call<'_>, weights: usize) -> Outcome {
    let Some(input) = call.shape(0) else {
        return unknown();
    };
    let (batch, channels, spatial) = split(input, "the input")?;
    let mut outputs = Size::Unknown;
    let mut kernel = kernel_attribute(call);
    if let Some(weights) = call.shape(weights) {
        let (out, per_group, window) = split(weights, "the kernel")?;
        let groups = Size::Fixed(u64::try_from(call.int("group").unwrap_or(1)).unwrap_or(0));
        let expected = per_group.times(&groups);
        if channels.unify(&expected).is_none() {
            return Err(format!(
                "the kernel is for {expected} channels, the input has {channels}"
            ));
        }
        outputs = out.clone();
        kernel = kernel.or_else(|| Some(window.to_vec()));
    }
    let kernel = kernel.unwrap_or_else(|| vec![Size::Unknown; spatial.len()]);
    if kernel.len() != spatial.len() {
        return Err(format!(
            "a kernel of {} cannot slide over {}",
            show(&kernel),
            show(input)
        ));
    }
    let window = window(call, kernel)?;
    let mut shape = vec![batch.clone(), outputs];
    for (index, size) in spatial.iter().enumerate() {
        shape.push(window.slide(index, size)?);
    }
    shaped(shape)
}

/// `MaxPool`, `AveragePool`, `LpPool`; the second output holds the indices.
pub(super) fn pool(call: &Call<'_>) -> Outcome {
    let (Some(input), Some(kernel)) = (call.shape(0), kernel_attribute(call)) else {
        return unknown();
    };
    let (batch, channels, spatial) = split(input, "the input")?;
    if kernel.len() != spatial.len() {
        return Err(format!(
            "a window of {} cannot slide over {}",
            show(&kernel),
            show(input)
        ));
    }
    let window = window(call, kernel)?;
    let mut shape = vec![batch.clone(), channels.clone()];
    for (index, size) in spatial.iter().enumerate() {
        shape.push(window.slide(index, size)?);
    }
    let value = Value::shaped(shape);
    Ok(vec![value.clone(), value])
}

/// The whole of each channel becomes one number.
pub(super) fn global_pool(call: &Call<'_>) -> Outcome {
    let Some(input) = call.shape(0) else {
        return unknown();
    };
    let (batch, channels, spatial) = split(input, "the input")?;
    let mut shape = vec![batch.clone(), channels.clone()];
    shape.resize(spatial.len() + 2, Size::Fixed(1));
    shaped(shape)
}

/// `ConvTranspose` without automatic padding: the window spreads out.
pub(super) fn transposed(call: &Call<'_>) -> Outcome {
    let (Some(input), Some(weights)) = (call.shape(0), call.shape(1)) else {
        return unknown();
    };
    let (batch, _, spatial) = split(input, "the input")?;
    let (_, per_group, kernel) = split(weights, "the kernel")?;
    let groups = u64::try_from(call.int("group").unwrap_or(1)).unwrap_or(0);
    let mut shape = vec![batch.clone(), per_group.times(&Size::Fixed(groups))];
    if kernel.len() != spatial.len() {
        return Err(format!(
            "a kernel of {} cannot slide over {}",
            show(kernel),
            show(input)
        ));
    }
    let window = window(
        call,
        kernel_attribute(call).unwrap_or_else(|| kernel.to_vec()),
    )?;
    let extra = call.ints("output_padding").unwrap_or_default();
    let given = call.ints("output_shape").filter(|given| !given.is_empty());
    for (index, size) in spatial.iter().enumerate() {
        let spread = || {
            let (Size::Fixed(size), Some(Size::Fixed(kernel))) = (size, window.kernel.get(index))
            else {
                return None;
            };
            let steps = size.checked_sub(1)?.checked_mul(window.strides[index])?;
            let reach = kernel
                .checked_sub(1)?
                .checked_mul(window.dilations[index])?;
            let (begin, end) = window.pads[index];
            let total = i64::try_from(steps.checked_add(reach)?.checked_add(1)?).ok()?;
            let extra = extra.get(index).copied().unwrap_or(0);
            let total = total
                .checked_add(extra)?
                .checked_sub(begin)?
                .checked_sub(end)?;
            u64::try_from(total).ok().map(Size::Fixed)
        };
        shape.push(match given {
            _ if window.same => Size::Unknown,
            Some(given) => match given.get(index).map(|size| u64::try_from(*size)) {
                Some(Ok(size)) if given.len() == spatial.len() => Size::Fixed(size),
                _ => Size::Unknown,
            },
            None => spread().unwrap_or(Size::Unknown),
        });
    }
    shaped(shape)
}
