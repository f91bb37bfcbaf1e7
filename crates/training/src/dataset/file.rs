//! Datasets on disk.

use std::io::{self, Write as _};
use std::path::Path;

use amphora_error::{Error, Result};
use amphora_files::{Directory, Hasher, RelativePath, json};
use amphora_planner::contracts::{DatasetMeta, DatasetRow, Split, SplitCounts, canonical_json};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use serde_json::ser::Formatter;

use super::{Dataset, META_FILE, ROWS_FILE};
use amphora_files::durable::publish_directory;

/// The largest file of rows that is read, in bytes.
const MAX_BYTES: u64 = 8 << 30;

impl Dataset {
    /// Writes the rows and what is known about them to the new directory `out`, whole or not at all.
    ///
    /// # Errors
    ///
    /// Something is already there (`output-exists`), or it cannot be written.
    pub fn write(&self, out: &Path) -> Result<()> {
        publish_directory(out, |staging| {
            let rows = RelativePath::parse(ROWS_FILE)?;
            let mut file = io::BufWriter::new(staging.create(&rows)?);
            let failed = |source| Error::from_io("writing", out.join(ROWS_FILE), source);
            for row in &self.rows {
                let line = sorted_line(&value_of(row)?)?;
                file.write_all(&line).map_err(failed)?;
            }
            file.flush().map_err(failed)?;
            let meta = json::to_pretty_bytes(&self.meta)?;
            staging.write(&RelativePath::parse(META_FILE)?, &meta)
        })
    }

    /// Reads a dataset and compares it with its hash.
    ///
    /// # Errors
    ///
    /// A file is missing or is not the JSON expected there, with its line; the rows are not those that
    /// `meta.json` was written for (`dataset-hash`), are not in order (`dataset-order`), or are not as
    /// many as it says (`dataset-counts`).
    pub fn read(directory: &Path) -> Result<Self> {
        let opened = Directory::open(directory)?;
        let meta_path = directory.join(META_FILE);
        let meta = opened
            .open_file(&RelativePath::parse(META_FILE)?)?
            .contents(json::MAX_BYTES)?;
        let meta: DatasetMeta =
            json::parse_into(&meta).map_err(|error| error.in_file(&meta_path))?;
        let rows_path = directory.join(ROWS_FILE);
        let bytes = opened
            .open_file(&RelativePath::parse(ROWS_FILE)?)?
            .contents(MAX_BYTES)?;
        let mut rows = Vec::new();
        let mut hasher = Hasher::default();
        let lines = bytes.split(|byte| *byte == b'\n');
        for (number, line) in (1..).zip(lines).filter(|(_, line)| !line.is_empty()) {
            let row = json::parse(line).and_then(|value| {
                hash_line(&mut hasher, &value);
                DatasetRow::deserialize(&value).map_err(|source| {
                    Error::malformed("dataset-row", format!("this is no row: {source}"))
                })
            });
            rows.push(row.map_err(|error| error.at(format!("line {number}")).in_file(&rows_path))?);
        }
        let found = hasher.finish().to_string();
        if found != meta.dataset_hash {
            return Err(Error::untrusted(
                "dataset-hash",
                "the rows are not those that meta.json was written for",
            )
            .expected(meta.dataset_hash)
            .found(found)
            .in_file(rows_path)
            .hint("build the dataset again"));
        }
        let ordered = rows
            .windows(2)
            .all(|pair| order(&pair[0]) < order(&pair[1]));
        if !ordered {
            return Err(Error::malformed(
                "dataset-order",
                "the rows are not in the order (start, run)",
            )
            .in_file(rows_path));
        }
        if meta.split_counts != split_counts(&rows) || meta.example_count != rows.len() as u64 {
            return Err(Error::malformed(
                "dataset-counts",
                "meta.json counts other rows than there are",
            )
            .in_file(meta_path));
        }
        Ok(Self { rows, meta })
    }
}

/// The order of rows.
pub(super) fn order(row: &DatasetRow) -> (u64, &str) {
    (row.started_ms, &row.run_id)
}

pub(crate) fn value_of<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|source| {
        Error::internal("json-encoding", "a row cannot be written as JSON").caused_by(source)
    })
}

/// SHA-256, in hexadecimal, over the canonical JSON of each row and a line feed.
pub(super) fn dataset_hash(rows: &[DatasetRow]) -> Result<String> {
    let mut hasher = Hasher::default();
    for row in rows {
        hash_line(&mut hasher, &value_of(row)?);
    }
    Ok(hasher.finish().to_string())
}

fn hash_line(hasher: &mut Hasher, row: &Value) {
    hasher.update(canonical_json(row).as_bytes());
    hasher.update(b"\n");
}

pub(crate) fn split_counts(rows: &[DatasetRow]) -> SplitCounts {
    let count = |split| rows.iter().filter(|row| row.split == split).count() as u64;
    SplitCounts {
        train: count(Split::Train),
        val: count(Split::Val),
        test: count(Split::Test),
    }
}

/// One line of a JSON-lines file: keys sorted, `", "` and `": "` between the parts, a line feed.
///
/// # Errors
///
/// None in practice: a JSON value can always be written.
pub(crate) fn sorted_line(value: &Value) -> Result<Vec<u8>> {
    let mut line = Vec::with_capacity(4096);
    let sorted = sorted(value);
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, Spaced);
    sorted.serialize(&mut serializer).map_err(|source| {
        Error::internal("json-encoding", "a row cannot be written as JSON").caused_by(source)
    })?;
    line.push(b'\n');
    Ok(line)
}

// Rows are as deep as their types, which are not recursive.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(sorted).collect(),
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            let entries = entries.into_iter();
            entries
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect()
        }
        other => other.clone(),
    }
}

/// `", "` and `": "`, the separators that Python writes by default.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
