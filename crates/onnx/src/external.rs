//! Tensors whose payload is in another file.
//!
//! A model names such files, so nothing it says is believed: the name must be canonical and lead to a
//! plain file beneath the model's directory, the range must lie inside the file and have exactly the
//! size of the tensor. All of that is checked before any content is read; each file is opened once,
//! and what was read then is what everybody uses.

use std::collections::BTreeMap;

use amphora_error::{Error, ErrorKind, Result, quoted};
use amphora_files::{Directory, RelativePath};
use bytes::Bytes;
use sha1::Digest as _;

use crate::proto::{ModelProto, StringStringEntryProto, TensorProto};
use crate::{Limits, tensor, visit};

/// The part of a file that holds a tensor's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The file, relative to the directory of the model.
    pub location: RelativePath,
    /// Where the payload starts, in bytes.
    pub offset: u64,
    /// Bytes of the payload; to the end of the file when absent.
    pub length: Option<u64>,
    /// SHA-1 of the payload, in lower-case hexadecimal digits.
    pub checksum: Option<String>,
}

impl Reference {
    /// The entries that say this in a `TensorProto`.
    pub fn entries(&self) -> Vec<StringStringEntryProto> {
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        let mut entries = vec![
            entry("location", self.location.as_str().to_owned()),
            entry("offset", self.offset.to_string()),
        ];
        entries.extend(
            self.length
                .map(|length| entry("length", length.to_string())),
        );
        entries.extend(self.checksum.clone().map(|sum| entry("checksum", sum)));
        entries
    }
}

/// Where the payload of a tensor is, or `None` if it is inside the tensor.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Malformed`] for an undefined location, a key that is unknown or
/// occurs twice, a path that is not canonical or a number that is not plain decimal.
pub fn reference(tensor: &TensorProto) -> Result<Option<Reference>> {
    match tensor.data_location {
        None | Some(TensorProto::LOCATION_DEFAULT) if tensor.external_data.is_empty() => {
            return Ok(None);
        }
        None | Some(TensorProto::LOCATION_DEFAULT) => {
            return Err(Error::malformed(
                "external-data-unused",
                "the tensor names external data but says that its payload is inside",
            ));
        }
        Some(TensorProto::LOCATION_EXTERNAL) => {}
        Some(other) => {
            return Err(
                Error::malformed("data-location", "the data location is undefined")
                    .expected("0 or 1")
                    .found(other.to_string()),
            );
        }
    }
    let mut values: BTreeMap<&str, &str> = BTreeMap::new();
    for entry in &tensor.external_data {
        let key = entry.key.as_deref().unwrap_or("");
        if !matches!(key, "location" | "offset" | "length" | "checksum") {
            return Err(Error::malformed(
                "external-data-key",
                format!("the external data has the unknown key {}", quoted(key)),
            )
            .expected("location, offset, length or checksum"));
        }
        let value = entry.value.as_deref().unwrap_or("");
        if values.insert(key, value).is_some() {
            return Err(Error::malformed(
                "external-data-key",
                format!("the external data has the key '{key}' twice"),
            ));
        }
    }
    let location = values.get("location").ok_or_else(|| {
        Error::malformed("external-data-location", "the external data names no file")
    })?;
    if location.contains("_ORT_MEM_ADDR_") {
        return Err(Error::malformed(
            "external-data-location",
            "the external data names a memory address instead of a file",
        ));
    }
    let number = |key: &str| values.get(key).map(|text| decimal(key, text)).transpose();
    let checksum = values
        .get("checksum")
        .map(|text| checksum(text))
        .transpose()?;
    Ok(Some(Reference {
        location: RelativePath::parse(location)?,
        offset: number("offset")?.unwrap_or(0),
        length: number("length")?,
        checksum,
    }))
}

