//! Numbers in, numbers out.

use amphora_error::{Error, Result};

/// The elements of an [`Array`], row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Floating-point elements. Values computed in f32 are widened, which is exact.
    F64(Vec<f64>),
    /// Integer elements: token ids, masks, codes.
    I64(Vec<i64>),
}

/// A dense row-major array: what goes into a [`crate::Reference`] and what comes out.
///
/// ```
/// use amphora_models::{Array, Data};
///
/// let ids = Array::new(vec![1, 3], Data::I64(vec![5, 7, 0])).unwrap();
/// assert_eq!(ids.shape(), [1, 3]);
/// assert!(Array::new(vec![2, 3], Data::I64(vec![5, 7, 0])).is_err());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    data: Data,
}

impl Array {
    /// An array whose number of elements is the product of `shape`; anything else is malformed.
    pub fn new(shape: Vec<usize>, data: Data) -> Result<Self> {
        let found = match &data {
            Data::F64(values) => values.len(),
            Data::I64(values) => values.len(),
        };
        let expected = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if expected != Some(found) {
            return Err(Error::malformed(
                "array-size",
                "the elements of an array do not fill its shape",
            )
            .expected(format!("shape {shape:?}"))
            .found(format!("{found} elements")));
        }
        Ok(Self { shape, data })
    }

    /// The dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The floating-point elements, or `None` for an integer array.
    pub fn as_f64(&self) -> Option<&[f64]> {
        match &self.data {
            Data::F64(values) => Some(values),
            Data::I64(_) => None,
        }
    }

    /// The integer elements, or `None` for a floating-point array.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.data {
            Data::I64(values) => Some(values),
            Data::F64(_) => None,
        }
    }
}
