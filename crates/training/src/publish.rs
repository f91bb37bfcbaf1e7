//! Directories that appear whole or not at all.

use std::path::Path;

use amphora_error::{Error, Result};
use amphora_files::durable::{self, Published, StagingDirectory};

/// Refuses a place where something is already.
pub(crate) fn refuse_existing(out: &Path) -> Result<()> {
    match fs_err::symlink_metadata(out) {
        Ok(_) => Err(exists(out)),
        Err(_) => Ok(()),
    }
}

/// Fills a staging directory beside `out` and gives it that name, never replacing what is there.
pub(crate) fn publish_directory(
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
    fs_err::create_dir_all(parent)
        .map_err(|source| Error::from_io("creating the directory", parent, source))?;
    // What killed runs left beside it; nothing that somebody still writes.
    durable::sweep_stale(parent, durable::STALE_AGE)?;
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
