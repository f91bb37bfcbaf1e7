//! Which engine runs a model.

use std::sync::Arc;

use amphora_error::Result;
use amphora_runtime::{Engine, EngineChoice, OrtLocation};

/// The engine that was asked for, and where ONNX Runtime may be.
#[derive(Debug, Clone, Default)]
pub struct Engines {
    /// The choice.
    pub choice: EngineChoice,
    /// Where to look for ONNX Runtime.
    pub ort: OrtLocation,
}

impl Engines {
    /// The chosen engine.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Unsupported`] when this build or this machine does not have it.
    pub fn get(&self) -> Result<Arc<dyn Engine>> {
        amphora_runtime::engine(self.choice, &self.ort)
    }
}
