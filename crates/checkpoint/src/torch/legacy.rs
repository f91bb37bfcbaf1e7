//! The stream format of PyTorch before 1.6.
//!
//! Five pickles in a row: magic number, protocol version, system information, the object, the keys of the
//! storages; then for each key, in that order, the number of elements as u64 and the elements.
//! Both are little-endian on every machine: the system information says where the file was
//! written, but PyTorch converts on writing (`THPStorage_writeFileRaw`) and ignores it on reading.

use std::collections::HashMap;

use amphora_error::{Error, Result, quoted};
use bytes::Bytes;

use super::view::{self, Storage};
use super::{Content, Storages, content};
use crate::Limits;
use crate::limits::Budget;
use crate::pickle::{Pickle, Value};

/// What the first pickle holds.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// The first pickle is shorter than this in every protocol.
const MAGIC_BYTES: usize = 64;
/// What the second pickle holds.
const PROTOCOL: i128 = 1001;

/// Whether the file starts with the magic number of the format.
pub(crate) fn is_legacy(file: &[u8], limits: &Limits) -> bool {
    magic_length(file, limits).is_some()
}

/// The length of the first pickle, if it holds the magic number.
fn magic_length(file: &[u8], limits: &Limits) -> Option<usize> {
    let start = &file[..file.len().min(MAGIC_BYTES)];
    let (pickle, length) = Pickle::decode(start, "the magic number", limits).ok()?;
    matches!(pickle.get(pickle.root()), Value::Int(MAGIC)).then_some(length)
}

/// Reads the whole file.
pub(crate) fn read(file: &Bytes, limits: &Limits) -> Result<Content> {
    let mut position = magic_length(file, limits).unwrap_or(0);
    let mut next = |what: &'static str| {
        let (pickle, length) = Pickle::decode(&file[position..], what, limits)?;
        position += length;
        Ok::<_, Error>(pickle)
    };
    let protocol = next("the protocol version")?;
    if !matches!(protocol.get(protocol.root()), Value::Int(PROTOCOL)) {
        return Err(Error::unsupported(
            "legacy-protocol",
            "the protocol version of the legacy format is unknown",
        )
        .expected(PROTOCOL.to_string()));
    }
    next("the system information")?;
    let object = next("the object")?;
    let keys = next("the list of storages")?;
    let stored = storages(file, position, &object, &keys)?;
    let storages = Storages {
        fetch: Box::new(|key, _| Ok(stored.get(key).cloned())),
        cache: HashMap::new(),
        big_endian: false,
        budget: Budget::new(file.len(), limits),
    };
    content(&object, storages, limits)
}

/// The storages after the pickles, which start at `position` and end with the file.
fn storages<'a>(
    file: &Bytes,
    mut position: usize,
    object: &Pickle<'a>,
    keys: &Pickle<'a>,
) -> Result<HashMap<&'a str, Bytes>> {
    let mut announced: HashMap<&str, Storage<'_>> = HashMap::new();
    for id in object.persistent() {
        let storage = view::storage(object, id)?;
        let first = announced.entry(storage.key).or_insert(storage);
        if (first.element, first.elements) != (storage.element, storage.elements) {
            return Err(Error::malformed(
                "storage-reference",
                format!("storage {} is described in two ways", quoted(storage.key)),
            ));
        }
    }
    let list = keys.sequence(keys.root()).unwrap_or_default();
    let mut stored = HashMap::new();
    for key in list {
        let storage = keys.text(*key).and_then(|key| announced.get(key));
        let storage = storage.ok_or_else(|| {
            Error::malformed(
                "storage-unknown",
                "a storage is listed that no tensor refers to",
            )
        })?;
        let place = || format!("storage {}", quoted(storage.key));
        let item = view::known(storage.element)
            .map_err(|error| error.at(place()))?
            .size();
        let bytes = u64::try_from(item)
            .ok()
            .and_then(|item| item.checked_mul(storage.elements))
            .and_then(|bytes| usize::try_from(bytes).ok());
        let truncated =
            || Error::malformed("storage-truncated", "the file ends inside a storage").at(place());
        let count = file[position..].first_chunk::<8>().ok_or_else(truncated)?;
        if u64::from_le_bytes(*count) != storage.elements {
            return Err(
                Error::malformed("storage-size", "the storage does not have its size")
                    .expected(format!("{} elements", storage.elements))
                    .found(u64::from_le_bytes(*count).to_string())
                    .at(place()),
            );
        }
        let start = position + count.len();
        let end = bytes
            .and_then(|bytes| start.checked_add(bytes))
            .ok_or_else(truncated)?;
        if end > file.len() {
            return Err(truncated());
        }
        if stored.insert(storage.key, file.slice(start..end)).is_some() {
            return Err(
                Error::malformed("storage-duplicate", "the storage is listed twice").at(place()),
            );
        }
        position = end;
    }
    if position != file.len() {
        return Err(
            Error::malformed("legacy-tail", "bytes follow the last storage")
                .expected(format!("{position} bytes"))
                .found(format!("{} bytes", file.len())),
        );
    }
    Ok(stored)
}
