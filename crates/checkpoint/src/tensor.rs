//! One named array of a checkpoint.

use std::sync::Arc;

use amphora_error::{Error, Result};
use amphora_files::{Digest, Hasher, OpenedFile};
use bytes::Bytes;
use half::{bf16, f16};

use crate::Dtype;

/// An array: element type, shape, and its elements in row-major order, little-endian, without gaps.
///
/// The elements are in memory, or in the file of a checkpoint that was opened
/// [in place](crate::Checkpoint::open_in_place), to be read when they are asked for. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<u64>,
    elements: Elements,
    place: Option<Place>,
}

#[derive(Debug, Clone)]
enum Elements {
    Memory(Bytes),
    /// From this byte of the file on, which holds them all.
    File(Arc<OpenedFile>, u64),
}

/// Where the elements of a tensor lie in a safetensors file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file: its name beneath the checkpoint's directory; empty for [bytes](crate::Checkpoint::from_bytes).
    pub file: Arc<str>,
    /// Where they start, in bytes from the start of the file.
    pub offset: u64,
}

impl Tensor {
    /// A tensor of `shape` (empty: one scalar) whose elements are `data`; refused unless `data` has
    /// exactly the size that element type and shape ask for.
    pub fn new(dtype: Dtype, shape: Vec<u64>, data: Bytes) -> Result<Self> {
        Self::filled(dtype, shape, data.len() as u64, Elements::Memory(data))
    }

    /// A tensor whose elements stay in `file`: `length` bytes, which are there, from `offset` on.
    pub(crate) fn in_file(
        dtype: Dtype,
        shape: Vec<u64>,
        file: Arc<OpenedFile>,
        offset: u64,
        length: u64,
    ) -> Result<Self> {
        Self::filled(dtype, shape, length, Elements::File(file, offset))
    }

    fn filled(dtype: Dtype, shape: Vec<u64>, length: u64, elements: Elements) -> Result<Self> {
        let expected = dtype.bytes_of(&shape);
        if expected != Some(length) {
            let expected = expected.map_or("more than 2^64".to_owned(), |bytes| bytes.to_string());
            return Err(Error::malformed(
                "tensor-size",
                format!("the data does not fill a {dtype} tensor of shape {shape:?}"),
            )
            .expected(format!("{expected} bytes"))
            .found(format!("{length} bytes")));
        }
        Ok(Self {
            dtype,
            shape,
            elements,
            place: None,
        })
    }

    /// The same tensor, remembering where its data lies.
    pub(crate) fn stored_at(mut self, place: Place) -> Self {
        self.place = Some(place);
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

    /// The elements: row-major, little-endian, without gaps; read from the file where they are still there.
    ///
    /// # Errors
    ///
    /// Those of reading a file: one that has shrunk since it was opened is among them.
    pub fn data(&self) -> Result<Bytes> {
        match &self.elements {
            Elements::Memory(data) => Ok(data.clone()),
            Elements::File(file, offset) => Ok(file.range(*offset, self.size())?.into()),
        }
    }

    /// The bytes that the elements take up.
    pub fn size(&self) -> u64 {
        // `filled` has shown that the product exists.
        self.dtype.bytes_of(&self.shape).unwrap_or_default()
    }

    /// The number of elements.
    pub fn elements(&self) -> u64 {
        self.size() / self.dtype.size() as u64
    }

    /// Where [`Self::data`] lies in the safetensors file it was read from; `None` for every other origin.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The digest of element type, shape and data: equal for equal tensors, whatever file they came from.
    ///
    /// # Errors
    ///
    /// As [`Self::data`].
    pub fn digest(&self) -> Result<Digest> {
        let mut hasher = Hasher::default();
        hasher.update(self.dtype.name().as_bytes());
        // The name is followed by the rank, so that no two (type, shape, data) give the same stream.
        hasher.update(&[0]);
        hasher.update(&(self.shape.len() as u64).to_le_bytes());
        for extent in &self.shape {
            hasher.update(&extent.to_le_bytes());
        }
        hasher.update(&self.data()?);
        Ok(hasher.finish())
    }

    /// The elements as binary32.
    ///
    /// Exact for F32, F16, BF16, BOOL (0 and 1) and integers of up to 16 bits; F64 and wider integers are rounded
    /// to the nearest, ties to even. A finite element beyond the range of binary32 is refused.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let data = self.data()?;
        match self.dtype {
            Dtype::F32 => Ok(map(&data, f32::from_le_bytes)),
            Dtype::F16 => Ok(map(&data, |bytes| f16::from_le_bytes(bytes).to_f32())),
            Dtype::BF16 => Ok(map(&data, |bytes| bf16::from_le_bytes(bytes).to_f32())),
            Dtype::F64 => {
                let values: Vec<f32> = map(&data, |bytes| f64::from_le_bytes(bytes) as f32);
                let overflow = data
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
            Dtype::Bool => Ok(map(&data, |[byte]| f32::from(u8::from(byte != 0)))),
            Dtype::U8 => Ok(map(&data, |[byte]| f32::from(byte))),
            Dtype::I8 => Ok(map(&data, |bytes| f32::from(i8::from_le_bytes(bytes)))),
            Dtype::U16 => Ok(map(&data, |bytes| f32::from(u16::from_le_bytes(bytes)))),
            Dtype::I16 => Ok(map(&data, |bytes| f32::from(i16::from_le_bytes(bytes)))),
            Dtype::U32 => Ok(map(&data, |bytes| u32::from_le_bytes(bytes) as f32)),
            Dtype::I32 => Ok(map(&data, |bytes| i32::from_le_bytes(bytes) as f32)),
            Dtype::U64 => Ok(map(&data, |bytes| u64::from_le_bytes(bytes) as f32)),
            Dtype::I64 => Ok(map(&data, |bytes| i64::from_le_bytes(bytes) as f32)),
        }
    }

    /// The elements as binary64.
    ///
    /// Exact for every type but 64-bit integers beyond 2^53, which are rounded to the nearest, ties to even.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        let data = self.data()?;
        match self.dtype {
            Dtype::F64 => Ok(map(&data, f64::from_le_bytes)),
            Dtype::U32 => Ok(map(&data, |bytes| f64::from(u32::from_le_bytes(bytes)))),
            Dtype::I32 => Ok(map(&data, |bytes| f64::from(i32::from_le_bytes(bytes)))),
            Dtype::U64 => Ok(map(&data, |bytes| u64::from_le_bytes(bytes) as f64)),
            Dtype::I64 => Ok(map(&data, |bytes| i64::from_le_bytes(bytes) as f64)),
            _ => Ok(self.to_f32()?.into_iter().map(f64::from).collect()),
        }
    }
}

fn map<const SIZE: usize, T>(data: &[u8], convert: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    let (elements, _) = data.as_chunks::<SIZE>();
    elements.iter().map(|bytes| convert(*bytes)).collect()
}
