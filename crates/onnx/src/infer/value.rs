//! What is known of a value: its dtype, its shape, and, for small integers, what it holds.

use std::sync::Arc;

use amphora_error::printable;

use crate::proto::{TensorTypeProto, TypeProto, TypeValue};
use crate::{Dim, Dtype};

/// Most dimensions of a shape that a message shows.
const SHOWN_DIMENSIONS: usize = 8;
/// Most characters of a symbol that a message shows.
const SHOWN_CHARACTERS: usize = 40;

/// One dimension while shapes are inferred. Symbols are shared, not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Size {
    Fixed(u64),
    Symbol(Arc<str>),
    Unknown,
}

/// One element of a small integer or boolean tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Known(i64),
    /// The size of the dimension of this name: not negative.
    Size(Arc<str>),
    Unknown,
}

/// What is known of a value. Nothing is known of [`Value::default`], not even that it is a tensor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) dtype: Option<Dtype>,
    pub(super) shape: Option<Arc<[Size]>>,
    /// The elements in row-major order, of tensors of integers or booleans.
    pub(super) data: Option<Arc<[Scalar]>>,
}

/// Two facts that contradict each other, in words.
pub(super) type Fault = String;

impl Size {
    /// The size that both describe, or `None` when both are fixed and differ.
    pub(super) fn unify(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Fixed(a), Self::Fixed(b)) if a != b => None,
            (Self::Fixed(_), _) | (_, Self::Unknown) => Some(self.clone()),
            (_, Self::Fixed(_)) | (Self::Unknown, _) => Some(other.clone()),
            (Self::Symbol(_), Self::Symbol(_)) => Some(self.clone()),
        }
    }

    /// What stays known when the size is either this or the other.
    fn either(&self, other: &Self) -> Self {
        if self == other {
            self.clone()
        } else {
            Self::Unknown
        }
    }

    pub(super) fn to_dim(&self) -> Dim {
        match self {
            Self::Fixed(size) => Dim::Fixed(*size),
            Self::Symbol(name) => Dim::Symbol(name.to_string()),
            Self::Unknown => Dim::Unknown,
        }
    }

    fn from_dim(dim: Dim) -> Self {
        match dim {
            Dim::Fixed(size) => Self::Fixed(size),
            Dim::Symbol(name) => Self::Symbol(name.into()),
            Dim::Unknown => Self::Unknown,
        }
    }

    pub(super) fn to_scalar(&self) -> Scalar {
        match self {
            Self::Fixed(size) => i64::try_from(*size).map_or(Scalar::Unknown, Scalar::Known),
            Self::Symbol(name) => Scalar::Size(name.clone()),
            Self::Unknown => Scalar::Unknown,
        }
    }

    /// The sum; a symbol survives the addition of zero alone.
    pub(super) fn plus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Fixed(a), Self::Fixed(b)) => {
                a.checked_add(*b).map_or(Self::Unknown, Self::Fixed)
            }
            (Self::Fixed(0), size) | (size, Self::Fixed(0)) => size.clone(),
            _ => Self::Unknown,
        }
    }

    /// The product; a symbol survives the multiplication by one alone.
    pub(super) fn times(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Fixed(a), Self::Fixed(b)) => {
                a.checked_mul(*b).map_or(Self::Unknown, Self::Fixed)
            }
            (Self::Fixed(0), _) | (_, Self::Fixed(0)) => Self::Fixed(0),
            (Self::Fixed(1), size) | (size, Self::Fixed(1)) => size.clone(),
            _ => Self::Unknown,
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Symbol(name) if name.chars().nth(SHOWN_CHARACTERS).is_some() => {
                let cut: String = name.chars().take(SHOWN_CHARACTERS).collect();
                write!(f, "{}...", printable(&cut))
            }
            Self::Symbol(name) => f.write_str(&printable(name)),
            Self::Unknown => f.write_str("?"),
        }
    }
}

impl Scalar {
    /// The dimension that a shape with this element has; `None` for a negative one.
    pub(super) fn to_size(&self) -> Option<Size> {
        match self {
            Self::Known(value) => u64::try_from(*value).ok().map(Size::Fixed),
            Self::Size(name) => Some(Size::Symbol(name.clone())),
            Self::Unknown => Some(Size::Unknown),
        }
    }

    pub(super) fn known(&self) -> Option<i64> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Size(_) | Self::Unknown => None,
        }
    }
}

impl Value {
    pub(super) fn of(dtype: Option<Dtype>, shape: Option<Vec<Size>>) -> Self {
        Self {
            dtype,
            shape: shape.map(Arc::from),
            data: None,
        }
    }

    /// A value of this shape, whose dtype follows from the operator's schema.
    pub(super) fn shaped(shape: Vec<Size>) -> Self {
        Self::of(None, Some(shape))
    }

