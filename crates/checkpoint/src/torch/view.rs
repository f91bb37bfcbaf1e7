//! A tensor as PyTorch describes it: a storage, an offset, a shape and strides, all in elements.

use amphora_error::{Error, Result, quoted};
use bytes::Bytes;

use super::Storages;
use crate::pickle::{Element, Id, Name, Pickle, Value};
use crate::{Dtype, Limits, Tensor};

/// How many parameters may wrap one another; PyTorch writes one.
const PARAMETERS: usize = 4;

/// A reference to a storage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) element: Element,
    pub(super) elements: u64,
    /// The part of it that is meant, as offset and length in elements (legacy format only).
    pub(super) part: Option<(u64, u64)>,
}

/// A tensor's description, not yet compared with its storage.
pub(super) struct View<'a> {
    storage: Storage<'a>,
    dtype: Dtype,
    offset: u64,
    shape: Vec<u64>,
    strides: Vec<u64>,
}

/// The reference that a persistent id stands for: `('storage', class, key, device, elements)`, and
/// in the legacy format `None` or `(view key, offset, length)`.
pub(super) fn storage<'a>(object: &Pickle<'a>, id: Id) -> Result<Storage<'a>> {
    let refuse = || Error::malformed("storage-reference", "a reference is not one to a storage");
    let fields = object.sequence(id).ok_or_else(refuse)?;
    let (tag, class, key, elements, part) = match *fields {
        [tag, class, key, _, elements] => (tag, class, key, elements, None),
        [tag, class, key, _, elements, part] => (tag, class, key, elements, Some(part)),
        _ => return Err(refuse()),
    };
    let part = match part.map(|part| object.get(part)) {
        None | Some(Value::None) => None,
        Some(Value::Tuple(part)) => match part[..] {
            [_, offset, length] => {
                let part = object.unsigned(offset).zip(object.unsigned(length));
                Some(part.ok_or_else(refuse)?)
            }
            _ => return Err(refuse()),
        },
        Some(_) => return Err(refuse()),
    };
    match (
        object.text(tag),
        object.get(class),
        object.text(key),
        object.unsigned(elements),
    ) {
        (Some("storage"), &Value::Name(Name::Storage(element)), Some(key), Some(elements)) => {
            Ok(Storage {
                key,
                element,
                elements,
                part,
            })
        }
        _ => Err(refuse()),
    }
}

/// The element type, or why it cannot be had.
pub(super) fn known(element: Element) -> Result<Dtype> {
    match element {
        Element::Known(dtype) => Ok(dtype),
        Element::Untyped => Ok(Dtype::U8),
        Element::Foreign(name) => Err(Error::unsupported(
            "tensor-dtype",
            format!("the element type {name} is not one that can be read"),
        )
        .hint("convert the tensor to float32, float16 or bfloat16 first")),
    }
}

/// The description in the call at `id`.
pub(super) fn parse<'a>(object: &Pickle<'a>, id: Id, limits: &Limits) -> Result<View<'a>> {
    let refuse = |what: &str| Error::malformed("tensor-arguments", what);
    let mut id = id;
    for _ in 0..PARAMETERS {
        match object.get(id) {
            &Value::Call(Name::Parameter, arguments) => {
                let inner = object.sequence(arguments).and_then(|fields| fields.first());
                id = *inner.ok_or_else(|| refuse("the parameter has no tensor"))?;
            }
            _ => break,
        }
    }
    let (name, fields) = match object.get(id) {
        &Value::Call(name, arguments) => (name, object.sequence(arguments).unwrap_or_default()),
        _ => return Err(refuse("the parameter has no tensor")),
    };
    let (described, dtype, metadata) = match (name, fields) {
        (Name::Tensor, described) if described.len() == 4 => (described, None, None),
        (Name::TensorV2, [described @ .., _, _]) if described.len() == 4 => (described, None, None),
        (Name::TensorV2, [described @ .., _, _, metadata]) if described.len() == 4 => {
            (described, None, Some(*metadata))
        }
        (Name::TensorV3, [described @ .., _, _, dtype]) if described.len() == 4 => {
            (described, Some(*dtype), None)
        }
        (Name::TensorV3, [described @ .., _, _, dtype, metadata]) if described.len() == 4 => {
            (described, Some(*dtype), Some(*metadata))
        }
        _ => return Err(refuse("the tensor is not described as PyTorch does")),
    };
    // Bits that say the elements are stored negated or conjugated.
    let plain = metadata.is_none_or(|metadata| match object.get(metadata) {
        Value::None => true,
        Value::Map { entries, .. } => entries.is_empty(),
        _ => false,
    });
    if !plain {
        return Err(Error::unsupported(
            "tensor-metadata",
            "the tensor is stored negated or conjugated",
        )
        .hint("call resolve_neg() and resolve_conj() before saving"));
    }
    let [reference, offset, shape, strides] = *described else {
        return Err(refuse("the tensor is not described as PyTorch does"));
    };
    let &Value::Persistent(reference) = object.get(reference) else {
        return Err(refuse("the tensor has no storage"));
    };
    let storage = storage(object, reference)?;
    let element = match dtype.map(|dtype| object.get(dtype)) {
        None => storage.element,
        Some(&Value::Name(Name::Dtype(element))) => element,
        Some(_) => return Err(refuse("the element type is not one of PyTorch")),
    };
    let integers = |id: Id| -> Option<Vec<u64>> {
        object
            .sequence(id)?
            .iter()
            .map(|id| object.unsigned(*id))
            .collect()
    };
    let negative = "offset, shape and strides are not all non-negative integers of at most 64 bits";
    let view = View {
        storage,
        dtype: known(element)?,
        offset: object.unsigned(offset).ok_or_else(|| refuse(negative))?,
        shape: integers(shape).ok_or_else(|| refuse(negative))?,
        strides: integers(strides).ok_or_else(|| refuse(negative))?,
    };
    if view.shape.len() != view.strides.len() {
        return Err(refuse("shape and strides differ in length"));
    }
    if view.shape.len() > limits.rank {
        return Err(
            Error::limit("tensor-rank", "the tensor has too many dimensions")
                .expected(format!("at most {}", limits.rank))
                .found(view.shape.len().to_string()),
        );
    }
    Ok(view)
}

