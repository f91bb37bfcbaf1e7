//! Element types.

use amphora_error::{Error, Result, quoted};

/// An ONNX tensor element type (`TensorProto.DataType`), named as in manifests and contracts.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE 754 binary32.
    Float32,
    /// Unsigned 8-bit integer.
    Uint8,
    /// Signed 8-bit integer.
    Int8,
    /// Unsigned 16-bit integer.
    Uint16,
    /// Signed 16-bit integer.
    Int16,
    /// Signed 32-bit integer.
    Int32,
    /// Signed 64-bit integer.
    Int64,
    /// UTF-8 strings.
    String,
    /// Booleans, one byte each.
    Bool,
    /// IEEE 754 binary16.
    Float16,
    /// IEEE 754 binary64.
    Float64,
    /// Unsigned 32-bit integer.
    Uint32,
    /// Unsigned 64-bit integer.
    Uint64,
    /// Two binary32.
    Complex64,
    /// Two binary64.
    Complex128,
    /// The upper half of a binary32.
    Bfloat16,
    /// 8-bit float, 4 exponent bits, finite only (`FLOAT8E4M3FN`).
    Float8e4m3fn,
    /// `FLOAT8E4M3FNUZ`.
    Float8e4m3fnuz,
    /// `FLOAT8E5M2`.
    Float8e5m2,
    /// `FLOAT8E5M2FNUZ`.
    Float8e5m2fnuz,
    /// Unsigned 4-bit integer, two in a byte.
    Uint4,
    /// Signed 4-bit integer, two in a byte.
    Int4,
    /// 4-bit float (`FLOAT4E2M1`), two in a byte.
    Float4e2m1,
    /// 8-bit exponent (`FLOAT8E8M0`).
    Float8e8m0,
    /// Unsigned 2-bit integer, four in a byte.
    Uint2,
    /// Signed 2-bit integer, four in a byte.
    Int2,
    /// 6-bit float (`FLOAT6E2M3`), four in three bytes.
    Float6e2m3,
    /// 6-bit float (`FLOAT6E3M2`), four in three bytes.
    Float6e3m2,
}

/// Dtype, its number in `onnx.proto3`, its name, the bits of one element (0 for strings).
const TABLE: [(Dtype, i32, &str, u64); 28] = [
    (Dtype::Float32, 1, "float32", 32),
    (Dtype::Uint8, 2, "uint8", 8),
    (Dtype::Int8, 3, "int8", 8),
    (Dtype::Uint16, 4, "uint16", 16),
    (Dtype::Int16, 5, "int16", 16),
    (Dtype::Int32, 6, "int32", 32),
    (Dtype::Int64, 7, "int64", 64),
    (Dtype::String, 8, "string", 0),
    (Dtype::Bool, 9, "bool", 8),
    (Dtype::Float16, 10, "float16", 16),
    (Dtype::Float64, 11, "float64", 64),
    (Dtype::Uint32, 12, "uint32", 32),
    (Dtype::Uint64, 13, "uint64", 64),
    (Dtype::Complex64, 14, "complex64", 64),
    (Dtype::Complex128, 15, "complex128", 128),
    (Dtype::Bfloat16, 16, "bfloat16", 16),
    (Dtype::Float8e4m3fn, 17, "float8e4m3fn", 8),
    (Dtype::Float8e4m3fnuz, 18, "float8e4m3fnuz", 8),
    (Dtype::Float8e5m2, 19, "float8e5m2", 8),
    (Dtype::Float8e5m2fnuz, 20, "float8e5m2fnuz", 8),
    (Dtype::Uint4, 21, "uint4", 4),
    (Dtype::Int4, 22, "int4", 4),
    (Dtype::Float4e2m1, 23, "float4e2m1", 4),
    (Dtype::Float8e8m0, 24, "float8e8m0", 8),
    (Dtype::Uint2, 25, "uint2", 2),
    (Dtype::Int2, 26, "int2", 2),
    (Dtype::Float6e2m3, 27, "float6e2m3", 6),
    (Dtype::Float6e3m2, 28, "float6e3m2", 6),
];

impl Dtype {
    /// Every element type, in the order of its ONNX number.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// The element type with this number in `onnx.proto3`.
    ///
    /// 0 (undefined) is malformed; a number beyond the table is unsupported.
    pub fn from_onnx(number: i32) -> Result<Self> {
        match TABLE.iter().find(|row| row.1 == number) {
            Some(row) => Ok(row.0),
            None if number == 0 => Err(Error::malformed(
                "dtype-undefined",
                "the element type is undefined",
            )),
            None => Err(Error::unsupported(
                "dtype-unknown",
                format!("the element type {number} is unknown"),
            )
            .expected("a number between 1 and 28")),
        }
    }

    /// The number in `onnx.proto3`.
    pub fn to_onnx(self) -> i32 {
        self.row().1
    }

    /// The name used in contracts and manifests, for example `float32`.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Parses [`Dtype::name`].
    pub fn from_name(name: &str) -> Result<Self> {
        TABLE
            .iter()
            .find(|row| row.2 == name)
            .map(|row| row.0)
            .ok_or_else(|| {
                Error::malformed(
                    "dtype-name",
                    format!("{} is not an element type", quoted(name)),
                )
                .expected("for example 'float32' or 'int64'")
            })
    }

    /// Bits of one element; 0 for strings, whose size varies.
    pub fn bits(self) -> u64 {
        self.row().3
    }

    /// Bytes of `elements` densely packed elements, `None` for strings or on overflow.
    pub fn byte_size(self, elements: u64) -> Option<u64> {
        match self.bits() {
            0 => None,
            bits => Some(elements.checked_mul(bits)?.div_ceil(8)),
        }
    }

    fn row(self) -> &'static (Self, i32, &'static str, u64) {
        // The table is ordered by number and starts at 1, and so is the enum.
        &TABLE[self as usize]
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_serialized_forms_agree() {
        let mut wrong = Vec::new();
        for (index, dtype) in Dtype::all().enumerate() {
            let number = index as i32 + 1;
            let json = serde_json::to_value(dtype).unwrap();
            let agrees = dtype.to_onnx() == number
                && Dtype::from_onnx(number).unwrap() == dtype
                && Dtype::from_name(dtype.name()).unwrap() == dtype
                && json == dtype.name();
            if !agrees {
                wrong.push(dtype);
            }
        }
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(
            Dtype::from_onnx(0).unwrap_err().kind(),
            amphora_error::ErrorKind::Malformed
        );
        assert_eq!(
            Dtype::from_onnx(29).unwrap_err().kind(),
            amphora_error::ErrorKind::Unsupported
        );
    }

    #[test]
    fn sizes_round_up_to_bytes_and_never_overflow() {
        assert_eq!(Dtype::Int4.byte_size(3), Some(2));
        assert_eq!(Dtype::Float6e2m3.byte_size(5), Some(4));
        assert_eq!(Dtype::Float64.byte_size(u64::MAX / 8), None);
        assert_eq!(Dtype::String.byte_size(1), None);
        assert_eq!(Dtype::Float32.byte_size(6), Some(24));
    }
}
