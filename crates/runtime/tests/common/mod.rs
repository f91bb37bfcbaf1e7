//! The engines at hand.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

pub(crate) mod copying;
pub(crate) mod graph;

use std::sync::Arc;

use amphora_runtime::{Engine, EngineChoice, OrtLocation, engine};

/// Where the peer's Python package keeps ONNX Runtime, or `None` and a line that says `skipped`.
pub(crate) fn ort_location() -> Option<OrtLocation> {
    let peer = amphora_testing::peer("onnxruntime", None)?;
    Some(OrtLocation {
        python: vec![peer.onnxruntime_packages()],
        ..OrtLocation::default()
    })
}

/// rten, ONNX Runtime where the peer has it, and tract where this build has it.
pub(crate) fn engines() -> Vec<Arc<dyn Engine>> {
    let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
    let ort = ort_location().map(|location| engine(EngineChoice::Ort, &location).unwrap());
    let tract = cfg!(feature = "tract")
        .then(|| engine(EngineChoice::Tract, &OrtLocation::default()).unwrap());
    [Some(rten), ort, tract].into_iter().flatten().collect()
}
