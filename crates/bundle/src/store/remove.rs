//! Taking bundles out of the store.

use std::path::{Path, PathBuf};

use amphora_error::{Error, Result};
use amphora_files::Directory;
use amphora_files::durable::{self, TEMPORARY_PREFIX};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::Serialize;

use super::{Store, Summary, is_damaged_name, is_folder_name};

/// What [`Store::clean`] did, or would do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cleaned {
    /// The bundles that were removed (with `dry_run`: that would be).
    pub removed: Vec<Summary>,
    /// The newest bundles, which stay.
    pub kept: Vec<Summary>,
    /// Older bundles that stay because somebody reads them.
    pub in_use: Vec<Summary>,
    /// What could not be removed or was passed over, and why.
    pub warnings: Vec<String>,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

impl Store {
    /// Removes the bundle that `reference` names, in the forms of [`Store::resolve`]; a damaged one
    /// by the name of its folder. A bundle that somebody reads stays, and so does everything that
    /// does not lie in this store.
    pub fn remove(&self, reference: &str) -> Result<PathBuf> {
        let path = self.path.join(reference);
        let folder = is_folder_name(reference) || is_damaged_name(reference);
        let path = if folder && path.is_dir() {
            path
        } else {
            let bundle = self.resolve(reference)?;
            let path = self.path.join(bundle.id().exp_hash());
            if !same_directory(bundle.path(), &path) {
                return Err(
                    Error::usage("bundle-outside-store", "the bundle is not in the store")
                        .in_file(bundle.path())
                        .expected(format!("a bundle of {}", self.path.display())),
                );
            }
            path
        };
        self.prepare()?;
        let _lock = self.lock("removing a bundle")?;
        if self.take_out(&path)? {
            return Ok(path);
        }
        Err(Error::busy("bundle-in-use", "somebody reads the bundle")
            .in_file(path)
            .hint("try again when the other command has finished"))
    }

    /// Keeps the `keep` newest bundles (by `created`, then by id) and removes the others, except
    /// those that somebody reads. Archives, damaged bundles and foreign entries are not touched.
    pub fn clean(&self, keep: usize, dry_run: bool) -> Result<Cleaned> {
        let mut cleaned = Cleaned {
            dry_run,
            ..Cleaned::default()
        };
        let _lock = if dry_run || !self.path.exists() {
            None
        } else {
            self.prepare()?;
            Some(self.lock("cleaning")?)
        };
        let listing = self.list()?;
        cleaned.warnings = listing.warnings;
        for (position, summary) in listing.bundles.into_iter().enumerate() {
            if position < keep {
                cleaned.kept.push(summary);
                continue;
            }
            let outcome = if dry_run {
                in_use(&summary.path).map(|used| !used)
            } else {
                self.take_out(&summary.path)
            };
            match outcome {
                Ok(true) => cleaned.removed.push(summary),
                Ok(false) => cleaned.in_use.push(summary),
                Err(error) => cleaned.warnings.push(error.to_string()),
            }
        }
        Ok(cleaned)
    }

    /// Removes a directory of the store unless somebody holds it: `false` then. It vanishes by one
    /// rename; what a killed process leaves of it is swept by the next writer.
    fn take_out(&self, path: &Path) -> Result<bool> {
        let directory = Directory::open(path)?;
        if !hold(&directory)? {
            return Ok(false);
        }
        let grave = self.bury(path)?;
        if let Err(error) = durable::sync_directory(&self.path) {
            // A crash could bring the bundle back, so it counts as not removed.
            let _ = durable::rename_without_replacing(&grave, path);
            return Err(error);
        }
        // The bundle is gone already; what cannot be removed now is swept by the next writer.
        let _ = durable::remove_tree(&grave);
        Ok(true)
    }

    /// Renames a directory of the store to a temporary name that nobody uses: another process that
    /// had the same number may have died in the middle of this.
    fn bury(&self, path: &Path) -> Result<PathBuf> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let process = std::process::id();
        let mut answer = Err(Errno::EXIST);
        for count in 0..1000 {
            let grave = self.path.join(format!(
                "{TEMPORARY_PREFIX}removed-{process}-{count}-{name}"
            ));
            answer = durable::rename_without_replacing(path, &grave).map(|()| grave);
            if !matches!(answer, Err(Errno::EXIST | Errno::NOTEMPTY)) {
                break;
            }
        }
        answer.map_err(|errno| Error::from_io("removing", path, errno.into()))
    }
}

/// Takes the exclusive lock that readers' shared locks keep away.
fn hold(directory: &Directory) -> Result<bool> {
    match rustix::fs::flock(
        directory.descriptor(),
        FlockOperation::NonBlockingLockExclusive,
    ) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(Error::from_io("locking", directory.path(), errno.into())),
    }
}

fn in_use(path: &Path) -> Result<bool> {
    hold(&Directory::open(path)?).map(|held| !held)
}

fn same_directory(a: &Path, b: &Path) -> bool {
    match (fs_err::canonicalize(a), fs_err::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
