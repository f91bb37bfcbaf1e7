//! Elements narrower than a byte, as integers.

use amphora_onnx::Dtype;

/// The elements of a packed integer tensor, first element in the lowest bits of its byte; `None` for
/// packed types that are not integers.
pub(super) fn unpack_integers(dtype: Dtype, bytes: &[u8], count: usize) -> Option<Vec<i64>> {
    let (bits, signed) = match dtype {
        Dtype::Uint4 => (4, false),
        Dtype::Int4 => (4, true),
        Dtype::Uint2 => (2, false),
        Dtype::Int2 => (2, true),
        _ => return None,
    };
    let per_byte = 8 / bits;
    let element = |index: usize| {
        let byte = bytes.get(index / per_byte).copied().unwrap_or_default();
        let raw = i64::from(byte >> ((index % per_byte) * bits)) & ((1 << bits) - 1);
        if signed && raw >> (bits - 1) == 1 {
            raw - (1 << bits)
        } else {
            raw
        }
    };
    Some((0..count).map(element).collect())
}

/// The inverse of [`unpack_integers`]; `None` when a value does not fit or the type is not a packed
/// integer.
pub(super) fn pack_integers(dtype: Dtype, values: &[i64]) -> Option<Vec<u8>> {
    let (bits, low, high) = match dtype {
        Dtype::Uint4 => (4, 0, 15),
        Dtype::Int4 => (4, -8, 7),
        Dtype::Uint2 => (2, 0, 3),
        Dtype::Int2 => (2, -2, 1),
        _ => return None,
    };
    let per_byte = 8 / bits;
    let mut bytes = vec![0_u8; values.len().div_ceil(per_byte)];
    for (index, &value) in values.iter().enumerate() {
        if !(low..=high).contains(&value) {
            return None;
        }
        let raw = (value & ((1 << bits) - 1)) as u8;
        bytes[index / per_byte] |= raw << ((index % per_byte) * bits);
    }
    Some(bytes)
}
