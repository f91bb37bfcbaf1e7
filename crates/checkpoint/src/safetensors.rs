//! The safetensors format: a u64 header length (little-endian), a JSON header, the tensors' data.
//!
//! The header names every tensor with element type, shape and range in the data. It may be padded
//! with spaces. Written after <https://github.com/huggingface/safetensors#format>; stricter than
//! the format's own library in that unknown keys of an entry are refused too.

use std::collections::BTreeMap;
use std::sync::Arc;

use amphora_error::{Error, Result, quoted};
use amphora_files::{OpenedFile, json};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::tensor::Place;
use crate::{Dtype, Limits, Tensor};

/// Where the header starts.
const HEADER_START: u64 = 8;
/// The key of the header that holds no tensor.
const METADATA: &str = "__metadata__";
/// The data starts at a multiple of this, for readers that map the file.
const ALIGNMENT: usize = 8;

/// The content of one safetensors file, names and metadata as they are stored.
///
/// ```
/// use amphora_checkpoint::{Dtype, Limits, Safetensors, Tensor};
///
/// let mut file = Safetensors::default();
/// file.metadata.insert("producer".into(), "a test".into());
/// file.tensors.insert("x".into(), Tensor::new(Dtype::U8, vec![2], vec![1, 2].into())?);
/// let bytes = file.to_bytes()?;
/// let again = Safetensors::from_bytes(&bytes.into(), &Limits::default())?;
/// assert_eq!(again.metadata["producer"], "a test");
/// assert_eq!(again.tensors["x"].data()?, &[1, 2][..]);
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Safetensors {
    /// The tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// The file's `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

impl Safetensors {
    /// Reads a file, as strictly as a checkpoint; the tensors share `file`.
    pub fn from_bytes(file: &Bytes, limits: &Limits) -> Result<Self> {
        Self::read(&Source::Memory(file), "", limits)
    }

    /// Reads the header of `source`, whose tensors shall say that they lie in the file `name`.
    pub(crate) fn read(source: &Source<'_>, name: &str, limits: &Limits) -> Result<Self> {
        let (header, data_start) = header(source, limits)?;
        let Value::Object(header) = header else {
            return Err(not_an_object());
        };
        limits.check_tensors(header.len())?;
        let mut entries = Vec::with_capacity(header.len());
        let mut stated = BTreeMap::new();
        for (name, value) in &header {
            if name == METADATA {
                stated = metadata(value)?;
            } else {
                let place = || format!("tensor {}", quoted(name));
                entries.push(Entry::parse(name, value, limits).map_err(|error| error.at(place()))?);
            }
        }
        entries.sort_by_key(|entry| (entry.start, entry.end));
        // The header has ended within the file.
        validate(&entries, source.len() - data_start)?;
        let file: Arc<str> = name.into();
        let tensor = |entry: Entry<'_>| {
            let offset = data_start + entry.start;
            let tensor = source
                .tensor(&entry, offset)
                .map_err(|error| error.at(format!("tensor {}", quoted(entry.name))))?;
            let place = Place {
                file: file.clone(),
                offset,
            };
            Ok((entry.name.to_owned(), tensor.stored_at(place)))
        };
        Ok(Self {
            tensors: entries.into_iter().map(tensor).collect::<Result<_>>()?,
            metadata: stated,
        })
    }

    /// The file: tensors in the order of their names, widest element types first, so that each
    /// starts aligned. The same content always gives the same bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut order: Vec<(&String, &Tensor)> = self.tensors.iter().collect();
        order.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype().size()));
        let mut header = Map::new();
        if !self.metadata.is_empty() {
            let metadata = self.metadata.iter();
            let metadata = metadata.map(|(key, text)| (key.clone(), Value::from(text.as_str())));
            header.insert(METADATA.to_owned(), Value::Object(metadata.collect()));
        }
        let mut end = 0;
        for (name, tensor) in &order {
            let start = end;
            end += tensor.size();
            header.insert(
                (*name).clone(),
                json!({
                    "dtype": tensor.dtype().name(), "shape": tensor.shape(),
                    "data_offsets": [start, end],
                }),
            );
        }
        let mut header = serde_json::to_vec(&header).map_err(|source| {
            Error::internal("safetensors-header", "the header cannot be written").caused_by(source)
        })?;
        header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        for (_, tensor) in order {
            file.extend_from_slice(&tensor.data()?);
        }
        Ok(file)
    }
}

