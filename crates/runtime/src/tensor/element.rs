//! The Rust type of each element type.

use amphora_error::{Error, Result};
use amphora_onnx::Dtype;
use half::{bf16, f16};

use super::Data;

/// A Rust type that is the element type of a [`crate::Tensor`].
///
/// Implemented for `f32`, `f64`, `half::f16`, `half::bf16`, `i8` to `i64`, `u8` to `u64`, `bool` and
/// `String`; closed to others.
pub trait Element: sealed::Sealed + Clone {
    /// The ONNX element type.
    const DTYPE: Dtype;
}

pub(crate) mod sealed {
    use super::super::Data;

    /// Moves elements in and out of the typed storage.
    pub trait Sealed: Sized {
        #[doc(hidden)]
        fn into_data(elements: Vec<Self>) -> Data;
        #[doc(hidden)]
        fn slice(data: &Data) -> Option<&[Self]>;
        #[doc(hidden)]
        fn into_vec(data: Data) -> Result<Vec<Self>, Data>;
    }
}

macro_rules! elements {
    ($($type:ty => $variant:ident, $dtype:ident;)*) => {
        $(
            impl Element for $type {
                const DTYPE: Dtype = Dtype::$dtype;
            }
            impl sealed::Sealed for $type {
                fn into_data(elements: Vec<Self>) -> Data {
                    Data::$variant(elements)
                }
                fn slice(data: &Data) -> Option<&[Self]> {
                    match data {
                        Data::$variant(elements) => Some(elements),
                        _ => None,
                    }
                }
                fn into_vec(data: Data) -> Result<Vec<Self>, Data> {
                    match data {
                        Data::$variant(elements) => Ok(elements),
                        other => Err(other),
                    }
                }
            }
        )*
    };
}

elements! {
    f32 => F32, Float32;
    f64 => F64, Float64;
    f16 => F16, Float16;
    bf16 => Bf16, Bfloat16;
    i8 => I8, Int8;
    i16 => I16, Int16;
    i32 => I32, Int32;
    i64 => I64, Int64;
    u8 => U8, Uint8;
    u16 => U16, Uint16;
    u32 => U32, Uint32;
    u64 => U64, Uint64;
    bool => Bool, Bool;
    String => String, String;
}

/// Runs `$body` with `$elements` bound to the typed vector of any number, or `$other` for booleans,
/// strings and packed elements.
macro_rules! with_float_or_int {
    ($data:expr, $elements:ident => $body:expr, $rest:pat => $other:expr) => {
        match $data {
            Data::F32($elements) => $body,
            Data::F64($elements) => $body,
            Data::F16($elements) => $body,
            Data::Bf16($elements) => $body,
            Data::I8($elements) => $body,
            Data::I16($elements) => $body,
            Data::I32($elements) => $body,
            Data::I64($elements) => $body,
            Data::U8($elements) => $body,
            Data::U16($elements) => $body,
            Data::U32($elements) => $body,
            Data::U64($elements) => $body,
            $rest => $other,
        }
    };
}

pub(super) fn from_le_bytes(dtype: Dtype, bytes: &[u8]) -> Result<Data> {
    macro_rules! read {
        ($type:ty) => {{
            let (chunks, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
            let elements: Vec<$type> = chunks.iter().map(|c| <$type>::from_le_bytes(*c)).collect();
            <$type as sealed::Sealed>::into_data(elements)
        }};
    }
    Ok(match dtype {
        Dtype::Float32 => read!(f32),
        Dtype::Float64 => read!(f64),
        Dtype::Float16 => read!(f16),
        Dtype::Bfloat16 => read!(bf16),
        Dtype::Int8 => read!(i8),
        Dtype::Int16 => read!(i16),
        Dtype::Int32 => read!(i32),
        Dtype::Int64 => read!(i64),
        Dtype::Uint8 => Data::U8(bytes.to_vec()),
        Dtype::Uint16 => read!(u16),
        Dtype::Uint32 => read!(u32),
        Dtype::Uint64 => read!(u64),
        Dtype::Bool => {
            if let Some(found) = bytes.iter().find(|&&byte| byte > 1) {
                return Err(
                    Error::malformed("bool-value", "a boolean is neither 0 nor 1")
                        .found(found.to_string()),
                );
            }
            Data::Bool(bytes.iter().map(|&byte| byte == 1).collect())
        }
        _ => Data::Packed(bytes.to_vec()),
    })
}

pub(super) fn to_le_bytes(data: &Data) -> Option<Vec<u8>> {
    with_float_or_int!(
        data,
        elements => Some(elements.iter().flat_map(|e| e.to_le_bytes()).collect()),
        rest => match rest {
            Data::Bool(elements) => Some(elements.iter().map(|&e| u8::from(e)).collect()),
            Data::Packed(bytes) => Some(bytes.clone()),
            _ => None,
        }
    )
}

pub(super) fn to_f64(data: &Data) -> Option<Vec<f64>> {
    macro_rules! exact {
        ($elements:expr) => {
            Some($elements.iter().map(|&e| f64::from(e)).collect())
        };
    }
    match data {
        Data::F32(elements) => exact!(elements),
        Data::F64(elements) => Some(elements.clone()),
        Data::F16(elements) => exact!(elements),
        Data::Bf16(elements) => exact!(elements),
        Data::I8(elements) => exact!(elements),
        Data::I16(elements) => exact!(elements),
        Data::I32(elements) => exact!(elements),
        Data::I64(elements) => Some(elements.iter().map(|&e| e as f64).collect()),
        Data::U8(elements) => exact!(elements),
        Data::U16(elements) => exact!(elements),
        Data::U32(elements) => exact!(elements),
        Data::U64(elements) => Some(elements.iter().map(|&e| e as f64).collect()),
        Data::Bool(elements) => exact!(elements),
        Data::String(_) | Data::Packed(_) => None,
    }
}

pub(super) fn nonfinite(data: &Data) -> usize {
    match data {
        Data::F32(elements) => elements.iter().filter(|e| !e.is_finite()).count(),
        Data::F64(elements) => elements.iter().filter(|e| !e.is_finite()).count(),
        Data::F16(elements) => elements.iter().filter(|e| !e.is_finite()).count(),
        Data::Bf16(elements) => elements.iter().filter(|e| !e.is_finite()).count(),
        _ => 0,
    }
}
