//! Writing field after field, in the order of the schema.

use super::{Field, SparseVector};

/// The places that are 1, written field by field.
pub(super) struct Writer<'a> {
    fields: std::slice::Iter<'a, Field>,
    indices: Vec<u32>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(fields: &'a [Field]) -> Self {
        Self {
            fields: fields.iter(),
            indices: Vec::with_capacity(128),
        }
    }

    /// Leaves the next `count` fields 0.
    pub(super) fn skip(&mut self, count: usize) {
        if let Some(last) = count.checked_sub(1) {
            self.fields.nth(last);
        }
    }

    /// The next field: 1 at `slot`, or nowhere.
    pub(super) fn one(&mut self, slot: Option<usize>) {
        self.many(slot.map(|slot| slot as u32).into_iter());
    }

    /// The next field, whose last slot stands for an absent value.
    pub(super) fn one_or_null<T>(
        &mut self,
        value: Option<T>,
        slot: impl FnOnce(T) -> Option<usize>,
    ) {
        let null = self
            .fields
            .as_slice()
            .first()
            .map(|field| field.width as usize - 1);
        self.one(match value {
            Some(value) => slot(value).filter(|slot| Some(*slot) < null),
            None => null,
        });
    }

    /// The next field: 1 at each of `slots`; slots beyond its width are ignored.
    pub(super) fn many(&mut self, slots: impl Iterator<Item = u32>) {
        let Some(field) = self.fields.next() else {
            return;
        };
        let start = self.indices.len();
        self.indices.extend(
            slots
                .filter(|slot| *slot < field.width)
                .map(|slot| field.offset + slot),
        );
        self.indices[start..].sort_unstable();
        let mut kept = start;
        for at in start..self.indices.len() {
            if at == start || self.indices[at] != self.indices[kept - 1] {
                self.indices[kept] = self.indices[at];
                kept += 1;
            }
        }
        self.indices.truncate(kept);
    }

    pub(super) fn finish(self) -> SparseVector {
        debug_assert!(self.fields.as_slice().is_empty(), "a field was not written");
        SparseVector {
            values: vec![1.0; self.indices.len()],
            indices: self.indices,
        }
    }
}