impl View<'_> {
    /// The tensor: a slice of the storage where the view is contiguous, else a copy.
    pub(super) fn read(self, storages: &mut Storages<'_>) -> Result<Tensor> {
        let item = self.dtype.size() as u64;
        let stored = storages.bytes(self.storage.key)?;
        let window = self.window(&stored)?;
        let (size, last) = self.extent()?;
        if size == 0 {
            return Tensor::new(self.dtype, self.shape, Bytes::new());
        }
        let room = window.len() as u64 / item;
        if last >= room {
            return Err(Error::malformed(
                "storage-too-small",
                "the tensor reaches beyond its storage",
            )
            .expected(format!("at most {room} elements"))
            .found(format!("an element at position {last}")));
        }
        // Every position up to `last` lies within the window, hence within `usize`.
        let data = if self.is_contiguous() {
            let start = (self.offset * item) as usize;
            window.slice(start..start + size as usize)
        } else {
            let mut copy = storages.budget.buffer(size)?;
            self.gather(&window, &mut copy);
            Bytes::from(copy)
        };
        let data = if storages.big_endian && item > 1 {
            let mut swapped = storages.budget.buffer(size)?;
            swapped.extend_from_slice(&data);
            swapped
                .chunks_exact_mut(item as usize)
                .for_each(<[u8]>::reverse);
            Bytes::from(swapped)
        } else {
            data
        };
        Tensor::new(self.dtype, self.shape, data)
    }

    /// The part of the storage that the reference means, after comparing sizes.
    fn window(&self, stored: &Bytes) -> Result<Bytes> {
        let item = known(self.storage.element)?.size() as u64;
        let announced = self.storage.elements.checked_mul(item);
        if announced != Some(stored.len() as u64) {
            return Err(Error::malformed(
                "storage-size",
                format!(
                    "storage {} does not have its size",
                    quoted(self.storage.key)
                ),
            )
            .expected(format!(
                "{} elements of {item} bytes",
                self.storage.elements
            ))
            .found(format!("{} bytes", stored.len())));
        }
        let Some((offset, length)) = self.storage.part else {
            return Ok(stored.clone());
        };
        let end = offset.checked_add(length);
        if end.is_none_or(|end| end > self.storage.elements) {
            return Err(Error::malformed(
                "storage-too-small",
                "a part of a storage reaches beyond it",
            ));
        }
        let (start, length) = ((offset * item) as usize, (length * item) as usize);
        Ok(stored.slice(start..start + length))
    }

    /// The size of the elements in bytes, and the position of the last one in the storage.
    fn extent(&self) -> Result<(u64, u64)> {
        let overflow = || {
            Error::malformed(
                "tensor-overflow",
                "the tensor has more elements than 64 bits count",
            )
        };
        let size = self.dtype.bytes_of(&self.shape).ok_or_else(overflow)?;
        if size == 0 {
            return Ok((0, 0));
        }
        let mut last = self.offset;
        for (extent, stride) in self.shape.iter().zip(&self.strides) {
            let reach = (extent - 1).checked_mul(*stride);
            last = reach
                .and_then(|reach| last.checked_add(reach))
                .ok_or_else(overflow)?;
        }
        Ok((size, last))
    }

    /// Whether the elements follow one another in row-major order.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape
            .iter()
            .zip(&self.strides)
            .rev()
            .all(|(extent, stride)| {
                let fits = *extent == 1 || *stride == expected;
                expected *= extent;
                fits
            })
    }

    /// Appends the elements in row-major order. All positions have been checked by `extent`; only the
    /// step past the end of an axis, which is taken back at once, may leave the range and wraps.
    fn gather(&self, window: &[u8], copy: &mut Vec<u8>) {
        let item = self.dtype.size();
        let mut index = vec![0; self.shape.len()];
        let mut position = self.offset;
        loop {
            let start = position as usize * item;
            copy.extend_from_slice(&window[start..start + item]);
            // One step of an odometer, the last dimension fastest.
            let mut axis = self.shape.len();
            loop {
                let Some(previous) = axis.checked_sub(1) else {
                    return;
                };
                axis = previous;
                index[axis] += 1;
                position = position.wrapping_add(self.strides[axis]);
                if index[axis] < self.shape[axis] {
                    break;
                }
                position = position.wrapping_sub(self.strides[axis].wrapping_mul(self.shape[axis]));
                index[axis] = 0;
            }
        }
    }
}
