//! A bundle or an ONNX file, told apart.

use std::path::{Path, PathBuf};

use amphora_bundle::{Bundle, Store};
use amphora_error::Result;

/// What `inspect` and `run` take.
#[derive(Debug)]
pub enum Subject {
    /// An ONNX file.
    Onnx(PathBuf),
    /// An opened bundle.
    Bundle(Box<Bundle>),
}

impl Subject {
    /// What `reference` names: an ONNX file when there is such a file, or when it ends in `.onnx`;
    /// else a bundle, in the forms of [`Store::resolve`].
    pub fn resolve(store: &Store, reference: &str) -> Result<Self> {
        let path = Path::new(reference);
        if path.is_file() || (reference.ends_with(".onnx") && !path.is_dir()) {
            return Ok(Self::Onnx(path.to_owned()));
        }
        store
            .resolve(reference)
            .map(|bundle| Self::Bundle(Box::new(bundle)))
    }
}
