//! Attacks on bundles: manifests, digests, files, archives.

mod archive;
mod files;
mod manifest;
pub(crate) mod sample;
mod tar;
pub(crate) mod zip;

use crate::case::Case;

pub(crate) fn cases() -> Vec<Case> {
    let sections = [manifest::cases(), files::cases(), archive::cases()];
    sections.into_iter().flatten().collect()
}