/// Where a file is read from.
pub(crate) enum Source<'a> {
    /// Its bytes, which the tensors share.
    Memory(&'a Bytes),
    /// The open file, in which the tensors' data stays.
    File(&'a Arc<OpenedFile>),
}

impl Source<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(file) => file.len(),
        }
    }

    /// A range that has been compared with [`Self::len`].
    fn range(&self, start: u64, end: u64) -> Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.slice(start as usize..end as usize)),
            Self::File(file) => Ok(file.range(start, end - start)?.into()),
        }
    }

    /// The tensor of an entry that [`validate`] has passed, whose data starts at `offset`.
    fn tensor(&self, entry: &Entry<'_>, offset: u64) -> Result<Tensor> {
        let shape = entry.shape.clone();
        let length = entry.end - entry.start;
        match self {
            Self::Memory(_) => {
                Tensor::new(entry.dtype, shape, self.range(offset, offset + length)?)
            }
            Self::File(file) => {
                Tensor::in_file(entry.dtype, shape, Arc::clone(file), offset, length)
            }
        }
    }
}

/// The parsed header and the position of the data.
fn header(source: &Source<'_>, limits: &Limits) -> Result<(Value, u64)> {
    let prefix = source.range(0, source.len().min(HEADER_START))?;
    let Some(prefix) = prefix.first_chunk() else {
        return Err(Error::malformed(
            "safetensors-truncated",
            "the file ends inside the header length",
        )
        .expected("at least 8 bytes")
        .found(format!("{} bytes", source.len())));
    };
    let length = u64::from_le_bytes(*prefix);
    let rest = source.len() - HEADER_START;
    let place = "safetensors header";
    if length > rest {
        return Err(Error::malformed(
            "safetensors-header-length",
            "the header is longer than the file",
        )
        .expected(format!("at most {rest} bytes"))
        .found(format!("{length} bytes"))
        .at(place));
    }
    if length > limits.header_bytes {
        return Err(
            Error::limit("safetensors-header-length", "the header is too long")
                .expected(format!("at most {} bytes", limits.header_bytes))
                .found(format!("{length} bytes"))
                .at(place),
        );
    }
    let data_start = HEADER_START + length;
    let header = source.range(HEADER_START, data_start)?;
    if !header.starts_with(b"{") {
        return Err(not_an_object());
    }
    let padding = header
        .iter()
        .rev()
        .take_while(|byte| **byte == b' ')
        .count();
    let value = json::parse(&header[..header.len() - padding]).map_err(|error| {
        Error::malformed("safetensors-header", "the header is not valid JSON")
            .at(place)
            .found(error.to_string())
    })?;
    Ok((value, data_start))
}

fn not_an_object() -> Error {
    Error::malformed(
        "safetensors-header-start",
        "the header is not a JSON object that starts with '{'",
    )
    .at("safetensors header")
}

fn metadata(value: &Value) -> Result<BTreeMap<String, String>> {
    value
        .as_object()
        .and_then(|map| {
            let texts = map.iter();
            let texts = texts.map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
            texts.collect()
        })
        .ok_or_else(|| {
            Error::malformed(
                "safetensors-metadata",
                "`__metadata__` is not a mapping from text to text",
            )
            .at("safetensors header")
        })
}

/// One tensor of the header; its range counts from the start of the data.
struct Entry<'a> {
    name: &'a str,
    dtype: Dtype,
    shape: Vec<u64>,
    start: u64,
    end: u64,
}

