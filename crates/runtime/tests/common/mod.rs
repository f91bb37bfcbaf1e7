//! The engines at hand.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

use std::path::PathBuf;
use std::sync::Arc;

use amphora_runtime::{Engine, EngineChoice, OrtLocation, engine};

/// Where the peer's Python package keeps ONNX Runtime, or `None` and a line that says `skipped`.
pub(crate) fn ort_location() -> Option<OrtLocation> {
    let peer = amphora_testing::peer("onnxruntime", None)?;
    let printed = peer.run(
        "import onnxruntime, pathlib; print(pathlib.Path(onnxruntime.__file__).parent.parent)",
        &[],
    );
    Some(OrtLocation {
        python: vec![PathBuf::from(printed.trim())],
        ..OrtLocation::default()
    })
}

/// rten, and ONNX Runtime where the peer has it.
pub(crate) fn engines() -> Vec<Arc<dyn Engine>> {
    let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
    let ort = ort_location().map(|location| engine(EngineChoice::Ort, &location).unwrap());
    [Some(rten), ort].into_iter().flatten().collect()
}
