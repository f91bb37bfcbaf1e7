//! Views: the directories that other systems' documents prescribe, written from a bundle.

mod cyntra;

use std::path::{Path, PathBuf};

use amphora_bundle::{Bundle, BundleId};
use amphora_error::Result;
use amphora_files::{RelativePath, durable};
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
    durable::refuse_existing(out)?;
    let files: Vec<(&str, Bytes)> = match layout {
        Layout::Cyntra => cyntra::files(bundle)?,
    };
    durable::publish_directory(out, |staging| {
        for (name, bytes) in &files {
            staging.write(&RelativePath::parse(name)?, bytes)?;
        }
        Ok(())
    })?;
    Ok(LaidOut {
        id: bundle.id(),
        path: out.to_owned(),
        files: files.iter().map(|(name, _)| (*name).to_owned()).collect(),
    })
}
