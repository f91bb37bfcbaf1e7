//! No model that others made and use is refused.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::path::{Path, PathBuf};

use amphora_onnx::{Limits, Model};
use amphora_testing::{each, fixture};

/// Every model of the fixtures, of the Python package `onnx`, and of other packages.
fn models(scratch: &Path) -> Vec<PathBuf> {
    let mut models = amphora_testing::packaged_models(scratch).unwrap_or_default();
    let mut folders: Vec<PathBuf> = fixture(".").into_iter().collect();
    if let Some(peer) = amphora_testing::peer("onnx", None) {
        let program = "import onnx, os; print(os.path.dirname(onnx.__file__))";
        folders.push(peer.run(program, &[]).trim().into());
    }
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "onnx")
            {
                models.push(path);
            }
        }
    }
    models.sort();
    models
}

#[test]
fn real_models_pass() {
    let scratch = tempfile::tempdir().unwrap();
    let models = models(scratch.path());
    each(&models, |path| {
        let model = match Model::open(path, &Limits::default()) {
            // Its weights are elsewhere.
            Err(error) if error.rule() == "file-not-found" => return Ok(()),
            model => model?,
        };
        model.check()
    });
}