    /// The same shape, whose dtype follows from the operator's schema.
    pub(super) fn same_shape(&self) -> Self {
        Self {
            dtype: None,
            shape: self.shape.clone(),
            data: None,
        }
    }

    /// The type that a graph declares, with the reason when it is not usable.
    pub(super) fn declared(kind: &TypeProto) -> Option<Self> {
        match &kind.value {
            Some(TypeValue::Tensor(tensor)) => Self::declared_tensor(tensor),
            _ => None,
        }
    }

    fn declared_tensor(tensor: &TensorTypeProto) -> Option<Self> {
        let shape = crate::extract::shape(tensor).ok()?;
        let shape = shape.map(|dims| dims.into_iter().map(Size::from_dim).collect());
        let dtype = Dtype::from_onnx(tensor.elem_type.unwrap_or(0)).ok();
        Some(Self::of(dtype, shape))
    }

    pub(super) fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(|shape| shape.len())
    }

    /// Adds what `declared` says to what was inferred.
    pub(super) fn unify(mut self, declared: &Self) -> (Self, Option<Fault>) {
        let mut fault = None;
        match (self.dtype, declared.dtype) {
            (Some(inferred), Some(declared)) if inferred != declared => {
                fault = Some(format!("declared {declared}, inferred {inferred}"));
            }
            (None, declared) => self.dtype = declared,
            _ => {}
        }
        let Some(known) = &declared.shape else {
            return (self, fault);
        };
        let Some(inferred) = &self.shape else {
            self.shape = Some(known.clone());
            return (self, fault);
        };
        let unified: Option<Vec<Size>> = match inferred.len() == known.len() {
            true => inferred
                .iter()
                .zip(known.iter())
                .map(|(a, b)| a.unify(b))
                .collect(),
            false => None,
        };
        match unified {
            Some(shape) => self.shape = Some(shape.into()),
            None => {
                let text = format!("declared {}, inferred {}", show(known), show(inferred));
                fault.get_or_insert(text);
            }
        }
        (self, fault)
    }

    /// What stays known of a value that is either this or the other.
    pub(super) fn either(&self, other: &Self) -> Self {
        let dtype = self.dtype.filter(|dtype| other.dtype == Some(*dtype));
        let shape = match (&self.shape, &other.shape) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                Some(a.iter().zip(b.iter()).map(|(a, b)| a.either(b)).collect())
            }
            _ => None,
        };
        Self::of(dtype, shape)
    }

    /// Bytes of memory that the shape and the elements take.
    pub(super) fn cost(&self) -> u64 {
        let dims = self
            .shape
            .as_ref()
            .map_or(0, |shape| shape.len() * size_of::<Size>());
        let data = self
            .data
            .as_ref()
            .map_or(0, |data| data.len() * size_of::<Scalar>());
        (dims + data) as u64
    }
}

/// A shape in words: `[2, batch, ?]`.
pub(super) fn show(shape: &[Size]) -> String {
    let mut dims: Vec<String> = shape
        .iter()
        .take(SHOWN_DIMENSIONS)
        .map(Size::to_string)
        .collect();
    if shape.len() > SHOWN_DIMENSIONS {
        dims.push(format!("({} more)", shape.len() - SHOWN_DIMENSIONS));
    }
    format!("[{}]", dims.join(", "))
}

/// The shape that NumPy's broadcasting gives.
pub(super) fn broadcast(a: &[Size], b: &[Size]) -> Result<Vec<Size>, Fault> {
    let rank = a.len().max(b.len());
    let at = |shape: &[Size], position: usize| match (position + shape.len()).checked_sub(rank) {
        Some(index) => shape.get(index).cloned().unwrap_or(Size::Unknown),
        None => Size::Fixed(1),
    };
    (0..rank)
        .map(|position| match (at(a, position), at(b, position)) {
            (x, y) if x == y => Ok(x),
            (Size::Fixed(1), size) | (size, Size::Fixed(1)) => Ok(size),
            (Size::Fixed(_), Size::Fixed(_)) => {
                Err(format!("{} and {} cannot be broadcast", show(a), show(b)))
            }
            // Whatever the other is, only this size or one fits.
            (Size::Fixed(size), _) | (_, Size::Fixed(size)) => Ok(Size::Fixed(size)),
            _ => Ok(Size::Unknown),
        })
        .collect()
}

/// The product of all sizes.
pub(super) fn product(sizes: &[Size]) -> Size {
    sizes
        .iter()
        .fold(Size::Fixed(1), |product, size| product.times(size))
}

/// An axis counted from the front; negative ones count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let rank_signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let from_front = if axis < 0 {
        axis.saturating_add(rank_signed)
    } else {
        axis
    };
    match usize::try_from(from_front) {
        Ok(index) if index < rank => Ok(index),
        _ => Err(format!("axis {axis} is beyond rank {rank}")),
    }
}
