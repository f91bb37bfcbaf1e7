//! ONNX's own checker, and ONNX Runtime.

use std::path::Path;

use amphora_export::ExportOptions;
use amphora_files::RelativePath;
use amphora_onnx::build::GraphBuilder;
use amphora_testing::{fixture, peer};
use prost::Message as _;

use crate::support::{CASES, Case, opset};

/// All recorded rows.
const ALL_ROWS: &str = "64";
/// Rows of each kind: single ones of length 1, 2, 3 and the longest, and a padded batch.
const SOME_ROWS: &str = "12";

/// Checks each model and runs recorded rows, and fails where an output is further than 1e-5 from
/// PyTorch's.
fn replay(models: &[(String, &'static str)], rows: &str) {
    let Some(python) = peer("onnxruntime", None) else {
        return;
    };
    let fixtures: Vec<String> = models
        .iter()
        .filter_map(|(_, name)| fixture(name))
        .map(|folder| folder.to_string_lossy().into_owned())
        .collect();
    let pairs = models
        .iter()
        .zip(&fixtures)
        .flat_map(|((model, _), folder)| [model.as_str(), folder.as_str()]);
    let arguments: Vec<&str> = std::iter::once(rows).chain(pairs).collect();
    let printed = python.run(include_str!("replay.py"), &arguments);
    let rows: Vec<serde_json::Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), fixtures.len());
    amphora_testing::each(&rows, |row| {
        let differences = row["differences"].as_object().unwrap();
        let close = |value: &serde_json::Value| value.as_f64().unwrap() <= 1e-5;
        match !differences.is_empty() && differences.values().all(close) {
            true => Ok(()),
            false => Err("further than 1e-5 from the recorded outputs"),
        }
    });
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    fs_err::write(&path, bytes).unwrap();
    path.to_string_lossy().into_owned()
}

/// `case` exported at the opsets given (0: the default).
fn exported(folder: &Path, case: &Case, opsets: &[u64]) -> Vec<(String, &'static str)> {
    let form = case.checkpoint.replace('.', "_");
    opsets
        .iter()
        .filter_map(|version| {
            let options = match version {
                0 => ExportOptions::default(),
                version => opset(*version),
            };
            let bytes = case.export_bytes(&options)?;
            let name = format!("{}-{form}-{version}.onnx", case.fixture);
            Some((write(folder, &name, &bytes), case.fixture))
        })
        .collect()
}

#[test]
fn every_checkpoint_exports_to_a_graph_that_computes_what_pytorch_did() {
    let folder = tempfile::tempdir().unwrap();
    let models: Vec<_> = CASES
        .iter()
        .flat_map(|case| exported(folder.path(), case, &[0]))
        .collect();
    replay(&models, ALL_ROWS);
}

#[test]
fn every_opset_computes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let models: Vec<_> = Case::safetensors()
        .flat_map(|case| match case.fixture {
            // The others are dear to run: one opset for each form that an operator takes.
            "conv2d_fsq" | "planner_mlp" => exported(folder.path(), &case, &opsets()),
            _ => exported(folder.path(), &case, &[11, 13, 17, 18, 23]),
        })
        .collect();
    replay(&models, SOME_ROWS);
}

/// Every opset that can be written.
fn opsets() -> Vec<u64> {
    GraphBuilder::OPSETS.collect()
}

#[test]
fn linked_weights_compute_the_same_as_copied_ones() {
    let folder = tempfile::tempdir().unwrap();
    let models: Vec<_> = Case::safetensors()
        .filter_map(|case| {
            let weights = format!("{}.safetensors", case.fixture);
            let stored = fixture(case.fixture)?.join(case.checkpoint);
            fs_err::copy(stored, folder.path().join(&weights)).unwrap();
            let options = ExportOptions {
                opset: None,
                link: Some(
                    [(
                        case.checkpoint.to_owned(),
                        RelativePath::parse(&weights).unwrap(),
                    )]
                    .into(),
                ),
            };
            let model = case.export(&options)?;
            let bytes = model.encode_to_vec();
            assert!(bytes.len() < 256 << 10, "{} bytes of {case:?}", bytes.len());
            let name = format!("{}.onnx", case.fixture);
            Some((write(folder.path(), &name, &bytes), case.fixture))
        })
        .collect();
    replay(&models, SOME_ROWS);
}
