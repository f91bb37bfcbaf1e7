//! JSON Schemas of the documents that Amphora reads and writes.

use amphora_error::{Error, ErrorKind, Result, quoted};
use serde_json::{Value, json};

/// Name of a document and its schema.
type Entry = (&'static str, fn() -> Value);

const SCHEMAS: [Entry; 5] = [
    ("contract", of::<amphora_onnx::Contract>),
    ("error", error),
    ("manifest", of::<amphora_bundle::Manifest>),
    ("pack-result", of::<crate::Packed>),
    ("verify-report", of::<amphora_verify::Report>),
];

/// The names that [`schema`] knows, sorted.
pub fn schema_names() -> Vec<&'static str> {
    let planner = amphora_planner::contracts::schemas();
    let mut names: Vec<&str> = SCHEMAS.iter().map(|entry| entry.0).collect();
    names.extend(planner.iter().map(|entry| entry.0));
    names.sort_unstable();
    names
}

/// The JSON Schema (draft 2020-12) of the document called `name`.
///
/// # Errors
///
/// [`ErrorKind::NotFound`] for a name outside [`schema_names`].
pub fn schema(name: &str) -> Result<Value> {
    if let Some(entry) = SCHEMAS.iter().find(|entry| entry.0 == name) {
        return Ok(entry.1());
    }
    let planner = amphora_planner::contracts::schemas().into_iter();
    match { planner }.find(|entry| entry.0 == name) {
        Some(entry) => Ok(entry.1),
        None => Err(Error::not_found(
            "schema-name",
            format!("there is no schema called {}", quoted(name)),
        )
        .hint(format!("the schemas are: {}", schema_names().join(", ")))),
    }
}

fn of<T: schemars::JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// The object that `--json` prints for a failure.
fn error() -> Value {
    let kinds: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.word()).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Error",
        "type": "object",
        "required": ["error"],
        "additionalProperties": false,
        "properties": {"error": {
            "type": "object",
            "required": ["kind", "message", "hint", "path"],
            "additionalProperties": false,
            "properties": {
                "kind": {"enum": kinds},
                "message": {"type": "string"},
                "hint": {"type": ["string", "null"]},
                "path": {"type": ["string", "null"]}
            }
        }}
    })
}
