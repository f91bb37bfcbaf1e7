//! Directories that appear whole or not at all.

use std::path::Path;

use amphora_error::{Error, Result};

use super::{Published, STALE_AGE, StagingDirectory, create_directory, sweep_stale};

/// Refuses a place where something is already.
///
/// # Errors
///
/// Usage (`output-exists`).
pub fn refuse_existing(out: &Path) -> Result<()> {
    match fs_err::symlink_metadata(out) {
        Ok(_) => Err(exists(out)),
        Err(_) => Ok(()),
    }
}

/// Fills a staging directory beside `out` and gives it that name, never replacing what is there. What
/// killed writers left beside it is swept on the way.
///
/// # Errors
///
/// Usage: `output-exists` when something is there, `output-name` for a path without a name; those of
/// `fill` and of writing.
pub fn publish_directory(
    out: &Path,
    fill: impl FnOnce(&StagingDirectory) -> Result<()>,
) -> Result<()> {
    refuse_existing(out)?;
    let name = out
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| {
            Error::usage("output-name", "the output needs a name of its own").in_file(out)
        })?;
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_directory(parent)?;
    // A directory that cannot be listed can still be written to.
    sweep_stale(parent, STALE_AGE).ok();
    let staging = StagingDirectory::create_in(parent)?;
    fill(&staging)?;
    match staging.publish(name)? {
        Published::New => Ok(()),
        Published::Existed => Err(exists(out)),
    }
}

fn exists(out: &Path) -> Error {
    Error::usage(
        "output-exists",
        "something is already there, and it is not overwritten",
    )
    .in_file(out)
    .hint("choose another name, or remove it first")
}