impl<'a> Entry<'a> {
    fn parse(name: &'a str, value: &Value, limits: &Limits) -> Result<Self> {
        let refuse = |what: &str| Error::malformed("safetensors-entry", what);
        if name.len() > limits.name_bytes {
            return Err(Error::limit("tensor-name", "the name is too long")
                .expected(format!("at most {} bytes", limits.name_bytes)));
        }
        let fields = value
            .as_object()
            .filter(|fields| fields.len() == 3)
            .ok_or_else(|| refuse("the entry is not {dtype, shape, data_offsets}"))?;
        let dtype = dtype(fields)?;
        let shape = integers(fields, "shape")
            .ok_or_else(|| refuse("`shape` is not a list of non-negative integers"))?;
        if shape.len() > limits.rank {
            return Err(
                Error::limit("tensor-rank", "the tensor has too many dimensions")
                    .expected(format!("at most {}", limits.rank))
                    .found(shape.len().to_string()),
            );
        }
        match integers(fields, "data_offsets").as_deref() {
            Some(&[start, end]) => Ok(Self {
                name,
                dtype,
                shape,
                start,
                end,
            }),
            _ => Err(refuse(
                "`data_offsets` is not a pair of non-negative integers",
            )),
        }
    }
}

fn integers(fields: &Map<String, Value>, key: &str) -> Option<Vec<u64>> {
    fields
        .get(key)?
        .as_array()?
        .iter()
        .map(Value::as_u64)
        .collect()
}

fn dtype(fields: &Map<String, Value>) -> Result<Dtype> {
    let name = fields.get("dtype").and_then(Value::as_str);
    let name = name.ok_or_else(|| Error::malformed("safetensors-entry", "`dtype` is not text"))?;
    if let Some(dtype) = Dtype::ALL.into_iter().find(|dtype| dtype.name() == name) {
        return Ok(dtype);
    }
    let message = format!(
        "the element type {} is not one that can be read",
        quoted(name)
    );
    // Complex numbers and the types of at most 8 bits that the format has gained since 0.4.
    if name.starts_with("F8_") || matches!(name, "C64" | "F4" | "F6_E2M3" | "F6_E3M2") {
        return Err(Error::unsupported("tensor-dtype", message)
            .hint("convert the checkpoint to F32, F16 or BF16 first"));
    }
    Err(Error::malformed("tensor-dtype", message))
}

/// The promise of the format: the tensors, in the order of their data, follow one another from the
/// first byte of the data to the last, and each has the size of its element type times its shape.
fn validate(entries: &[Entry<'_>], data_bytes: u64) -> Result<()> {
    let mut covered = 0;
    for entry in entries {
        let fault = |rule, message| {
            Error::malformed(rule, message).at(format!("tensor {}", quoted(entry.name)))
        };
        if entry.end < entry.start || entry.end > data_bytes {
            return Err(
                fault("safetensors-range", "the range lies outside the data")
                    .expected(format!("a range within {data_bytes} bytes"))
                    .found(format!("{} to {}", entry.start, entry.end)),
            );
        }
        if entry.start != covered {
            let (rule, message) = if entry.start < covered {
                (
                    "safetensors-overlap",
                    "the data overlaps that of another tensor",
                )
            } else {
                (
                    "safetensors-hole",
                    "no tensor covers the bytes before the data",
                )
            };
            return Err(fault(rule, message)
                .expected(format!("a start at {covered}"))
                .found(entry.start.to_string()));
        }
        let size = entry.dtype.bytes_of(&entry.shape);
        if size != Some(entry.end - entry.start) {
            let size = size.map_or("more than 2^64".to_owned(), |size| size.to_string());
            return Err(fault(
                "tensor-size",
                "the range does not have the size of the tensor",
            )
            .expected(format!("{size} bytes"))
            .found(format!("{} bytes", entry.end - entry.start)));
        }
        covered = entry.end;
    }
    if covered != data_bytes {
        return Err(
            Error::malformed("safetensors-tail", "bytes follow that belong to no tensor")
                .expected(format!("{covered} bytes of data"))
                .found(format!("{data_bytes} bytes")),
        );
    }
    Ok(())
}
