//! Views: the directories that other systems' documents prescribe, written from a bundle.

mod cyntra;

use std::path::{Path, PathBuf};

use amphora_bundle::{Bundle, BundleId};
use amphora_error::{Error, Result};
use amphora_files::RelativePath;
use amphora_files::durable::{self, Published, StagingDirectory};
use bytes::Bytes;
use serde::Serialize;

use crate::output::outside_bundles;

/// A directory that a document prescribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// The flat planner bundle of document 000, section 2.2.
    Cyntra,
}

/// A directory that was laid out.
#[derive(Debug, Clone, Serialize)]
pub struct LaidOut {
    /// The bundle that it was made from.
    pub id: BundleId,
    /// Where it lies.
    pub path: PathBuf,
    /// Its files.
    pub files: Vec<String>,
}

/// Writes `bundle` as the new directory `out`, whole or not at all. Every byte that is written was
/// compared with the manifest.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Incompatible`] when the bundle does not hold what the layout needs,
/// [`amphora_error::ErrorKind::Usage`] when something is at `out` already, and those of reading and
/// writing.
pub fn layout(bundle: &Bundle, layout: Layout, out: &Path) -> Result<LaidOut> {
    outside_bundles(out)?;
    let occupied = || {
        Error::usage(
            "output-exists",
            "something is already there, and it is not overwritten",
        )
        .in_file(out)
        .hint("choose another name, or remove it first")
    };
    let name = out.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| {
        Error::usage("output-name", "the output needs a name of its own").in_file(out)
    })?;
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if fs_err::symlink_metadata(out).is_ok() {
        return Err(occupied());
    }
    let files: Vec<(&str, Bytes)> = match layout {
        Layout::Cyntra => cyntra::files(bundle)?,
    };
    durable::create_directory(parent)?;
    let staging = StagingDirectory::create_in(parent)?;
    for (name, bytes) in &files {
        staging.write(&RelativePath::parse(name)?, bytes)?;
    }
    if staging.publish(name)? == Published::Existed {
        return Err(occupied());
    }
    Ok(LaidOut {
        id: bundle.id(),
        path: out.to_owned(),
        files: files.iter().map(|(name, _)| (*name).to_owned()).collect(),
    })
}
