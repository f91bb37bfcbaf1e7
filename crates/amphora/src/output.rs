//! Where answers may be written: never into a sealed bundle, never over their own input.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use amphora_bundle::layout::{MANIFEST, MANIFEST_DIGEST};
use amphora_error::{Error, Result};
use amphora_files::durable;

/// Writes `bytes` to `path`, replacing a file that is there, atomically and durably.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Usage`] when `path` lies in a sealed bundle: one more file would
/// break its integrity.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    outside_bundles(path)?;
    durable::write_file(path, bytes)
}

/// Makes `directory` ready for answers, before the work that they take: it lies in no sealed bundle,
/// it exists, and files can be created in it.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Usage`] for a place in a bundle, [`amphora_error::ErrorKind::Io`]
/// when the directory cannot be made or written to.
pub fn prepare_directory(directory: &Path) -> Result<()> {
    outside_bundles(directory)?;
    durable::create_directory(directory)?;
    durable::StagingDirectory::create_in(directory).map(drop)
}

/// Refuses an output at or beneath a directory that holds a manifest and its digest.
pub(crate) fn outside_bundles(output: &Path) -> Result<()> {
    let sealed = |directory: &&Path| {
        [MANIFEST, MANIFEST_DIGEST]
            .iter()
            .all(|name| directory.join(name).is_file())
    };
    let Some(real) = nearest_real(output) else {
        return Ok(());
    };
    match real.ancestors().find(sealed) {
        None => Ok(()),
        Some(bundle) => Err(Error::usage(
            "output-in-bundle",
            "nothing may be written into a sealed bundle",
        )
        .in_file(output)
        .found(format!("the bundle {}", bundle.display()))
        .hint("name a place outside the bundle")),
    }
}

/// Refuses an `output` that is the file `input`, whatever each is called.
pub(crate) fn not_over(output: &Path, input: &Path) -> Result<()> {
    let identity = |path: &Path| {
        let metadata = fs_err::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    match (identity(output), identity(input)) {
        (Some(output_identity), Some(input_identity)) if output_identity == input_identity => {
            Err(Error::usage(
                "output-is-input",
                "the output would replace a file that it is made from",
            )
            .in_file(output)
            .hint("give the output another name"))
        }
        _ => Ok(()),
    }
}

/// Refuses an `output` in the directory `input` that it is made from.
#[cfg(feature = "training")]
pub(crate) fn not_within(output: &Path, input: &Path) -> Result<()> {
    let (Some(place), Ok(input)) = (nearest_real(output), fs_err::canonicalize(input)) else {
        return Ok(());
    };
    match place.starts_with(&input) {
        false => Ok(()),
        true => Err(Error::usage(
            "output-in-input",
            "the output would lie among the files that it is made from",
        )
        .in_file(output)
        .hint("name a place outside that directory")),
    }
}

/// The real path of the lowest part of `path` that exists.
fn nearest_real(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute
        .ancestors()
        .find_map(|part| fs_err::canonicalize(part).ok())
}
