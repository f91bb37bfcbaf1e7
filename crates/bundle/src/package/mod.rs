//! Packages of the Universal Model Plugin: a directory with a `manifest.yaml` and nothing that seals it.
//!
//! A [`Package`] is opened as it is, and promises less than a bundle: no digest of its manifest, no
//! id, no golden vectors, and digests only of the files that the manifest lists with one. `import`
//! makes a bundle of it.

mod graphs;
mod manifest;
mod rules;
mod unpack;

use std::collections::BTreeSet;
use std::path::Path;

use amphora_error::{Error, ErrorKind, Result};
use amphora_files::{Digest, Directory, OpenedFile, RelativePath, json, sha256};
use amphora_onnx::{Contract, Limits, Model};
use bytes::Bytes;
use serde_json::Value;

pub use graphs::PackageGraph;
pub use manifest::{
    Level, PackageArchive, PackageDistribution, PackageFile, PackageFormat, PackageFramework,
    PackageManifest, PackageMetadata, PackageSpec,
};
pub use unpack::Unpacked;

use crate::layout::{MANIFEST, MANIFEST_DIGEST};
use crate::manifest::{EffectiveIo, IoSource, MAX_BYTES, effective_io, io_of_model_type};

/// An opened package.
pub struct Package {
    directory: Directory,
    manifest: PackageManifest,
    manifest_digest: Digest,
    manifest_size: u64,
}

/// What [`Package::check_files`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageFiles {
    /// Files that are missing, or are not those that the manifest lists.
    pub faults: Vec<String>,
    /// Files of which the manifest states no digest.
    pub without_digest: Vec<String>,
}

impl std::fmt::Debug for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Package")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

impl Package {
    /// Whether the directory `path` is a package: it has a manifest, no digest of it, and the
    /// manifest lists neither an identity nor all files, as that of a bundle does. A bundle that has
    /// lost its `manifest.sha256` is none.
    pub fn is_at(path: &Path) -> bool {
        if path.join(MANIFEST_DIGEST).symlink_metadata().is_ok() {
            return false;
        }
        let manifest = OpenedFile::open(path.join(MANIFEST));
        let Ok(bytes) = manifest.and_then(|file| file.contents(MAX_BYTES)) else {
            return false;
        };
        let of_a_bundle = |line: &[u8]| {
            [&b"identity"[..], b"files"].iter().any(|key| {
                line.strip_prefix(*key)
                    .is_some_and(|rest| rest.trim_ascii_start().starts_with(b":"))
            })
        };
        !bytes.split(|byte| *byte == b'\n').any(of_a_bundle)
    }

    /// Opens the package in the directory `path`.
    ///
    /// # Errors
    ///
    /// Those of [`PackageManifest::parse`] and of reading.
    pub fn open(path: impl AsRef<Path>, level: Level) -> Result<Self> {
        let directory = Directory::open(path)?;
        let file = directory.open_file(&RelativePath::parse(MANIFEST)?)?;
        let bytes = file.contents(MAX_BYTES)?;
        let manifest =
            PackageManifest::parse(&bytes, level).map_err(|error| error.in_file(file.path()))?;
        Ok(Self {
            manifest,
            manifest_digest: sha256(&bytes),
            manifest_size: bytes.len() as u64,
            directory,
        })
    }

    /// The same package, called `path` in messages: what was unpacked into a temporary directory.
    #[must_use]
    pub fn shown_as(mut self, path: &Path) -> Self {
        self.directory = self.directory.shown_as(path);
        self
    }

    /// The manifest.
    pub fn manifest(&self) -> &PackageManifest {
        &self.manifest
    }

    /// The digest of `manifest.yaml`, as it was read; nothing in the package vouches for it.
    pub fn manifest_digest(&self) -> Digest {
        self.manifest_digest
    }

    /// The size of `manifest.yaml` in bytes.
    pub fn manifest_size(&self) -> u64 {
        self.manifest_size
    }

    /// The opened directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The path this package was opened by, for messages.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Whether the package holds a file of this name.
    pub fn has(&self, path: &str) -> bool {
        RelativePath::parse(path).is_ok_and(|path| self.directory.open_file(&path).is_ok())
    }

    /// Reads a file. Where the manifest lists it with a size or a digest, the bytes that are returned
    /// were compared with them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Untrusted`] when they differ, and when a listed file is missing.
    pub fn read(&self, path: &RelativePath, limit: u64) -> Result<Bytes> {
        let listed = self.listed(path);
        let file = match self.directory.open_file(path) {
            Err(error) if listed.is_some() && error.kind() == ErrorKind::NotFound => {
                return Err(
                    Error::untrusted("file-missing", "a file of the package is missing")
                        .in_file(path.beneath(self.path())),
                );
            }
            file => file?,
        };
        let bytes = file.contents(limit)?;
        self.compare(path, &bytes)
            .map_err(|error| error.in_file(file.path()))?;
        Ok(bytes)
    }

    /// Compares `bytes`, the content of the file at `path`, with what the manifest says of it;
    /// nothing where it says nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Untrusted`] (`file-changed`).
    pub fn compare(&self, path: &RelativePath, bytes: &[u8]) -> Result<()> {
        let Some(listed) = self.listed(path) else {
            return Ok(());
        };
        let changed = || {
            Error::untrusted(
                "file-changed",
                "the file is not the one that the manifest of the package lists",
            )
        };
        let size = bytes.len() as u64;
        if listed.size != 0 && listed.size != size {
            let expected = format!("{} bytes", listed.size);
            return Err(changed().expected(expected).found(format!("{size} bytes")));
        }
        match listed.sha256 {
            Some(expected) if sha256(bytes) != expected => Err(changed()
                .expected(expected.to_string())
                .found(sha256(bytes).to_string())),
            _ => Ok(()),
        }
    }

