//! A bundle, a package or an ONNX file, told apart.

use std::path::{Path, PathBuf};

use amphora_bundle::package::Level;
use amphora_bundle::{Bundle, Package, Store};
use amphora_error::{ErrorKind, Result};

use crate::io_schema::has_schema;

/// What `inspect` and `run` take.
#[derive(Debug)]
pub enum Subject {
    /// An ONNX file.
    Onnx(PathBuf),
    /// An opened bundle.
    Bundle(Box<Bundle>),
    /// A directory with a manifest that nothing seals.
    Package(Box<Package>),
    /// A directory of a model that has no graph yet: a checkpoint or a SavedModel.
    Directory(PathBuf),
}

impl Subject {
    /// What `reference` names: an ONNX file when there is such a file, or when it ends in `.onnx`; a
    /// package when that is what the directory of this name holds; a bundle, in the forms of
    /// [`Store::resolve`]; else the directory of a checkpoint or a SavedModel.
    pub fn resolve(store: &Store, reference: &str) -> Result<Self> {
        let path = Path::new(reference);
        if path.is_file() || (reference.ends_with(".onnx") && !path.is_dir()) {
            return Ok(Self::Onnx(path.to_owned()));
        }
        if Package::is_at(path) {
            let package = Package::open(path, Level::Install)?;
            return Ok(Self::Package(Box::new(package)));
        }
        match store.resolve(reference) {
            Ok(bundle) => Ok(Self::Bundle(Box::new(bundle))),
            Err(error) if error.kind() == ErrorKind::NotFound && has_schema(path) => {
                Ok(Self::Directory(path.to_owned()))
            }
            Err(error) => Err(error),
        }
    }
}
