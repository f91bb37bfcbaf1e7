//! The engines at hand.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

pub(crate) mod graph;

use std::path::PathBuf;
use std::sync::Arc;

use amphora_runtime::{Engine, EngineChoice, OrtLocation, engine};

/// Where the peer's Python package keeps ONNX Runtime, or `None` and a line that says `skipped`.
pub(crate) fn ort_location() -> Option<OrtLocation> {
    let peer = amphora_testing::peer("onnxruntime", None)?;
    Some(OrtLocation {
        python: vec![packages_of(&peer)],
        ..OrtLocation::default()
    })
}

/// The folder that a peer's package `onnxruntime` lies in.
pub(crate) fn packages_of(peer: &amphora_testing::Peer) -> PathBuf {
    let program =
        "import onnxruntime, pathlib; print(pathlib.Path(onnxruntime.__file__).parent.parent)";
    PathBuf::from(peer.run(program, &[]).trim())
}

/// rten, ONNX Runtime where the peer has it, and tract where this build has it.
pub(crate) fn engines() -> Vec<Arc<dyn Engine>> {
    let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
    let ort = ort_location().map(|location| engine(EngineChoice::Ort, &location).unwrap());
    let tract = cfg!(feature = "tract")
        .then(|| engine(EngineChoice::Tract, &OrtLocation::default()).unwrap());
    [Some(rten), ort, tract].into_iter().flatten().collect()
}
