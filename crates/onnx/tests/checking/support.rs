//! Models that others made.

use std::path::{Path, PathBuf};

use amphora_testing::fixture;

/// Every model of the fixtures and of Python packages; the latter are unpacked beneath `scratch`.
pub(crate) fn models(scratch: &Path) -> Vec<PathBuf> {
    let mut models = amphora_testing::packaged_models(scratch).unwrap_or_default();
    models.extend(models_beneath(fixture(".")));
    models
}

/// The test models that the Python package `onnx` ships.
pub(crate) fn models_of_onnx() -> Vec<PathBuf> {
    let peer = amphora_testing::peer("onnx", None);
    let program = "import onnx, os; print(os.path.dirname(onnx.__file__))";
    models_beneath(peer.map(|peer| peer.run(program, &[]).trim().into()))
}

/// Every model beneath a folder, in order.
pub(crate) fn models_beneath(folder: Option<PathBuf>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = folder.into_iter().collect();
    let mut models = Vec::new();
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
