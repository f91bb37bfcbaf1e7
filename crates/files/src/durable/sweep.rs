//! What dead writers left behind.

use std::path::Path;
use std::time::{Duration, SystemTime};

use amphora_error::{Error, Result};
use fs_err::File;
use rustix::fs::FlockOperation;

use super::{TEMPORARY_PREFIX, remove_tree};

/// Age from which an abandoned temporary file or directory is swept: a writer takes its lock within
/// moments of creating the name, so an older one without a holder is nobody's.
pub const STALE_AGE: Duration = Duration::from_secs(60);

/// Removes temporary siblings in `parent` that nobody holds any more and that are older than `age`;
/// returns how many.
pub fn sweep_stale(parent: &Path, age: Duration) -> Result<usize> {
    let entries =
        fs_err::read_dir(parent).map_err(|source| Error::from_io("listing", parent, source))?;
    let mut swept = 0;
    for entry in entries.flatten() {
        if !entry
            .file_name()
            .to_string_lossy()
            .starts_with(TEMPORARY_PREFIX)
        {
            continue;
        }
        let Ok(status) = entry.metadata() else {
            continue;
        };
        if !status.modified().is_ok_and(|time| is_old(time, age)) {
            continue;
        }
        let Ok(holder) = File::open(entry.path()) else {
            continue;
        };
        if rustix::fs::flock(&holder, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let removed = if status.is_dir() {
            remove_tree(&entry.path()).is_ok()
        } else {
            fs_err::remove_file(entry.path()).is_ok()
        };
        swept += usize::from(removed);
    }
    Ok(swept)
}

/// A time far ahead counts as old: the clock was set back since, and nobody would ever sweep.
fn is_old(time: SystemTime, age: Duration) -> bool {
    let distance = SystemTime::now()
        .duration_since(time)
        .unwrap_or_else(|ahead| ahead.duration());
    distance >= age
}
