//! Small bundles to test with.
#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

pub(crate) mod scene;

use std::collections::BTreeMap;
use std::path::Path;

use amphora_bundle::manifest::{Framework, Golden, GoldenKind, Metadata, Tolerance};
use amphora_bundle::{Details, Draft, MAIN_GRAPH, Name, Sealed, Store, Timestamp, Version};
use amphora_files::RelativePath;
use amphora_onnx::build::GraphBuilder;
use amphora_onnx::{Dim, Dtype, Limits, Model, write};
use bytes::Bytes;

pub(crate) fn path(text: &str) -> RelativePath {
    RelativePath::parse(text).unwrap()
}

/// y = x + w, with a batch dimension.
pub(crate) fn onnx(weights: [f32; 3]) -> Model {
    let mut graph = GraphBuilder::new("add", 14).unwrap();
    let shape = [Dim::Symbol("batch_size".into()), Dim::Fixed(3)];
    let x = graph.input("x", Dtype::Float32, &shape);
    let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    let w = graph.initializer("w", Dtype::Float32, &[3], Bytes::from(bytes));
    let y = graph.binary("Add", &x, &w);
    graph.output(&y, "y", Dtype::Float32, &shape);
    Model::from_proto(graph.finish(), &Limits::default()).unwrap()
}

pub(crate) fn details(name: &str, version: &str, created: i64) -> Details {
    let mut metadata = Metadata::new(
        &Name::parse(name).unwrap(),
        Version::parse(version).unwrap(),
    );
    metadata.created = Some(Timestamp::from_unix_seconds(created).unwrap());
    metadata.description = "adds a constant".to_owned();
    let framework = Framework {
        name: "pytorch".to_owned(),
        version: None,
    };
    let mut details = Details::new(metadata, framework, "pytorch");
    details.assets.config = Some(path("config.json"));
    details.assets.metrics = Some(path("metrics.json"));
    details
}

/// A draft with a graph, a configuration, metrics and golden vectors.
pub(crate) fn draft(store: &Store, weights: [f32; 3]) -> Draft {
    filled(store.draft().unwrap(), weights).unwrap()
}

/// Adds to a draft what [`draft`] holds; a failing disk is the caller's to judge.
pub(crate) fn filled(mut draft: Draft, weights: [f32; 3]) -> amphora_error::Result<Draft> {
    let model = onnx(weights);
    let bytes = write::to_bytes(model.proto());
    let contract = model.contract().unwrap();
    draft.add_graph(MAIN_GRAPH, "single", &bytes, &BTreeMap::new(), &contract)?;
    let files: [(&str, &[u8]); 2] = [
        ("config.json", b"{\"model\": {\"width\": 3}, \"lr\": 0.1}"),
        (
            "metrics.json",
            b"{\"metrics\": {\"accuracy\": 0.75, \"ece\": 0.04}}",
        ),
    ];
    for (name, bytes) in files {
        draft.add_bytes(&path(name), bytes)?;
    }
    let golden = Golden {
        file: path("golden/model.safetensors"),
        kind: GoldenKind::Supplied,
        producer: "the test".to_owned(),
        cases: 1,
        tolerance: BTreeMap::from([("y".to_owned(), Tolerance::close(1e-5, 0.0))]),
    };
    draft.add_golden(MAIN_GRAPH, b"vectors", golden)?;
    Ok(draft)
}

pub(crate) fn sealed(store: &Store, name: &str, version: &str, created: i64) -> Sealed {
    draft(store, [1.0, 2.0, 3.0])
        .seal(details(name, version, created))
        .unwrap()
}

/// Publishes a bundle and returns the first 12 digits of its id.
pub(crate) fn publish(store: &Store, name: &str, version: &str, created: i64) -> String {
    sealed(store, name, version, created)
        .publish()
        .unwrap()
        .exp_hash
}

pub(crate) fn store(scratch: &Path) -> Store {
    Store::open(scratch.join("artifacts")).unwrap()
}

/// The names in a directory that do not belong to the store itself.
pub(crate) fn visible(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(path)
        .map(|entries| {
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| !name.starts_with(".amphora-store") && name != ".amphora-lock")
                .collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

/// Every file beneath `root`, as paths relative to it.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let relative = path.strip_prefix(root).unwrap();
                found.push(relative.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Overwrites a file in place, as damage does.
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) {
    let _ = fs_err::remove_file(path);
    amphora_files::durable::write_file(path, bytes).unwrap();
}

/// The manifest of a small bundle, as it was written.
pub(crate) fn healthy_manifest() -> &'static str {
    static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    TEXT.get_or_init(|| {
        let scratch = tempfile::tempdir().unwrap();
        let sealed = sealed(&store(scratch.path()), "demo", "1.0.0", 0);
        sealed.manifest().to_yaml().unwrap()
    })
}
