//! Writing a bundle of the store as one file.

use std::path::{Path, PathBuf};

use amphora_bundle::{ArchiveFormat, BundleId, Store};
use amphora_error::{Error, Result};
use amphora_files::{Digest, OpenedFile};
use serde::Serialize;

use crate::output::outside_bundles;

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
///
/// Without a `format` the end of the output's name says it, or else it is zip. A name that ends like
/// another format than the one asked for is [`amphora_error::ErrorKind::Usage`].
pub fn archive(
    store: &Store,
    reference: &str,
    format: Option<ArchiveFormat>,
    output: Option<&Path>,
) -> Result<Archived> {
    let format = format_of(format, output)?;
    let bundle = store.resolve(reference)?;
    let default = || {
        let name = format!("{}.{}", bundle.id().exp_hash(), format.extension());
        store.path().join(name)
    };
    let path = output.map_or_else(default, Path::to_owned);
    outside_bundles(&path)?;
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

fn format_of(asked: Option<ArchiveFormat>, output: Option<&Path>) -> Result<ArchiveFormat> {
    let name = output.and_then(Path::file_name).unwrap_or_default();
    let name = name.to_string_lossy();
    let named = ArchiveFormat::ALL
        .into_iter()
        .find(|format| name.ends_with(&format!(".{}", format.extension())));
    match (asked, named) {
        (Some(asked), Some(named)) if asked != named => Err(Error::usage(
            "archive-name",
            "the name of the archive says another format",
        )
        .expected(format!("a name that ends in .{asked}"))
        .found(format!(".{named}"))
        .hint("leave --format out, or name the file after it")),
        (asked, named) => Ok(asked.or(named).unwrap_or(ArchiveFormat::Zip)),
    }
}
