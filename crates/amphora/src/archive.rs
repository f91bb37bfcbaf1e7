//! Writing a bundle of the store as one file.

use std::path::{Path, PathBuf};

use amphora_bundle::{ArchiveFormat, BundleId, Store};
use amphora_error::Result;
use amphora_files::{Digest, OpenedFile};
use serde::Serialize;

/// An archive that was written.
#[derive(Debug, Clone, Serialize)]
pub struct Archived {
    /// The bundle's id.
    pub id: BundleId,
    /// The archive.
    pub path: PathBuf,
    /// Its format, as the end of its name says it.
    pub format: &'static str,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest; the same bundle and format always give the same.
    pub sha256: Digest,
}

/// Writes the bundle that `reference` names to `output`, or into the store as `HASH.FORMAT`.
pub fn archive(
    store: &Store,
    reference: &str,
    format: ArchiveFormat,
    output: Option<&Path>,
) -> Result<Archived> {
    let bundle = store.resolve(reference)?;
    let default = || {
        let name = format!("{}.{}", bundle.id().exp_hash(), format.extension());
        store.path().join(name)
    };
    let path = output.map_or_else(default, Path::to_owned);
    amphora_bundle::archive(&bundle, format, &path)?;
    let file = OpenedFile::open(&path)?;
    Ok(Archived {
        id: bundle.id(),
        size: file.len(),
        sha256: file.digest()?,
        path,
        format: format.extension(),
    })
}
