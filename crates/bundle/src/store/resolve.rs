//! From what a person wrote to a bundle.

use std::path::Path;

use amphora_error::{Error, ErrorKind, Result, quoted};
use amphora_files::OpenedFile;

use super::{Store, Summary, is_folder_name, is_hex};
use crate::layout::MANIFEST;
use crate::{ArchiveFormat, Bundle, BundleId, Name, Version};

/// Fewest digits of an id that name a bundle.
const SHORTEST_PREFIX: usize = 4;

impl Store {
    /// Opens the bundle that `reference` names: a path, an id, a unique prefix of an id (at least
    /// four digits), `name:version` or `name@version`, or a name alone, which means its highest
    /// semantic version, and of several with that version the one made last. More than one
    /// candidate is an error that names them all.
    ///
    /// A reference is a path when it starts with `/`, `./` or `../`, is `.` or `..`, or names a
    /// directory with a manifest.
    pub fn resolve(&self, reference: &str) -> Result<Bundle> {
        if is_path(reference) {
            return Bundle::open(reference);
        }
        if is_hex(reference) && reference.len() == 64 {
            let id = BundleId::parse(reference)?;
            return match self.open_folder(&id.exp_hash()) {
                Ok(bundle) if bundle.id() == id => Ok(bundle),
                Ok(_) => Err(self.not_found(reference)),
                Err(error) if error.kind() == ErrorKind::NotFound => Err(self.not_found(reference)),
                Err(error) => Err(error),
            };
        }
        // A damaged bundle is not listed, but whoever names its folder gets its own error.
        if is_folder_name(reference) && self.path.join(reference).is_dir() {
            return self.open_folder(reference);
        }
        let path = Path::new(reference);
        let found = match self.candidates(reference) {
            Err(error) if error.kind() == ErrorKind::Usage && path.exists() => Vec::new(),
            found => found?,
        };
        match found.as_slice() {
            [] if path.exists() => Err(no_bundle(path)),
            [] => Err(self.not_found(reference)),
            [one] => self.open_folder(&one.exp_hash),
            several => Err(Error::usage(
                "bundle-ambiguous",
                format!("{} names more than one bundle", quoted(reference)),
            )
            .faults(several.iter().map(describe).collect())
            .hint("name the one you mean by more digits of its id")),
        }
    }

    fn candidates(&self, reference: &str) -> Result<Vec<Summary>> {
        let prefix = is_hex(reference) && reference.len() >= SHORTEST_PREFIX;
        let asked = Asked::parse(reference);
        if !prefix && let Err(error) = asked {
            return Err(error);
        }
        let asked = asked.ok();
        let mut named = Vec::new();
        let mut by_prefix = Vec::new();
        for summary in self.list()?.bundles {
            if prefix && summary.id.to_string().starts_with(reference) {
                by_prefix.push(summary);
            } else if asked.as_ref().is_some_and(|asked| asked.matches(&summary)) {
                named.push(summary);
            }
        }
        if asked.is_some_and(|asked| asked.newest()) {
            let highest = named.iter().map(|summary| summary.version.clone()).max();
            named.retain(|summary| Some(&summary.version) == highest.as_ref());
            let latest = named.iter().map(|summary| summary.created.clone()).max();
            named.retain(|summary| Some(&summary.created) == latest.as_ref());
        }
        by_prefix.extend(named);
        Ok(by_prefix)
    }

    pub(super) fn not_found(&self, reference: &str) -> Error {
        Error::not_found(
            "bundle-not-found",
            format!("there is no bundle {}", quoted(reference)),
        )
        .in_file(&self.path)
        .hint("see what there is with: amphora list")
    }
}

/// The refusal of a file or directory that is there, but is no bundle.
fn no_bundle(path: &Path) -> Error {
    let error = Error::not_found("not-a-bundle", "this is not a bundle").in_file(path);
    if path.is_dir() {
        return error.expected(format!("a directory with a {MANIFEST}"));
    }
    let start = OpenedFile::open(path).and_then(|file| file.range(0, file.len().min(512)));
    match start.ok().and_then(|start| ArchiveFormat::sniff(&start)) {
        Some(format) => error
            .found(format!("a file in the format {format}"))
            .hint(format!("amphora import {}", path.display())),
        None => error.expected("a bundle's directory").found("a file"),
    }
}

fn describe(summary: &Summary) -> String {
    format!("{} {}:{}", summary.exp_hash, summary.name, summary.version)
}

fn is_path(reference: &str) -> bool {
    let marked = ["/", "./", "../"]
        .iter()
        .any(|start| reference.starts_with(start));
    marked
        || [".", ".."].contains(&reference)
        || (!reference.is_empty() && Path::new(reference).join(MANIFEST).is_file())
}

/// A name, and the version that was asked for.
struct Asked {
    name: Name,
    version: Option<Version>,
}

impl Asked {
    fn parse(reference: &str) -> Result<Self> {
        let (name, version) = match reference.split_once([':', '@']) {
            Some((name, version)) => (name, Some(version)),
            None => (reference, None),
        };
        let refuse = |error: Error| {
            Error::usage(
                "bundle-reference",
                format!("{} does not name a bundle", quoted(reference)),
            )
            .expected("a path, an id, at least four digits of one, or name[:version]")
            .caused_by(error)
        };
        Ok(Self {
            name: Name::parse(name).map_err(refuse)?,
            version: version.map(Version::parse).transpose().map_err(refuse)?,
        })
    }

    fn matches(&self, summary: &Summary) -> bool {
        let version = match &self.version {
            Some(version) if version.semantic().is_some() => *version == summary.version,
            _ => true,
        };
        version && self.name == summary.name
    }

    /// Whether the highest version is meant: none was named, or `latest`.
    fn newest(&self) -> bool {
        self.version
            .as_ref()
            .is_none_or(|version| version.semantic().is_none())
    }
}
