//! The contract files of a directory of graphs, as document 002 lays them out.

use std::collections::BTreeMap;
use std::path::Path;

use amphora_error::{Error, Result};
use amphora_files::{Directory, EntryKind, RelativePath, sha256};
use amphora_onnx::{Contract, Limits, Model, TensorSpec};
use serde_json::{Map, Value, json};

/// Deepest folder that is searched for graphs.
const MAX_DEPTH: usize = 8;

/// The documents of a directory, by file name; `manifest.json` among them.
pub(super) struct Generated {
    pub(super) graphs: usize,
    pub(super) documents: BTreeMap<String, Value>,
}

impl Generated {
    /// The names of the documents, for messages.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.documents.keys().map(String::as_str).collect();
        format!("one of {}", names.join(", "))
    }
}

/// One graph of the directory.
struct Graph {
    path: RelativePath,
    role: Role,
    contract: Contract,
    record: Value,
}

/// The document that a graph belongs to.
enum Role {
    /// `io_contract_core.json`, under this name.
    Core(String),
    /// One half of a language model pair, for example `lm_0p6_prefill`.
    LanguageModel { tag: String, half: &'static str },
    /// A document of its own, for example `qwen3_embedding_0p6`.
    Embedding(String),
}

impl Role {
    /// By the name of the file: `lm_TAG_prefill`, `lm_TAG_decode` (or `lm_TAG/prefill`), anything
    /// with `embedding` in it, and the rest.
    fn of(path: &RelativePath) -> Self {
        let stem = path.as_str().strip_suffix(".onnx").unwrap_or(path.as_str());
        let flat = stem.replace('/', "_");
        for half in ["prefill", "decode"] {
            let tag = flat
                .strip_suffix(half)
                .and_then(|rest| rest.strip_suffix('_'))
                .and_then(|rest| rest.strip_prefix("lm_"));
            if let Some(tag) = tag {
                let tag = tag.to_owned();
                return Self::LanguageModel { tag, half };
            }
        }
        if flat.contains("embedding") {
            Self::Embedding(flat)
        } else {
            Self::Core(flat)
        }
    }

    fn group(&self) -> String {
        match self {
            Self::Core(_) => "core".to_owned(),
            Self::LanguageModel { tag, .. } => format!("lm_{tag}"),
            Self::Embedding(name) => name.clone(),
        }
    }
}

pub(super) fn generate(source: &Path, generated_at: &str) -> Result<Generated> {
    let directory = Directory::open(source)?;
    let mut paths = Vec::new();
    collect(&directory, &mut paths)?;
    if paths.is_empty() {
        return Err(
            Error::not_found("no-graphs", "the directory holds no .onnx file").in_file(source),
        );
    }
    let graphs: Vec<Graph> = paths
        .into_iter()
        .map(|path| read(&directory, path))
        .collect::<Result<_>>()?;
    let mut documents = BTreeMap::new();
    let mut models = Map::new();
    for graph in &graphs {
        let group = graph.role.group();
        let name = format!("io_contract_{group}.json");
        let document = documents.entry(name).or_insert_with(|| json!({}));
        describe(document, graph);
        let rows = models.entry(group).or_insert_with(|| json!({}));
        rows[graph.path.as_str()] = graph.record.clone();
    }
    let manifest = json!({
        "generated_at": generated_at,
        "artifact_root": ".",
        "models": models,
    });
    documents.insert("manifest.json".to_owned(), manifest);
    Ok(Generated {
        graphs: graphs.len(),
        documents,
    })
}

/// Every `.onnx` file beneath `root`, sorted; links and special files are passed over.
fn collect(root: &Directory, paths: &mut Vec<RelativePath>) -> Result<()> {
    let mut open: Vec<(String, usize)> = vec![(String::new(), 0)];
    while let Some((prefix, depth)) = open.pop() {
        let entries = if prefix.is_empty() {
            root.entries()?
        } else {
            root.open_directory(&RelativePath::parse(prefix.trim_end_matches('/'))?)?
                .entries()?
        };
        for entry in entries {
            let path = format!("{prefix}{}", entry.name);
            match entry.kind {
                EntryKind::Directory if depth < MAX_DEPTH => {
                    open.push((format!("{path}/"), depth + 1));
                }
                EntryKind::File if path.ends_with(".onnx") => {
                    paths.push(RelativePath::parse(&path)?);
                }
                _ => {}
            }
        }
    }
    paths.sort();
    Ok(())
}

fn read(directory: &Directory, path: RelativePath) -> Result<Graph> {
    let model = Model::open_in(directory, &path, &Limits::default())?;
    let contract = model
        .check()
        .and_then(|()| model.contract())
        .map_err(|error| error.in_file(path.beneath(directory.path())))?;
    let bytes = model.bytes().cloned().unwrap_or_default();
    let folder = match path.as_str().rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/"),
        None => String::new(),
    };
    let external: BTreeMap<String, String> = model
        .external_files()
        .iter()
        .map(|(location, bytes)| (format!("{folder}{location}"), sha256(bytes).to_string()))
        .collect();
    let record = json!({
        "path": path.as_str(),
        "external_data": !external.is_empty(),
        "external_files": external.keys().collect::<Vec<_>>(),
        "inputs": names(&contract.inputs),
        "outputs": names(&contract.outputs),
        "sha256": sha256(&bytes).to_string(),
        "size_bytes": bytes.len(),
        "external_sha256": external,
    });
    Ok(Graph {
        role: Role::of(&path),
        path,
        contract,
        record,
    })
}

/// Adds a graph to its document: the prescribed keys hold names, the added key `tensors` the dtypes
/// and shapes.
fn describe(document: &mut Value, graph: &Graph) {
    let (inputs, outputs) = (
        names(&graph.contract.inputs),
        names(&graph.contract.outputs),
    );
    let tensors = json!({
        "inputs": graph.contract.inputs,
        "outputs": graph.contract.outputs,
    });
    let path = graph.path.as_str();
    match &graph.role {
        Role::Core(name) => {
            document["inputs"][name] = json!(inputs);
            document["outputs"][name] = json!(outputs);
            document["tensors"][name] = tensors;
        }
        Role::LanguageModel { tag, half } => {
            document["variant"] = json!(format!("{}B", tag.replace('p', ".")));
            document["num_layers"] = json!(layers(&outputs));
            document[format!("{half}_path")] = json!(path);
            document[*half] = json!({"inputs": inputs, "outputs": outputs});
            document["tensors"][*half] = tensors;
        }
        Role::Embedding(_) => {
            document["path"] = json!(path);
            document["inputs"] = json!(inputs);
            document["outputs"] = json!(outputs);
            document["tensors"] = tensors;
        }
    }
}

/// The layers of a language model: one `present_key_I` each.
fn layers(outputs: &[&str]) -> usize {
    outputs
        .iter()
        .filter(|name| name.starts_with("present_key_"))
        .count()
}

fn names(specs: &[TensorSpec]) -> Vec<&str> {
    specs.iter().map(|spec| spec.name.as_str()).collect()
}
