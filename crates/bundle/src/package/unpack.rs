//! Packages in one file.

use std::path::Path;

use amphora_error::{Error, ErrorKind, Result};
use amphora_files::OpenedFile;
use amphora_files::durable::StagingDirectory;

use super::{Level, Package};
use crate::archive::extract_flat;
use crate::layout::MANIFEST;
use crate::{ImportLimits, Store};

/// A package that was unpacked into a temporary directory, which lives as long as this value.
#[derive(Debug)]
pub struct Unpacked {
    package: Package,
    _staging: StagingDirectory,
}

impl Unpacked {
    /// Unpacks the archive at `path` (a gzip-compressed tar as a rule, files at its top) beside the
    /// bundles of `store`, under the rules for archives of bundles, and opens the package.
    ///
    /// # Errors
    ///
    /// Those of unpacking; [`ErrorKind::Malformed`] when no manifest is in it: installers keep it
    /// beside the archive.
    pub fn open(path: &Path, store: &Store, limits: &ImportLimits) -> Result<Self> {
        let file = OpenedFile::open(path)?;
        store.prepare()?;
        let staging = StagingDirectory::create_in(store.path())?;
        extract_flat(&file, &staging, limits)?;
        let package = Package::open(staging.path(), Level::Install).map_err(|error| {
            match error.kind() == ErrorKind::NotFound {
                true => Error::malformed(
                    "package-manifest-missing",
                    format!("the package holds no {MANIFEST}"),
                )
                .in_file(path)
                .hint("unpack it into the folder that holds its manifest.yaml, and import that"),
                false => error,
            }
        })?;
        Ok(Self {
            package: package.shown_as(path),
            _staging: staging,
        })
    }

    /// The package.
    pub fn package(&self) -> &Package {
        &self.package
    }
}
