//! The payload of one tensor: what its fields must be, and its bytes.

use amphora_error::{Error, Result};
use bytes::Bytes;

use crate::proto::TensorProto;
use crate::{Dtype, Limits};

/// Element type and size of a tensor, computed with checked arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The element type.
    pub dtype: Dtype,
    /// The number of elements: the product of the dimensions.
    pub elements: u64,
    /// Bytes of the densely packed payload; 0 for strings, whose size varies.
    pub bytes: u64,
}

/// The layout that a tensor's dtype and dimensions declare, without looking at its payload.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Malformed`] for an undefined dtype, a negative dimension or a product
/// beyond 64 bits; [`amphora_error::ErrorKind::Unsupported`] for a dtype that this version does not
/// know; [`amphora_error::ErrorKind::Limit`] beyond the limits on rank and elements.
pub fn layout(tensor: &TensorProto, limits: &Limits) -> Result<Layout> {
    let dtype = Dtype::from_onnx(tensor.data_type.unwrap_or(0))?;
    if tensor.dims.len() > limits.rank {
        return Err(Error::limit("rank", "the tensor has too many dimensions")
            .expected(format!("at most {}", limits.rank))
            .found(tensor.dims.len().to_string()));
    }
    let mut elements = 1_u64;
    let mut empty = false;
    for dim in &tensor.dims {
        let dim = u64::try_from(*dim).map_err(|_| {
            Error::malformed("negative-dimension", "a dimension is negative").found(dim.to_string())
        })?;
        // A zero must not hide an overflow of the other dimensions from the cap.
        empty |= dim == 0;
        elements = elements
            .checked_mul(dim.max(1))
            .ok_or_else(|| Error::malformed("size-overflow", "the shape exceeds 64 bits"))?;
    }
    if elements > limits.elements {
        return Err(Error::limit("elements", "the tensor has too many elements")
            .expected(format!("at most {}", limits.elements))
            .found(elements.to_string()));
    }
    let elements = if empty { 0 } else { elements };
    let bytes = match dtype {
        Dtype::String => 0,
        _ => dtype
            .byte_size(elements)
            .ok_or_else(|| Error::malformed("size-overflow", "the shape exceeds 64 bits"))?,
    };
    Ok(Layout {
        dtype,
        elements,
        bytes,
    })
}

/// Checks dtype, dimensions and payload of a tensor whose payload is not in another file.
///
/// # Errors
///
/// Those of [`layout`], and [`amphora_error::ErrorKind::Malformed`] for two payloads, a payload in a
/// field that the dtype does not use, of another length than the shape needs, or out of the dtype's
/// range; [`amphora_error::ErrorKind::Unsupported`] for a segment of a tensor.
pub(crate) fn check(tensor: &TensorProto, limits: &Limits) -> Result<Layout> {
    let layout = layout(tensor, limits)?;
    no_segment(tensor)?;
    let used = used_fields(tensor);
    let (field, found) = match used[..] {
        [] if layout.elements == 0 => return Ok(layout),
        [] => {
            return Err(
                Error::malformed("payload-missing", "the tensor has no values")
                    .expected(format!("{} elements", layout.elements)),
            );
        }
        [only] => only,
        _ => {
            let names: Vec<_> = used.iter().map(|(name, _)| *name).collect();
            return Err(
                Error::malformed("two-payloads", "the tensor has several payloads")
                    .expected("one payload field")
                    .found(names.join(" and ")),
            );
        }
    };
    let (expected, unit) = expected_length(field, &layout).ok_or_else(|| {
        Error::malformed(
            "payload-field",
            format!("{} values cannot be in '{field}'", layout.dtype),
        )
    })?;
    if found != expected {
        return Err(
            Error::malformed("payload-size", "the payload does not fit the shape")
                .expected(format!("{expected} {unit}"))
                .found(format!("{found} {unit}")),
        );
    }
    in_range(tensor, layout.dtype)?;
    Ok(layout)
}

pub(crate) fn no_segment(tensor: &TensorProto) -> Result<()> {
    if tensor.segment.is_some() {
        let message = "tensors in several segments are not supported";
        return Err(Error::unsupported("tensor-segment", message));
    }
    Ok(())
}

/// The payload fields that are in use, and how long each is.
pub(crate) fn used_fields(tensor: &TensorProto) -> Vec<(&'static str, u64)> {
    let lengths = [
        ("float_data", tensor.float_data.len()),
        ("int32_data", tensor.int32_data.len()),
        ("string_data", tensor.string_data.len()),
        ("int64_data", tensor.int64_data.len()),
        ("double_data", tensor.double_data.len()),
        ("uint64_data", tensor.uint64_data.len()),
    ];
    let mut used: Vec<_> = lengths
        .into_iter()
        .filter(|(_, length)| *length > 0)
        .map(|(name, length)| (name, length as u64))
        .collect();
    if let Some(raw) = &tensor.raw_data {
        used.push(("raw_data", raw.len() as u64));
    }
    used
}

