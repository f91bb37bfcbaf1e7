//! An engine without its cache, for tests and for the bench beside them.

use std::sync::Arc;

use amphora_error::Result;
use amphora_onnx::Model;
use amphora_runtime::{Engine, Executable, SessionOptions, Tensor, UnsupportedOperator};

/// An engine that is handed tensors and answers tensors, whatever it could keep.
#[derive(Debug)]
pub(crate) struct Copying(pub(crate) Arc<dyn Engine>);

impl Engine for Copying {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn version(&self) -> String {
        self.0.version()
    }

    fn unsupported(&self, model: &Model) -> Vec<UnsupportedOperator> {
        self.0.unsupported(model)
    }

    fn load(&self, model: &Model, options: &SessionOptions) -> Result<Box<dyn Executable>> {
        Ok(Box::new(Loaded(self.0.load(model, options)?)))
    }
}

struct Loaded(Box<dyn Executable>);

impl Executable for Loaded {
    fn run(&mut self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        self.0.run(inputs, outputs)
    }
}
