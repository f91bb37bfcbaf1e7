//! Model directories as the Hugging Face Hub lays them out: `config.json` beside `model.safetensors`,
//! beside shards that `model.safetensors.index.json` lists, or beside `pytorch_model.bin`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use amphora_error::{Error, ErrorKind, Result, quoted};
use amphora_files::{Directory, OpenedFile, RelativePath, json};
use serde_json::{Map, Value};

use crate::checkpoint::Reading;
use crate::safetensors::Source;
use crate::{Checkpoint, Format, Limits, Safetensors, Tensor};

const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";
const SINGLE: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// Reads the checkpoint in the directory that a person named.
pub(crate) fn read(directory: &Path, reading: Reading, limits: &Limits) -> Result<Checkpoint> {
    let [safetensors, torch] = SINGLE;
    let mut checkpoint = if let Some(file) = existing(&directory.join(safetensors))? {
        Checkpoint::from_file(file, reading, limits)?
    } else if let Some(index) = existing(&directory.join(INDEX))? {
        sharded(directory, &index, reading, limits)?
    } else if let Some(file) = existing(&directory.join(torch))? {
        Checkpoint::from_file(file, reading, limits)?
    } else {
        return Err(
            Error::not_found("checkpoint-directory", "the directory holds no checkpoint")
                .expected(format!("{safetensors}, {INDEX} or {torch}"))
                .in_file(directory),
        );
    };
    if let Some(file) = existing(&directory.join(CONFIG))? {
        checkpoint.config = Some(object(&file)?);
    }
    Ok(checkpoint)
}

/// Opens one of the well-known files of the directory, which may be a link: the Hub's cache consists of them.
fn existing(path: &Path) -> Result<Option<OpenedFile>> {
    match OpenedFile::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn object(file: &OpenedFile) -> Result<Map<String, Value>> {
    parsed(&file.contents(json::MAX_BYTES)?, file)
}

fn parsed(contents: &[u8], file: &OpenedFile) -> Result<Map<String, Value>> {
    match json::parse(contents).map_err(|error| error.in_file(file.path()))? {
        Value::Object(object) => Ok(object),
        _ => Err(Error::malformed("json", "this is not a JSON object").in_file(file.path())),
    }
}

/// Reads the shards that the index names: beneath the directory and without links, since their names come from a file.
fn sharded(
    directory: &Path,
    index: &OpenedFile,
    reading: Reading,
    limits: &Limits,
) -> Result<Checkpoint> {
    let index_bytes = index.contents(json::MAX_BYTES)?;
    let contents = parsed(&index_bytes, index)?;
    let map = weight_map(&contents).ok_or_else(|| {
        Error::malformed("shard-index", "`weight_map` does not map names to files")
            .in_file(index.path())
    })?;
    let beneath = Directory::open(directory)?;
    let mut left = limits.file_bytes;
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut files = BTreeMap::from([(INDEX.to_owned(), Some(index_bytes))]);
    let names: BTreeSet<&str> = map.values().copied().collect();
    for name in names {
        let path = RelativePath::parse(name).map_err(|error| error.in_file(index.path()))?;
        let file = beneath.open_file(&path)?;
        let path = file.path().to_owned();
        let (read, bytes) = match reading {
            Reading::InPlace => {
                let source = Source::File(&Arc::new(file));
                (Safetensors::read(&source, name, limits), None)
            }
            Reading::Whole => {
                let bytes = file.contents(left)?;
                left -= bytes.len() as u64;
                let read = Safetensors::read(&Source::Memory(&bytes), name, limits);
                (read, Some(bytes))
            }
        };
        files.insert(name.to_owned(), bytes);
        let shard = read.map_err(|error| error.in_file(path))?.tensors;
        for (tensor, value) in shard {
            if map.get(tensor.as_str()) == Some(&name) {
                tensors.insert(tensor, value);
            } else {
                faults.push(format!(
                    "{} is in {}, which the index does not say",
                    quoted(&tensor),
                    quoted(name)
                ));
            }
        }
    }
    let missing = map
        .iter()
        .filter(|(tensor, _)| !tensors.contains_key(**tensor));
    faults.extend(
        missing.map(|(tensor, file)| format!("{} is not in {}", quoted(tensor), quoted(file))),
    );
    if !faults.is_empty() {
        return Err(
            Error::malformed("shard-index", "the shards do not hold what the index says")
                .faults(faults)
                .in_file(index.path()),
        );
    }
    let mut checkpoint = Checkpoint::new(tensors, Format::Safetensors, None);
    checkpoint.files = files;
    Ok(checkpoint)
}

/// The file of each tensor.
fn weight_map(index: &Map<String, Value>) -> Option<BTreeMap<&str, &str>> {
    let entries = index.get("weight_map")?.as_object()?.iter();
    entries
        .map(|(tensor, file)| Some((tensor.as_str(), file.as_str()?)))
        .collect()
}
