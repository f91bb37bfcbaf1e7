//! Every byte of a bundle against its manifest.

use std::collections::{BTreeMap, BTreeSet};

use amphora_error::{Error, Result};
use amphora_files::{Digest, Directory, EntryKind, RelativePath, sha256};
use bytes::Bytes;
use rayon::prelude::*;
use serde::Serialize;

use crate::Manifest;
use crate::bundle::{Bundle, graph_bytes, stated_digest};
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
    check_and_keep(bundle, &BTreeSet::new()).map(|(report, _)| report)
}

/// As [`check_integrity`], and keeps the content of the files in `keep`, so that what was hashed is
/// what is used, and is hashed once.
pub fn check_and_keep<'a>(
    bundle: &'a Bundle,
    keep: &BTreeSet<&RelativePath>,
) -> Result<(IntegrityReport, Checked<'a>)> {
    let mut report = IntegrityReport::default();
    list_unlisted(bundle, &mut report)?;
    check_manifest(bundle, &mut report)?;
    let mut files: Vec<&FileEntry> = bundle.manifest().files.iter().collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.size));
    let mut verdicts: Vec<(&FileEntry, Verdict)> = files
        .into_par_iter()
        .map(|file| {
            let kept = keep.contains(&file.path);
            Ok((file, check_file(bundle.directory(), file, kept)?))
        })
        .collect::<Result<_>>()?;
    let mut contents = BTreeMap::new();
    verdicts.sort_by(|a, b| a.0.path.cmp(&b.0.path));
    for (file, verdict) in verdicts {
        match verdict {
            Verdict::Same(content) => {
                report.files += 1;
                report.bytes = report.bytes.saturating_add(file.size);
                contents.extend(content.map(|content| (file.path.clone(), content)));
            }
            Verdict::Missing => report.missing.push(file.path.to_string()),
            Verdict::Changed(reason) => report.changed.push(Changed {
                path: file.path.to_string(),
                reason,
            }),
        }
    }
    Ok((report, Checked { bundle, contents }))
}

/// A bundle whose files were compared with its manifest, with the content of those that were to be
/// kept.
pub struct Checked<'a> {
    bundle: &'a Bundle,
    contents: BTreeMap<RelativePath, Bytes>,
}

impl Checked<'_> {
    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        self.bundle.manifest()
    }

    /// The content of a listed file as it was compared. A file that was not kept is read, and compared
    /// again.
    pub fn read(&self, path: &RelativePath) -> Result<Bytes> {
        match self.contents.get(path) {
            Some(content) => Ok(content.clone()),
            None => self.bundle.read(path),
        }
    }

    /// The bytes of a graph and of its external data, keyed by the location that the graph names.
    pub fn graph_bytes(&self, name: &str) -> Result<(Bytes, BTreeMap<String, Bytes>)> {
        graph_bytes(self.manifest(), name, &|path| self.read(path))
    }
}

enum Verdict {
    /// As it was sealed; the content, where it is kept.
    Same(Option<Bytes>),
    Missing,
    Changed(String),
}

fn check_file(directory: &Directory, entry: &FileEntry, keep: bool) -> Result<Verdict> {
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
    let read = match keep {
        true => file
            .contents(entry.size)
            .map(|content| (sha256(&content), Some(content))),
        false => file.digest().map(|digest| (digest, None)),
    };
    let (found, content) = match read {
        Err(error) if error.rule() == "file-changed" => {
            return Ok(Verdict::Changed(error.message().to_owned()));
        }
        answer => answer?,
    };
    Ok(match found == entry.sha256 {
        true => Verdict::Same(content),
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
