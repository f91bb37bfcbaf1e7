//! Where the files of a planner bundle are: sealed by a manifest, or in document 000's flat
//! directory.

use std::path::Path;

use amphora_bundle::layout::MANIFEST;
use amphora_bundle::{Bundle, MAIN_GRAPH};
use amphora_error::{Error, ErrorKind, Result};
use amphora_files::{Directory, RelativePath, json};
use amphora_onnx::{Limits, Model};
use bytes::Bytes;

/// An opened bundle.
pub(super) enum Files {
    /// Every file is compared with the manifest as it is read.
    Sealed(Box<Bundle>),
    /// Nothing says what the files must be.
    Flat(Directory),
}

impl Files {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let directory = Directory::open(path)?;
        match directory.open_file(&RelativePath::parse(MANIFEST)?) {
            Ok(_) => Ok(Self::Sealed(Box::new(Bundle::open(path)?))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::Flat(directory)),
            Err(error) => Err(error),
        }
    }

    /// What a decision calls the model: the first digits of a sealed bundle's id, else the name of
    /// the directory.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Sealed(bundle) => bundle.id().exp_hash(),
            Self::Flat(directory) => {
                let path = fs_err::canonicalize(directory.path());
                let path = path.unwrap_or_else(|_| directory.path().to_owned());
                let name = path.file_name().and_then(|name| name.to_str());
                name.unwrap_or("planner").to_owned()
            }
        }
    }

    /// The content of a JSON document.
    pub(super) fn document(&self, name: &str) -> Result<Bytes> {
        let path = RelativePath::parse(name)?;
        match self {
            Self::Sealed(bundle) => {
                let size = bundle.manifest().file(&path).map_or(0, |file| file.size);
                if size > json::MAX_BYTES {
                    return Err(Error::limit("file-size", "the document is too large")
                        .in_file(path.beneath(bundle.path())));
                }
                bundle.read(&path)
            }
            Self::Flat(directory) => directory.open_file(&path)?.contents(json::MAX_BYTES),
        }
    }

    /// The graph.
    pub(super) fn model(&self) -> Result<Model> {
        let limits = Limits::default();
        match self {
            Self::Sealed(bundle) => {
                let entry = &bundle.manifest().spec.entry;
                let (bytes, data) = bundle.graph_bytes(entry)?;
                let file = bundle.manifest().graph(entry)?.file.beneath(bundle.path());
                Model::from_parts(bytes, data, &limits).map_err(|error| error.in_file(file))
            }
            Self::Flat(directory) => {
                let named =
                    |name: &str| Model::open_in(directory, &RelativePath::parse(name)?, &limits);
                match named("model.onnx") {
                    // What document 001 calls the same file.
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        named("planner.onnx").map_err(|_| error)
                    }
                    answer => answer,
                }
            }
        }
    }

    /// The golden vectors of the graph, if there are any.
    pub(super) fn golden(&self) -> Result<Option<Bytes>> {
        let Self::Sealed(bundle) = self else {
            return Ok(None);
        };
        let golden = bundle.manifest().golden.get(MAIN_GRAPH);
        golden.map(|golden| bundle.read(&golden.file)).transpose()
    }
}
