//! The `.npy` format of NumPy (its enhancement proposal 1, versions 1.0, 2.0 and 3.0).
//!
//! Read strictly: the header is a fixed dictionary of three keys, the payload is exactly as long as
//! shape and type demand, and pickled objects are refused. Big-endian numbers and column-major order
//! are converted.

mod header;

use std::path::Path;

use amphora_error::{Error, Result};
use amphora_files::OpenedFile;
use amphora_onnx::Dtype;

use self::header::{Header, Kind, split};
use super::{Data, Tensor, element_count};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Largest header accepted, in bytes; NumPy itself refuses more than 10,000 unless told to trust.
const MAX_HEADER: usize = 10_000;
/// Alignment of the payload that NumPy writes, in bytes.
const ALIGNMENT: usize = 64;

impl Tensor {
    /// Reads a `.npy` file that a person named, of at most `limit` bytes.
    pub fn read_npy(path: impl AsRef<Path>, limit: u64) -> Result<Self> {
        let path = path.as_ref();
        let bytes = OpenedFile::open(path)?.contents(limit)?;
        Self::from_npy(&bytes).map_err(|error| error.in_file(path))
    }

    /// A tensor from the content of a `.npy` file.
    pub fn from_npy(bytes: &[u8]) -> Result<Self> {
        let (header, payload) = split(bytes)?;
        let header = Header::parse(header)?;
        let count = element_count(&header.shape)?;
        let expected = header
            .kind
            .size()
            .checked_mul(count)
            .ok_or_else(|| Error::limit("npy-size", "the array is larger than memory"))?;
        if expected != payload.len() {
            return Err(
                Error::malformed("npy-size", "the payload does not fit the shape")
                    .expected(format!("{expected} bytes"))
                    .found(format!("{} bytes", payload.len())),
            );
        }
        let mut owned;
        let mut payload = payload;
        if header.column_major && header.shape.len() > 1 {
            owned = row_major(payload, &header.shape, header.kind.size());
            payload = &owned;
        }
        if header.big_endian && header.kind.word() > 1 {
            owned = swapped(payload, header.kind.word());
            payload = &owned;
        }
        match header.kind {
            Kind::Plain(dtype) => Self::from_le_bytes(dtype, header.shape, payload),
            Kind::Bytes(width) => strings(header.shape, payload, width, byte_string),
            Kind::Unicode(width) => strings(
                header.shape,
                payload,
                width.saturating_mul(4),
                unicode_string,
            ),
        }
    }

    /// The content of a `.npy` file (version 1.0, little-endian, row-major). Element types that
    /// NumPy does not have are refused.
    pub fn to_npy(&self) -> Result<Vec<u8>> {
        let (descr, payload) = match &self.data {
            Data::String(elements) => unicode_payload(elements)?,
            _ => (npy_descr(self.dtype)?.to_owned(), self.to_le_bytes()?),
        };
        let dims: String = self.shape.iter().map(|dim| format!("{dim}, ")).collect();
        // NumPy writes `(3,)` for one dimension and `(2, 3)` for more.
        let dims = match self.shape.len() {
            1 => dims.trim_end().to_owned(),
            _ => dims.trim_end_matches(", ").to_owned(),
        };
        let mut header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
        let unpadded = MAGIC.len() + 4 + header.len() + 1;
        let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
        header.extend(std::iter::repeat_n(' ', padding));
        header.push('\n');
        let length = u16::try_from(header.len())
            .map_err(|_| Error::limit("npy-header", "the shape has too many dimensions"))?;
        let mut bytes = Vec::with_capacity(MAGIC.len() + 4 + header.len() + payload.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[1, 0]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&payload);
        Ok(bytes)
    }
}

fn npy_descr(dtype: Dtype) -> Result<&'static str> {
    Ok(match dtype {
        Dtype::Bool => "|b1",
        Dtype::Int8 => "|i1",
        Dtype::Uint8 => "|u1",
        Dtype::Int16 => "<i2",
        Dtype::Int32 => "<i4",
        Dtype::Int64 => "<i8",
        Dtype::Uint16 => "<u2",
        Dtype::Uint32 => "<u4",
        Dtype::Uint64 => "<u8",
        Dtype::Float16 => "<f2",
        Dtype::Float32 => "<f4",
        Dtype::Float64 => "<f8",
        Dtype::Complex64 => "<c8",
        Dtype::Complex128 => "<c16",
        other => {
            return Err(Error::unsupported(
                "npy-dtype",
                format!("NumPy has no type for {other}"),
            ));
        }
    })
}

/// Reorders column-major elements of `size` bytes; the product of `shape` fills `payload` exactly.
fn row_major(payload: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = size;
    for &dim in shape {
        strides.push(stride);
        stride *= dim;
    }
    let mut index = vec![0; shape.len()];
    let mut offset = 0;
    let mut ordered = Vec::with_capacity(payload.len());
    while ordered.len() < payload.len() {
        ordered.extend_from_slice(&payload[offset..offset + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    ordered
}

fn swapped(payload: &[u8], word: usize) -> Vec<u8> {
    let mut bytes = payload.to_vec();
    bytes.chunks_exact_mut(word).for_each(<[u8]>::reverse);
    bytes
}

fn strings(
    shape: Vec<usize>,
    payload: &[u8],
    size: usize,
    decode: impl Fn(&[u8]) -> Option<String>,
) -> Result<Tensor> {
    let count = element_count(&shape)?;
    let elements: Option<Vec<String>> = if size == 0 {
        // Strings of width 0 take no bytes, so the shape alone would decide how much is allocated.
        if count > MAX_HEADER {
            return Err(Error::limit("npy-size", "too many empty strings"));
        }
        Some(vec![String::new(); count])
    } else {
        payload.chunks_exact(size).map(decode).collect()
    };
    let elements =
        elements.ok_or_else(|| Error::malformed("npy-string", "a string is not valid Unicode"))?;
    Tensor::new(shape, elements)
}

fn byte_string(bytes: &[u8]) -> Option<String> {
    let end = bytes
        .iter()
        .rposition(|&b| b != 0)
        .map_or(0, |last| last + 1);
    String::from_utf8(bytes[..end].to_vec()).ok()
}

fn unicode_string(bytes: &[u8]) -> Option<String> {
    let (points, _) = bytes.as_chunks::<4>();
    let points: Vec<u32> = points.iter().map(|c| u32::from_le_bytes(*c)).collect();
    let end = points
        .iter()
        .rposition(|&p| p != 0)
        .map_or(0, |last| last + 1);
    points[..end].iter().map(|&p| char::from_u32(p)).collect()
}

fn unicode_payload(elements: &[String]) -> Result<(String, Vec<u8>)> {
    if elements.iter().any(|element| element.ends_with('\0')) {
        return Err(Error::unsupported(
            "npy-string",
            "NumPy cannot hold a string that ends with NUL",
        ));
    }
    let width = elements
        .iter()
        .map(|element| element.chars().count())
        .max()
        .unwrap_or(0)
        .max(1);
    let mut payload = Vec::new();
    for element in elements {
        let start = payload.len();
        payload.extend(element.chars().flat_map(|c| u32::from(c).to_le_bytes()));
        payload.resize(start + width * 4, 0);
    }
    Ok((format!("<U{width}"), payload))
}