fn decimal(key: &str, text: &str) -> Result<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if plain { text.parse().ok() } else { None };
    number.ok_or_else(|| {
        Error::malformed(
            "external-data-number",
            format!("the {key} of the external data is not a number"),
        )
        .expected("decimal digits, below 2^64")
        .found(quoted(text).to_string())
    })
}

fn checksum(text: &str) -> Result<String> {
    let hexadecimal = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hexadecimal {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(Error::malformed(
            "external-data-checksum",
            "the checksum of the external data is not SHA-1",
        )
        .expected("40 hexadecimal digits")
        .found(quoted(text).to_string()))
    }
}

/// Where external data comes from.
pub(crate) enum Source<'a> {
    /// Nowhere: the model must hold its own weights.
    Nowhere,
    /// Files beneath a directory.
    Directory(&'a Directory),
    /// Files whose content is in memory already, by location.
    Memory(BTreeMap<String, Bytes>),
}

/// One tensor's claim on a file.
struct Claim<'m> {
    reference: Reference,
    /// Bytes that the tensor needs.
    size: u64,
    tensor: &'m TensorProto,
}

/// Checks every tensor of a model, opens what they refer to, and returns the content of those files
/// by location; no content of files beyond [`Limits::external_read_bytes`].
pub(crate) fn resolve(
    model: &ModelProto,
    source: &Source<'_>,
    limits: &Limits,
) -> Result<BTreeMap<String, Option<Bytes>>> {
    let mut claims: BTreeMap<RelativePath, Vec<Claim<'_>>> = BTreeMap::new();
    let mut claimed = 0_u64;
    visit::tensors(model, &mut |place, _, tensor| {
        let mut check = || -> Result<()> {
            let Some(reference) = reference(tensor)? else {
                return tensor::check(tensor, limits).map(drop);
            };
            let size = external_size(tensor, limits)?;
            claimed = claimed.saturating_add(size);
            within(claimed, limits)?;
            let claims = claims.entry(reference.location.clone()).or_default();
            claims.push(Claim {
                reference,
                size,
                tensor,
            });
            Ok(())
        };
        check().map_err(|error| error.at(place.of_tensor(tensor.name())))
    })?;

    let mut contents = BTreeMap::new();
    let mut total = 0_u64;
    for (location, claims) in claims {
        let bytes = read(&location, &claims, source, &mut total, limits)
            .map_err(|(claim, error)| error.at(place_of(model, claim.tensor)))?;
        contents.insert(location.as_str().to_owned(), bytes);
    }
    Ok(contents)
}

/// Where a tensor is in its model. Looked for only when it is at fault: a hostile model can have so
/// many places, and so deep ones, that writing all of them down would fill the memory.
fn place_of(model: &ModelProto, wanted: &TensorProto) -> String {
    let mut found = String::new();
    // A walk that succeeded before succeeds again.
    let _ = visit::tensors(model, &mut |place, _, tensor| {
        if std::ptr::eq(tensor, wanted) {
            found = place.of_tensor(tensor.name());
        }
        Ok(())
    });
    found
}

/// Opens a file, checks every claim on it, then reads it; an error comes with the claim at fault.
fn read<'c, 'm>(
    location: &RelativePath,
    claims: &'c [Claim<'m>],
    source: &Source<'_>,
    total: &mut u64,
    limits: &Limits,
) -> Result<Option<Bytes>, (&'c Claim<'m>, Error)> {
    let Some(first) = claims.first() else {
        return Ok(None);
    };
    let mut check = |available: u64| {
        *total = total.saturating_add(available);
        within(*total, limits).map_err(|error| (first, error.in_file(location.as_str())))?;
        claims.iter().try_for_each(|claim| {
            range(&claim.reference, claim.size, available)
                .map(drop)
                .map_err(|error| (claim, error))
        })
    };
    let bytes = match source {
        Source::Directory(directory) => {
            let file = directory.open_file(location);
            let file = file.map_err(|error| (first, with_hint(error)))?;
            check(file.len())?;
            if *total > limits.external_read_bytes {
                return Ok(None);
            }
            let contents = file.contents(limits.external_bytes);
            contents.map_err(|error| (first, error))?
        }
        Source::Memory(files) => {
            let message = "the external data file is not at hand";
            let bytes = files.get(location.as_str());
            let bytes = bytes.ok_or_else(|| (first, missing(location, message)))?;
            check(bytes.len() as u64)?;
            bytes.clone()
        }
        Source::Nowhere => {
            let message = "the model refers to external data, and no directory was given";
            return Err((first, missing(location, message)));
        }
    };
    for claim in claims {
        verify_checksum(claim, &bytes).map_err(|error| (claim, error))?;
    }
    Ok(Some(bytes))
}

