//! I/O contracts, generated from the metadata of graphs.

mod directory;

use std::path::{Path, PathBuf};

use amphora_error::{Error, Result, quoted};
use amphora_files::json;
use amphora_onnx::{Contract, Model};
use serde::Serialize;
use serde_json::Value;

/// What [`write_contracts`] wrote.
#[derive(Debug, Clone, Serialize)]
pub struct ContractsWritten {
    /// How many graphs were read.
    pub graphs: usize,
    /// The files, `manifest.json` last.
    pub files: Vec<PathBuf>,
}

/// What [`check_contract`] compared.
#[derive(Debug, Clone, Serialize)]
pub struct ContractCheck {
    /// Whether nothing differs.
    pub passed: bool,
    /// The documents that were compared.
    pub checked: Vec<String>,
    /// Every difference, with the place in its document.
    pub differences: Vec<String>,
}

impl ContractCheck {
    /// The answer as an error of kind incompatible, if it is no.
    pub fn verdict(&self) -> Option<Error> {
        (!self.passed).then(|| {
            Error::incompatible("contract-differs", "the contract is not kept")
                .faults(self.differences.clone())
        })
    }
}

/// The I/O contract of the ONNX file at `path`, which must pass the model check: nobody can keep the
/// contract of a graph that makes no sense.
pub fn contract(path: &Path) -> Result<Contract> {
    let model = Model::open(path, &crate::inspect::description_limits())?;
    model
        .check()
        .and_then(|()| model.contract())
        .map_err(|error| error.in_file(path))
}

/// Writes the contracts of every ONNX file in a directory into `out`, in document 002's form:
/// `io_contract_core.json`, one file for each language model pair and each embedding model, and
/// `manifest.json` with digests and sizes. `generated_at` is an RFC 3339 date.
pub fn write_contracts(source: &Path, out: &Path, generated_at: &str) -> Result<ContractsWritten> {
    let generated = directory::generate(source, generated_at)?;
    let mut files = Vec::new();
    for (name, document) in &generated.documents {
        let path = out.join(name);
        crate::write_file(&path, &json::to_pretty_bytes(document)?)?;
        files.push(path);
    }
    Ok(ContractsWritten {
        graphs: generated.graphs,
        files,
    })
}

/// Compares the contracts that the graphs of `subject` (an ONNX file or a directory) deserve with
/// those that were written down in `expected` (a file, or a directory of them).
pub fn check_contract(subject: &Path, expected: &Path) -> Result<ContractCheck> {
    let mut check = ContractCheck {
        passed: true,
        checked: Vec::new(),
        differences: Vec::new(),
    };
    if !subject.is_dir() {
        let actual = serde_json::to_value(contract(subject)?).map_err(|source| {
            Error::internal("json-encoding", "a contract as JSON").caused_by(source)
        })?;
        check.compare(expected, "", &actual)?;
        return Ok(check);
    }
    let generated = directory::generate(subject, "")?;
    if !expected.is_dir() {
        let name = expected.file_name().unwrap_or_default().to_string_lossy();
        let document = generated.documents.get(name.as_ref()).ok_or_else(|| {
            Error::not_found(
                "contract-name",
                format!("the directory has no contract called {}", quoted(&name)),
            )
            .in_file(subject)
            .expected(generated.names())
        })?;
        check.compare(expected, "", document)?;
        return Ok(check);
    }
    for (name, document) in &generated.documents {
        check.compare(&expected.join(name), name, document)?;
    }
    Ok(check)
}

impl ContractCheck {
    fn compare(&mut self, expected: &Path, prefix: &str, actual: &Value) -> Result<()> {
        self.checked.push(expected.to_string_lossy().into_owned());
        let stated = json::read(expected)?;
        differences(prefix, 0, &stated, actual, &mut self.differences);
        self.passed = self.differences.is_empty();
        Ok(())
    }
}

/// Compares what a document states with what a graph says. Older documents may lack the added keys
/// (`tensors`, `external_sha256`), and may have further ones at the top; `generated_at` is a date.
fn differences(place: &str, depth: usize, stated: &Value, actual: &Value, found: &mut Vec<String>) {
    let (Value::Object(stated), Value::Object(actual)) = (stated, actual) else {
        if stated != actual {
            found.push(format!("{place}: expected {stated}, found {actual}"));
        }
        return;
    };
    for (key, value) in actual {
        let place = join(place, key);
        match stated.get(key) {
            _ if key == "generated_at" => {}
            Some(stated) => differences(&place, depth + 1, stated, value, found),
            None if key == "tensors" || key == "external_sha256" => {}
            None => found.push(format!("{place}: not in the document")),
        }
    }
    let further = stated.keys().filter(|key| !actual.contains_key(*key));
    for key in further.filter(|_| depth > 0) {
        found.push(format!("{}: not in the graph", join(place, key)));
    }
}

fn join(place: &str, key: &str) -> String {
    if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}
