//! Document 000, section 2.2: `model.onnx` and JSON documents side by side.
//!
//! The bundle's documents have no dates, since they are part of its identity; here they get that of
//! the manifest, where the document asks for one.

use amphora_bundle::Bundle;
use amphora_error::{Error, ErrorKind, Result};
use amphora_files::{RelativePath, json};
use amphora_onnx::{Limits, Model, write};
use bytes::Bytes;
use serde_json::{Map, Value};

/// The documents that every planner bundle has.
const REQUIRED: [&str; 5] = [
    "config.json",
    "action_space.json",
    "calibration.json",
    "tokenizer_config.json",
    "metadata.json",
];
const REPORT: &str = "validation/validation_report.json";

/// The files of the directory, by name.
pub(super) fn files(bundle: &Bundle) -> Result<Vec<(&'static str, Bytes)>> {
    let mut files = vec![("model.onnx", model(bundle)?)];
    let mut missing = Vec::new();
    for name in REQUIRED {
        match optional(bundle, name)? {
            Some(bytes) => files.push((name, dated(bundle, name, bytes)?)),
            None => missing.push(format!("{name} is not in the bundle")),
        }
    }
    match optional(bundle, REPORT)? {
        Some(bytes) => files.push(("validation_report.json", bytes)),
        None => missing.push(format!("{REPORT} is not in the bundle")),
    }
    if !missing.is_empty() {
        return Err(Error::incompatible(
            "layout-cyntra",
            "the bundle does not hold what a planner's directory needs",
        )
        .faults(missing)
        .hint("export a planner with: amphora planner export"));
    }
    if let Some(vocabulary) = optional(bundle, "vocab.json")? {
        files.push(("vocab.json", vocabulary));
    }
    if let Some(path) = &bundle.manifest().assets.checkpoint {
        let name = match path.as_str().ends_with(".pt") {
            true => "model.pt",
            false => "model.safetensors",
        };
        files.push((name, bundle.read(path)?));
    }
    Ok(files)
}

/// The graph in one file.
fn model(bundle: &Bundle) -> Result<Bytes> {
    let (bytes, data) = bundle.graph_bytes(&bundle.manifest().spec.entry)?;
    if data.is_empty() {
        return Ok(bytes);
    }
    let model = Model::from_parts(bytes, data, &Limits::default())?;
    let parts = write::self_contained(&model, "model.onnx.data", u64::MAX)?;
    Ok(parts.graph)
}

fn optional(bundle: &Bundle, name: &str) -> Result<Option<Bytes>> {
    match bundle.read(&RelativePath::parse(name)?) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The document with the date that document 000 has in it, unless it has one.
fn dated(bundle: &Bundle, name: &str, bytes: Bytes) -> Result<Bytes> {
    let (key, after) = match name {
        "metadata.json" => ("created_at", "model_name"),
        "calibration.json" => ("calibration_date", "validation_ece"),
        _ => return Ok(bytes),
    };
    let Some(created) = &bundle.manifest().metadata.created else {
        return Ok(bytes);
    };
    let Value::Object(document) = json::parse(&bytes).map_err(|error| error.in_file(name))? else {
        return Ok(bytes);
    };
    if document.contains_key(key) {
        return Ok(bytes);
    }
    let mut dated = Map::new();
    for (name, value) in document {
        let here = name == after;
        dated.insert(name, value);
        if here {
            dated.insert(key.to_owned(), created.to_string().into());
        }
    }
    dated
        .entry(key)
        .or_insert_with(|| created.to_string().into());
    Ok(json::to_pretty_bytes(&dated)?.into())
}
