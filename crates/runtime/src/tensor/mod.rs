//! Tensors of every ONNX element type, and the files they come from and go to.

mod element;
mod json;
mod npy;
mod npz;
mod packed;
mod safetensors;

use amphora_error::{Error, Result};
use amphora_onnx::Dtype;
use half::{bf16, f16};

pub use element::Element;
pub use npz::{from_npz, read_npz};
pub use safetensors::read_safetensors;

/// An array: element type, shape (outermost dimension first) and elements in row-major order.
///
/// Numbers, booleans and strings are held as the matching Rust type and borrowed by
/// [`Tensor::as_slice`]. Element types without one (complex, 8-bit and 4-bit floats, 4-bit and 2-bit
/// integers) are held as ONNX lays them out: little-endian, densely packed, the first element in the
/// lowest bits.
///
/// ```
/// use amphora_runtime::Tensor;
///
/// let tensor = Tensor::new([2, 3], vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(tensor.dtype().name(), "float32");
/// assert_eq!(tensor.as_slice::<f32>(), Some(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]));
/// assert!(tensor.as_slice::<f64>().is_none());
/// assert!(Tensor::new([2, 2], vec![1_i64]).is_err());
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Data,
}

/// The elements; the variant follows from the element type.
#[derive(Debug, Clone, PartialEq)]
#[doc(hidden)]
#[allow(
    missing_docs,
    reason = "named only by the sealed trait behind `Element`"
)]
pub enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    Bool(Vec<bool>),
    String(Vec<String>),
    /// Complex numbers, 8-bit and 4-bit floats, 4-bit and 2-bit integers.
    Packed(Vec<u8>),
}

impl Tensor {
    /// A tensor of `elements` in row-major order; their number must be the product of `shape`.
    pub fn new<T: Element>(shape: impl Into<Vec<usize>>, elements: Vec<T>) -> Result<Self> {
        let shape = shape.into();
        let expected = element_count(&shape)?;
        if expected != elements.len() {
            return Err(wrong_count(
                &shape,
                format!("{expected} elements"),
                format!("{} elements", elements.len()),
            ));
        }
        Ok(Self {
            dtype: T::DTYPE,
            shape,
            data: T::into_data(elements),
        })
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Element>(element: T) -> Self {
        Self {
            dtype: T::DTYPE,
            shape: Vec::new(),
            data: T::into_data(vec![element]),
        }
    }

    /// A tensor read from densely packed little-endian `bytes`: the payload of an ONNX tensor, a
    /// `.npy` file or a safetensors entry. Booleans are one byte each, 0 or 1; strings have no such
    /// form and are refused.
    pub fn from_le_bytes(dtype: Dtype, shape: impl Into<Vec<usize>>, bytes: &[u8]) -> Result<Self> {
        let shape = shape.into();
        let count = element_count(&shape)?;
        let expected = dtype.byte_size(count as u64).ok_or_else(|| {
            Error::unsupported(
                "tensor-bytes",
                format!("{count} elements of type {dtype} have no packed form"),
            )
        })?;
        if expected != bytes.len() as u64 {
            return Err(wrong_count(
                &shape,
                format!("{expected} bytes of {dtype}"),
                format!("{} bytes", bytes.len()),
            ));
        }
        let data = element::from_le_bytes(dtype, bytes)?;
        Ok(Self { dtype, shape, data })
    }

    /// The elements as densely packed little-endian bytes, the inverse of [`Tensor::from_le_bytes`].
    pub fn to_le_bytes(&self) -> Result<Vec<u8>> {
        element::to_le_bytes(&self.data).ok_or_else(|| {
            Error::unsupported("tensor-bytes", "a tensor of strings has no packed form")
        })
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The dimensions, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        // Checked when the tensor was made.
        self.shape.iter().product()
    }

    /// Whether there is no element, which needs a dimension of 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, when their type is `T`.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        T::slice(&self.data)
    }

    /// The elements, when their type is `T`; gives the tensor back when it is not.
    pub fn into_vec<T: Element>(self) -> Result<Vec<T>, Self> {
        if self.dtype != T::DTYPE {
            return Err(self);
        }
        let Self { dtype, shape, data } = self;
        T::into_vec(data).map_err(|data| Self { dtype, shape, data })
    }

    /// The same elements under another shape of the same size.
    pub fn reshaped(mut self, shape: impl Into<Vec<usize>>) -> Result<Self> {
        let shape = shape.into();
        let count = element_count(&shape)?;
        if count != self.len() {
            return Err(wrong_count(
                &shape,
                format!("{count} elements"),
                format!("{} elements", self.len()),
            ));
        }
        self.shape = shape;
        Ok(self)
    }

    /// Every element as `f64`, for comparing: exact but for 64-bit integers beyond 2^53. `None` for
    /// strings and for packed element types.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        element::to_f64(&self.data)
    }

    /// How many elements are NaN or infinite; always 0 for types that cannot be.
    pub fn nonfinite(&self) -> usize {
        element::nonfinite(&self.data)
    }

    pub(crate) fn data(&self) -> &Data {
        &self.data
    }

    pub(crate) fn into_data(self) -> Data {
        self.data
    }

    /// Pairs elements with a shape whose product was checked against them before.
    pub(crate) fn from_checked(dtype: Dtype, shape: Vec<usize>, data: Data) -> Self {
        Self { dtype, shape, data }
    }
}

/// The product of `shape`, or a limit error when it does not fit into memory.
pub(crate) fn element_count(shape: &[usize]) -> Result<usize> {
    shape
        .iter()
        .try_fold(1_usize, |count, &dim| count.checked_mul(dim))
        .filter(|&count| count <= isize::MAX as usize)
        .ok_or_else(|| {
            Error::limit("tensor-elements", "the shape has more elements than memory")
                .found(show_shape(shape))
        })
}

/// A shape as it is shown in messages, for example `[2, 3]`.
pub(crate) fn show_shape(shape: &[usize]) -> String {
    const SHOWN: usize = 16;
    if shape.len() > SHOWN {
        return format!("{:?}... (rank {})", &shape[..SHOWN], shape.len());
    }
    format!("{shape:?}")
}

fn wrong_count(shape: &[usize], expected: String, found: String) -> Error {
    Error::malformed(
        "tensor-size",
        format!("the elements do not fill the shape {}", show_shape(shape)),
    )
    .expected(expected)
    .found(found)
}