    /// Compares every file that the manifest lists with what it says of it.
    ///
    /// # Errors
    ///
    /// When a file cannot be read; one that differs is a fault in the answer.
    pub fn check_files(&self) -> Result<PackageFiles> {
        let mut checked = PackageFiles::default();
        let format = &self.manifest.spec.format;
        for path in format.execution_files.iter().map(|file| &file.path) {
            if self.listed(path).is_none() && !self.has(path.as_str()) {
                checked.faults.push(format!("{path}: missing"));
            }
        }
        for entry in &format.files {
            let PackageFile { path, size, sha256 } = entry;
            let file = match self.directory.open_file(path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    checked.faults.push(format!("{path}: missing"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if *size != 0 && *size != file.len() {
                let found = file.len();
                let fault = format!("{path}: expected {size} bytes, found {found}");
                checked.faults.push(fault);
                continue;
            }
            let Some(expected) = sha256 else {
                checked.without_digest.push(path.to_string());
                continue;
            };
            let found = file.digest()?;
            if found != *expected {
                let fault = format!("{path}: expected sha256 {expected}, found {found}");
                checked.faults.push(fault);
            }
        }
        Ok(checked)
    }

    fn listed(&self, path: &RelativePath) -> Option<&PackageFile> {
        let mut files = self.manifest.spec.format.files.iter();
        files.find(|file| file.path == *path)
    }

    /// The graphs that can run, the entry graph first: the ONNX files that the manifest names, else
    /// those that are there (`model.onnx`, also in the folder `onnx`, else every one of the first of
    /// these folders that has any).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] (`package-not-runnable`) when there is none, with the way out.
    pub fn graphs(&self) -> Result<Vec<PackageGraph>> {
        graphs::find(self)
    }

    /// Reads a graph and its external data, all compared with the manifest where it lists them.
    ///
    /// # Errors
    ///
    /// As [`Package::read`] and [`Model::from_bytes`].
    pub fn model(&self, graph: &PackageGraph, limits: &Limits) -> Result<Model> {
        let bytes = self.read(&graph.file, limits.file_bytes)?;
        let folder = graph
            .file
            .as_str()
            .rsplit_once('/')
            .map(|(folder, _)| folder);
        let beside = folder
            .map(|folder| self.directory.open_directory(&RelativePath::parse(folder)?))
            .transpose()?;
        let shown = graph.file.beneath(self.path());
        let model = Model::from_bytes(
            bytes,
            Some(beside.as_ref().unwrap_or(&self.directory)),
            limits,
        )
        .map_err(|error| error.in_file(&shown))?;
        for (location, bytes) in model.external_files() {
            let path = match folder {
                Some(folder) => RelativePath::parse(&format!("{folder}/{location}"))?,
                None => RelativePath::parse(location)?,
            };
            self.compare(&path, bytes)
                .map_err(|error| error.in_file(path.beneath(self.path())))?;
        }
        Ok(model)
    }

    /// The I/O of the entry graph, settled with what the graph says of itself; see [`effective_io`].
    ///
    /// # Errors
    ///
    /// Those of [`effective_io`], naming the manifest.
    pub fn effective_io(&self, graph: &Contract, strict: bool) -> Result<EffectiveIo> {
        let stated = self.manifest.spec.io.as_ref();
        let mut known = effective_io(stated, graph, strict, &|path| self.has(path))
            .map_err(|error| error.in_file(self.path().join(MANIFEST)))?;
        let tokenizers: BTreeSet<&RelativePath> = known
            .io
            .inputs
            .iter()
            .filter_map(|input| input.preprocessing.as_ref()?.tokenizer.as_ref())
            .collect();
        let missing = tokenizers
            .into_iter()
            .filter(|path| !self.has(path.as_str()))
            .map(|path| {
                format!("the manifest names the tokenizer {path}, which is not in the package")
            });
        let missing: Vec<String> = missing.collect();
        known.warnings.extend(missing);
        Ok(known)
    }

    /// The I/O of a package whose graph cannot be read: what its manifest states, else what models of
    /// its `model_type` usually take, else one tensor of floats.
    ///
    /// # Errors
    ///
    /// Those of reading `config.json`, where there is one.
    pub fn stated_io(&self) -> Result<EffectiveIo> {
        let has = |path: &str| self.has(path);
        if let Some(io) = &self.manifest.spec.io {
            return Ok(EffectiveIo::of(io.clone(), IoSource::Manifest, &has));
        }
        let config = RelativePath::parse("config.json")?;
        if !self.has(config.as_str()) {
            return Ok(EffectiveIo::legacy());
        }
        let bytes = self.read(&config, json::MAX_BYTES)?;
        let config: Value =
            json::parse(&bytes).map_err(|error| error.in_file(config.beneath(self.path())))?;
        let usual = config
            .get("model_type")
            .and_then(Value::as_str)
            .and_then(io_of_model_type);
        Ok(match usual {
            Some(io) => EffectiveIo::of(io, IoSource::ModelType, &has),
            None => EffectiveIo::legacy(),
        })
    }
}