fn with_hint(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => error.hint(
            "the weights of this model are in a second file: put it where the model expects it",
        ),
        _ => error,
    }
}

fn verify_checksum(claim: &Claim<'_>, file: &Bytes) -> Result<()> {
    let Some(expected) = &claim.reference.checksum else {
        return Ok(());
    };
    let range = range(&claim.reference, claim.size, file.len() as u64)?;
    let digest = sha1::Sha1::digest(&file[range]);
    let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if found == *expected {
        return Ok(());
    }
    Err(Error::malformed(
        "external-data-checksum",
        "the external data does not have the recorded checksum",
    )
    .expected(expected)
    .found(found)
    .in_file(claim.reference.location.as_str())
    .hint("the file is not the one that the model was saved with: fetch both again"))
}

fn within(bytes: u64, limits: &Limits) -> Result<()> {
    if bytes <= limits.external_bytes {
        return Ok(());
    }
    Err(
        Error::limit("external-bytes", "the model has too much external data")
            .expected(format!("at most {} bytes", limits.external_bytes))
            .found(format!("{bytes} bytes at least")),
    )
}

fn missing(location: &RelativePath, message: &str) -> Error {
    Error::not_found("external-data-missing", message).in_file(location.as_str())
}

/// Bytes that an external tensor must have.
fn external_size(tensor: &TensorProto, limits: &Limits) -> Result<u64> {
    let layout = tensor::layout(tensor, limits)?;
    tensor::no_segment(tensor)?;
    if layout.dtype == crate::Dtype::String {
        let message = "strings cannot be external data";
        return Err(Error::malformed("external-data-dtype", message));
    }
    let used = tensor::used_fields(tensor);
    if let Some((name, _)) = used.first() {
        return Err(
            Error::malformed("two-payloads", "the tensor has several payloads")
                .expected("external data alone")
                .found(format!("external data and {name}")),
        );
    }
    Ok(layout.bytes)
}

/// The bytes of a file that a tensor of `size` bytes refers to.
pub(crate) fn range(
    reference: &Reference,
    size: u64,
    available: u64,
) -> Result<std::ops::Range<usize>> {
    let outside = || {
        let length = reference.length.unwrap_or(size);
        Error::malformed(
            "external-data-range",
            "the external data lies outside its file",
        )
        .expected(format!("a range within {available} bytes"))
        .found(format!("offset {}, length {length}", reference.offset))
        .in_file(reference.location.as_str())
    };
    let left = available
        .checked_sub(reference.offset)
        .ok_or_else(outside)?;
    let length = reference.length.unwrap_or(left);
    if length != size {
        return Err(Error::malformed(
            "external-data-size",
            "the external data does not fit the shape",
        )
        .expected(format!("{size} bytes"))
        .found(format!("{length} bytes"))
        .in_file(reference.location.as_str()));
    }
    if length > left {
        return Err(outside());
    }
    let start = usize::try_from(reference.offset).map_err(|_| outside())?;
    let length = usize::try_from(length).map_err(|_| outside())?;
    let end = start.checked_add(length).ok_or_else(outside)?;
    Ok(start..end)
}
