//! One named array of a checkpoint.

use amphora_error::{Error, Result};
use amphora_files::{Digest, Hasher};
use bytes::Bytes;
use half::{bf16, f16};

use crate::Dtype;

/// An array: element type, shape, and its elements in row-major order, little-endian, without gaps.
///
/// Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<u64>,
    data: Bytes,
    file_offset: Option<u64>,
}

impl Tensor {
    /// A tensor of `shape` (empty: one scalar) whose elements are `data`; refused unless `data` has
    /// exactly the size that element type and shape ask for.
    pub fn new(dtype: Dtype, shape: Vec<u64>, data: Bytes) -> Result<Self> {
        let expected = dtype.bytes_of(&shape);
        if expected != Some(data.len() as u64) {
            let expected = expected.map_or("more than 2^64".to_owned(), |bytes| bytes.to_string());
            return Err(Error::malformed(
                "tensor-size",
                format!("the data does not fill a {dtype} tensor of shape {shape:?}"),
            )
            .expected(format!("{expected} bytes"))
            .found(format!("{} bytes", data.len())));
        }
        Ok(Self {
            dtype,
            shape,
            data,
            file_offset: None,
        })
    }

    /// The same tensor, remembering where in the file its data starts.
    pub(crate) fn stored_at(mut self, offset: u64) -> Self {
        self.file_offset = Some(offset);
        self
    }

    /// The same tensor, without its place in a file.
    pub(crate) fn not_stored(mut self) -> Self {
        self.file_offset = None;
        self
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The extent of each dimension; empty for a scalar.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The elements: row-major, little-endian, without gaps.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.data.len() / self.dtype.size()
    }

    /// Where [`Self::data`] starts in the safetensors file it was read from, in bytes from the start
    /// of the file; `None` for every other origin, shards included.
    pub fn file_offset(&self) -> Option<u64> {
        self.file_offset
    }

    /// The digest of element type, shape and data: equal for equal tensors, whatever file they came from.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(self.dtype.name().as_bytes());
        // The name is followed by the rank, so that no two (type, shape, data) give the same stream.
        hasher.update(&[0]);
        hasher.update(&(self.shape.len() as u64).to_le_bytes());
        for extent in &self.shape {
            hasher.update(&extent.to_le_bytes());
        }
        hasher.update(&self.data);
        hasher.finish()
    }

    /// The elements as binary32.
    ///
    /// Exact for F32, F16, BF16, BOOL (0 and 1) and integers of up to 16 bits; F64 and wider integers are rounded
    /// to the nearest, ties to even. A finite element beyond the range of binary32 is refused.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        match self.dtype {
            Dtype::F32 => Ok(self.map(f32::from_le_bytes)),
            Dtype::F16 => Ok(self.map(|bytes| f16::from_le_bytes(bytes).to_f32())),
            Dtype::BF16 => Ok(self.map(|bytes| bf16::from_le_bytes(bytes).to_f32())),
            Dtype::F64 => {
                let values: Vec<f32> = self.map(|bytes| f64::from_le_bytes(bytes) as f32);
                let overflow =
                    self.data
                        .chunks_exact(8)
                        .zip(&values)
                        .position(|(bytes, narrow)| {
                            narrow.is_infinite() && bytes[..] != f64::from(*narrow).to_le_bytes()
                        });
                match overflow {
                    None => Ok(values),
                    Some(index) => Err(Error::incompatible(
                        "float32-range",
                        format!("element {index} is too large for 32-bit floating point"),
                    )),
                }
            }
            Dtype::Bool => Ok(self.map(|[byte]| f32::from(u8::from(byte != 0)))),
            Dtype::U8 => Ok(self.map(|[byte]| f32::from(byte))),
            Dtype::I8 => Ok(self.map(|bytes| f32::from(i8::from_le_bytes(bytes)))),
            Dtype::U16 => Ok(self.map(|bytes| f32::from(u16::from_le_bytes(bytes)))),
            Dtype::I16 => Ok(self.map(|bytes| f32::from(i16::from_le_bytes(bytes)))),
            Dtype::U32 => Ok(self.map(|bytes| u32::from_le_bytes(bytes) as f32)),
            Dtype::I32 => Ok(self.map(|bytes| i32::from_le_bytes(bytes) as f32)),
            Dtype::U64 => Ok(self.map(|bytes| u64::from_le_bytes(bytes) as f32)),
            Dtype::I64 => Ok(self.map(|bytes| i64::from_le_bytes(bytes) as f32)),
        }
    }

    /// The elements as binary64.
    ///
    /// Exact for every type but 64-bit integers beyond 2^53, which are rounded to the nearest, ties to even.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        match self.dtype {
            Dtype::F64 => Ok(self.map(f64::from_le_bytes)),
            Dtype::U32 => Ok(self.map(|bytes| f64::from(u32::from_le_bytes(bytes)))),
            Dtype::I32 => Ok(self.map(|bytes| f64::from(i32::from_le_bytes(bytes)))),
            Dtype::U64 => Ok(self.map(|bytes| u64::from_le_bytes(bytes) as f64)),
            Dtype::I64 => Ok(self.map(|bytes| i64::from_le_bytes(bytes) as f64)),
            _ => Ok(self.to_f32()?.into_iter().map(f64::from).collect()),
        }
    }

    fn map<const SIZE: usize, T>(&self, convert: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
        let (elements, _) = self.data.as_chunks::<SIZE>();
        elements.iter().map(|bytes| convert(*bytes)).collect()
    }
}