/// How long a payload field must be for a layout, and in what unit; `None` if the dtype does not use
/// the field (the comments of `TensorProto` in `onnx.proto3` say which dtype uses which).
fn expected_length(field: &str, layout: &Layout) -> Option<(u64, &'static str)> {
    use Dtype as D;
    let n = layout.elements;
    let values = match (field, layout.dtype) {
        ("raw_data", D::String) => return None,
        ("raw_data", _) => return Some((layout.bytes, "bytes")),
        ("float_data", D::Float32) | ("double_data", D::Float64) => n,
        ("float_data", D::Complex64) | ("double_data", D::Complex128) => n.checked_mul(2)?,
        ("int64_data", D::Int64) | ("uint64_data", D::Uint64 | D::Uint32) => n,
        ("string_data", D::String) => n,
        ("int32_data", D::Int32 | D::Int16 | D::Uint16 | D::Float16 | D::Bfloat16) => n,
        // One value holds one byte: an 8-bit element, or two or four packed ones; 6-bit elements do
        // not fill bytes, and stand alone.
        ("int32_data", dtype) if dtype.bits() == 6 => n,
        ("int32_data", dtype) if matches!(dtype.bits(), 1..=8) => layout.bytes,
        _ => return None,
    };
    Some((values, "values"))
}

/// Values of `int32_data` that a narrower dtype cannot hold would silently lose bits. Both the signed
/// and the unsigned reading of a bit pattern occur in real files.
fn in_range(tensor: &TensorProto, dtype: Dtype) -> Result<()> {
    let allowed = match dtype {
        Dtype::Bool => 0..=1,
        _ => match dtype.bits() {
            6 => 0..=63,
            1..=8 => -128..=255,
            16 => -32768..=65535,
            _ => return Ok(()),
        },
    };
    match tensor
        .int32_data
        .iter()
        .find(|value| !allowed.contains(*value))
    {
        None => Ok(()),
        Some(value) => Err(Error::malformed(
            "payload-range",
            format!("a value does not fit {dtype}"),
        )
        .expected(format!("{} to {}", allowed.start(), allowed.end()))
        .found(value.to_string())),
    }
}

/// The payload inside a checked tensor: little-endian, densely packed, in row-major order.
///
/// Raw payloads are borrowed, typed ones converted. Strings have no such form.
pub(crate) fn inline_bytes(tensor: &TensorProto) -> Result<Bytes> {
    let dtype = Dtype::from_onnx(tensor.data_type.unwrap_or(0))?;
    if dtype == Dtype::String {
        let message = "a string tensor has no packed bytes";
        return Err(Error::unsupported("string-payload", message));
    }
    if let Some(raw) = &tensor.raw_data {
        return Ok(raw.clone());
    }
    let ints = &tensor.int32_data;
    let bytes: Vec<u8> = match dtype {
        Dtype::Float32 | Dtype::Complex64 => collect(&tensor.float_data, |v| v.to_le_bytes()),
        Dtype::Float64 | Dtype::Complex128 => collect(&tensor.double_data, |v| v.to_le_bytes()),
        Dtype::Int64 => collect(&tensor.int64_data, |v| v.to_le_bytes()),
        Dtype::Uint64 => collect(&tensor.uint64_data, |v| v.to_le_bytes()),
        Dtype::Uint32 => collect(&tensor.uint64_data, |v| low::<4>(v.to_le_bytes())),
        Dtype::Int32 => collect(ints, |v| v.to_le_bytes()),
        _ if dtype.bits() == 6 => ints.chunks(4).flat_map(pack_six).collect(),
        _ if dtype.bits() == 16 => collect(ints, |v| low::<2>(v.to_le_bytes())),
        _ => collect(ints, |v| low::<1>(v.to_le_bytes())),
    };
    Ok(bytes.into())
}

/// Up to four 6-bit values as one stream of bits, the first value in the lowest bits.
fn pack_six(values: &[i32]) -> impl Iterator<Item = u8> {
    let shifted = values.iter().zip([0, 6, 12, 18]);
    let stream = shifted.fold(0, |stream, (value, shift)| stream | (value & 0x3f) << shift);
    let bytes = (values.len() * 6).div_ceil(8);
    stream.to_le_bytes().into_iter().take(bytes)
}

fn collect<T: Copy, const N: usize>(values: &[T], to_bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| to_bytes(*value)).collect()
}

/// The low `N` bytes of a little-endian number.
fn low<const N: usize>(bytes: impl AsRef<[u8]>) -> [u8; N] {
    let mut low = [0; N];
    for (low, byte) in low.iter_mut().zip(bytes.as_ref()) {
        *low = *byte;
    }
    low
}

/// NaN and infinite values in the packed `bytes` of a binary16, bfloat16, binary32 or binary64
/// tensor; 0 for every other dtype. A value is finite unless all bits of its exponent are set.
pub(crate) fn nonfinite(dtype: Dtype, bytes: &[u8]) -> u64 {
    fn count<const N: usize>(bytes: &[u8], nonfinite: impl Fn([u8; N]) -> bool) -> u64 {
        let (values, _) = bytes.as_chunks::<N>();
        values.iter().filter(|value| nonfinite(**value)).count() as u64
    }
    match dtype {
        Dtype::Float16 => count(bytes, |v| u16::from_le_bytes(v) & 0x7c00 == 0x7c00),
        Dtype::Bfloat16 => count(bytes, |v| u16::from_le_bytes(v) & 0x7f80 == 0x7f80),
        Dtype::Float32 => count(bytes, |v| !f32::from_le_bytes(v).is_finite()),
        Dtype::Float64 => count(bytes, |v| !f64::from_le_bytes(v).is_finite()),
        _ => 0,
    }
}
