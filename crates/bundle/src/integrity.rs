//! Every byte of a bundle against its manifest.

use std::collections::BTreeSet;

use amphora_error::{Error, Result};
use amphora_files::{Digest, Directory, EntryKind, RelativePath, sha256};
use rayon::prelude::*;
use serde::Serialize;

use crate::bundle::{Bundle, stated_digest};
use crate::layout::{MANIFEST, MANIFEST_DIGEST};
use crate::manifest::{FileEntry, MAX_BYTES};

/// What [`check_integrity`] found: files that are missing, changed or unlisted, apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IntegrityReport {
    /// How many files were hashed.
    pub files: u64,
    /// How many bytes were hashed.
    pub bytes: u64,
    /// Listed files that are not there.
    pub missing: Vec<String>,
    /// Listed files whose size or bytes differ, or that are no plain files any more.
    pub changed: Vec<Changed>,
    /// Files, links and empty directories that the manifest does not list.
    pub unlisted: Vec<String>,
}

/// A listed file that is not what was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The path inside the bundle.
    pub path: String,
    /// What differs.
    pub reason: String,
}

impl IntegrityReport {
    /// Whether the bundle is, to the last byte, what was sealed.
    pub fn passed(&self) -> bool {
        self.missing.is_empty() && self.changed.is_empty() && self.unlisted.is_empty()
    }

    /// Every fault in words.
    pub fn faults(&self) -> Vec<String> {
        let missing = self.missing.iter().map(|path| format!("{path}: missing"));
        let changed = self
            .changed
            .iter()
            .map(|changed| format!("{}: {}", changed.path, changed.reason));
        let unlisted = self.unlisted.iter().map(|path| format!("{path}: unlisted"));
        missing.chain(changed).chain(unlisted).collect()
    }

    /// The report as an answer: untrusted, listing every fault, unless it passed.
    pub fn into_result(self) -> Result<Self> {
        if self.passed() {
            return Ok(self);
        }
        let faults = self.faults();
        Err(Error::untrusted(
            "integrity",
            format!(
                "the bundle is not what was sealed ({} missing, {} changed, {} unlisted)",
                self.missing.len(),
                self.changed.len(),
                self.unlisted.len()
            ),
        )
        .faults(faults)
        .hint("get the bundle again from where it came, or pack it again"))
    }
}

/// Hashes every file of `bundle`, several at a time, and lists what is missing, changed or unlisted.
///
/// An error means that the check itself could not be done (a file that may not be read, for
/// example); a bundle that fails the check is an `Ok` report that has not
/// [passed](IntegrityReport::passed).
pub fn check_integrity(bundle: &Bundle) -> Result<IntegrityReport> {
    let mut report = IntegrityReport::default();
    list_unlisted(bundle, &mut report)?;
    check_manifest(bundle, &mut report)?;
    let mut files: Vec<&FileEntry> = bundle.manifest().files.iter().collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.size));
    let mut verdicts: Vec<(&FileEntry, Verdict)> = files
        .into_par_iter()
        .map(|file| Ok((file, check_file(bundle.directory(), file)?)))
        .collect::<Result<_>>()?;
    verdicts.sort_by(|a, b| a.0.path.cmp(&b.0.path));
    for (file, verdict) in verdicts {
        match verdict {
            Verdict::Same => {
                report.files += 1;
                report.bytes = report.bytes.saturating_add(file.size);
            }
            Verdict::Missing => report.missing.push(file.path.to_string()),
            Verdict::Changed(reason) => report.changed.push(Changed {
                path: file.path.to_string(),
                reason,
            }),
        }
    }
    Ok(report)
}

enum Verdict {
    Same,
    Missing,
    Changed(String),
}

fn check_file(directory: &Directory, entry: &FileEntry) -> Result<Verdict> {
    use amphora_error::ErrorKind;
    let file = match directory.open_file(&entry.path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Verdict::Missing),
        Err(error) if error.kind() == ErrorKind::Malformed => {
            return Ok(Verdict::Changed(error.message().to_owned()));
        }
        Err(error) => return Err(error),
    };
    if file.len() != entry.size {
        return Ok(Verdict::Changed(format!(
            "expected {} bytes, found {}",
            entry.size,
            file.len()
        )));
    }
    let found = match file.digest() {
        Err(error) if error.rule() == "file-changed" => {
            return Ok(Verdict::Changed(error.message().to_owned()));
        }
        answer => answer?,
    };
    Ok(match found == entry.sha256 {
        true => Verdict::Same,
        false => Verdict::Changed(differs(&entry.sha256, &found)),
    })
}

fn differs(expected: &Digest, found: &Digest) -> String {
    format!("expected sha256 {expected}, found {found}")
}

/// The manifest and its digest must still be those that the bundle was opened with.
fn check_manifest(bundle: &Bundle, report: &mut IntegrityReport) -> Result<()> {
    let expected = bundle.manifest_digest();
    let parsed = RelativePath::parse(MANIFEST)?;
    let answers = [
        (MANIFEST_DIGEST, stated_digest(bundle.directory())),
        (
            MANIFEST,
            bundle
                .directory()
                .open_file(&parsed)
                .and_then(|file| file.contents(MAX_BYTES))
                .map(|bytes| sha256(&bytes)),
        ),
    ];
    for (path, answer) in answers {
        let reason = match answer {
            Ok(found) if found == expected => continue,
            Ok(found) => differs(&expected, &found),
            Err(error) => error.message().to_owned(),
        };
        report.changed.push(Changed {
            path: path.to_owned(),
            reason,
        });
    }
    Ok(())
}

fn is_gone(error: &Error) -> bool {
    use amphora_error::ErrorKind;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Malformed)
}

/// Walks the directory; what the manifest does not list is unlisted, an empty directory too.
fn list_unlisted(bundle: &Bundle, report: &mut IntegrityReport) -> Result<()> {
    let files: BTreeSet<&str> = bundle
        .manifest()
        .files
        .iter()
        .map(|file| file.path.as_str())
        .chain([MANIFEST, MANIFEST_DIGEST])
        .collect();
    let mut folders = BTreeSet::new();
    for path in &files {
        folders.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
    }
    let mut open: Vec<Option<String>> = vec![None];
    while let Some(folder) = open.pop() {
        let entries = match &folder {
            None => bundle.directory().entries()?,
            Some(path) => match bundle
                .directory()
                .open_directory(&RelativePath::parse(path)?)
            {
                Ok(directory) => directory.entries()?,
                // It was a folder a moment ago; its files are then missing or changed.
                Err(error) if is_gone(&error) => {
                    report.unlisted.push(path.clone());
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        for entry in entries {
            let path = match &folder {
                None => entry.name,
                Some(folder) => format!("{folder}/{}", entry.name),
            };
            match entry.kind {
                EntryKind::Directory if folders.contains(path.as_str()) => open.push(Some(path)),
                EntryKind::Directory => report.unlisted.push(format!("{path}/")),
                _ if files.contains(path.as_str()) => {}
                _ => report.unlisted.push(path),
            }
        }
    }
    report.unlisted.sort();
    Ok(())
}
