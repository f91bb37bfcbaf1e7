//! Writing so that a crash at any moment leaves the old state or the new one, never a mixture.
//!
//! The order is always the same: write a temporary sibling on the same file system, fsync it,
//! rename it into place, fsync the directory. A failing fsync is never retried: the data may be
//! gone although a second call succeeds, so nothing is published.

use std::collections::BTreeSet;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use amphora_error::{Error, Result};
use fs_err::File;
use rustix::fs::{FlockOperation, RenameFlags};
use rustix::io::Errno;

mod publish;
mod staging;
mod sweep;

pub use publish::{publish_directory, refuse_existing};
pub use staging::{Published, StagingDirectory};
pub use sweep::{STALE_AGE, sweep_stale};

/// How every temporary sibling begins; readers of a directory ignore such names.
pub const TEMPORARY_PREFIX: &str = ".amphora-tmp-";

/// The temporary siblings of this process that are not published yet.
static STAGED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Creates a temporary sibling and notes it, so that [`discard_staged`] misses none.
fn staged<T>(create: impl FnOnce() -> Result<(PathBuf, T)>) -> Result<(PathBuf, T)> {
    let mut staged = STAGED.lock().unwrap_or_else(PoisonError::into_inner);
    let (path, made) = create()?;
    staged.insert(path.clone());
    Ok((path, made))
}

/// Gives a temporary sibling its final name. [`discard_staged`] must not be emptying it meanwhile:
/// the rest would appear under that name.
fn name_staged<T, E>(path: &Path, rename: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let mut staged = STAGED.lock().unwrap_or_else(PoisonError::into_inner);
    let renamed = rename()?;
    staged.remove(path);
    Ok(renamed)
}

fn forget_staged(path: &Path) {
    let mut staged = STAGED.lock().unwrap_or_else(PoisonError::into_inner);
    staged.remove(path);
}

/// Removes everything that this process was about to publish, for a program that is about to exit
/// on a signal; from then on, threads that stage or publish wait until the process ends.
pub fn discard_staged() {
    let staged = STAGED.lock().unwrap_or_else(PoisonError::into_inner);
    for path in staged.iter() {
        // Another thread may still be adding files to a directory while it is emptied.
        for _ in 0..8 {
            let removed = match fs_err::symlink_metadata(path) {
                Ok(status) if status.is_dir() => remove_tree(path).is_ok(),
                Ok(_) => fs_err::remove_file(path).is_ok(),
                Err(_) => true,
            };
            if removed && !path.exists() {
                break;
            }
        }
    }
    std::mem::forget(staged);
}

/// Writes `bytes` to `path`, replacing a file that is there, atomically and durably.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    write_file_with(path, &mut |file| file.write_all(bytes))
}

/// A file that is being written: bytes go in one after the other, and some formats go back to fill
/// in a length.
pub trait Target: Write + Seek {}

impl<T: Write + Seek> Target for T {}

/// As [`write_file`], with a function that writes the content piece by piece.
///
/// What dead writers left beside `path` is swept first. When the directory cannot be made durable, a
/// new file is taken back; one that replaced another stays, whole.
pub fn write_file_with(
    path: &Path,
    write: &mut dyn FnMut(&mut dyn Target) -> std::io::Result<()>,
) -> Result<()> {
    refuse_special(path)?;
    let parent = parent_of(path);
    // Writing does not depend on it: the files may belong to somebody else.
    let _ = sweep_stale(parent, STALE_AGE);
    let (name, temporary) = staged(|| {
        let temporary = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .tempfile_in(parent)
            .map_err(|source| Error::from_io("creating a temporary file", parent, source))?;
        Ok((temporary.path().to_owned(), temporary))
    })?;
    let replaces = path.exists();
    let written = write_and_rename(temporary, path, write);
    forget_staged(&name);
    written?;
    sync_directory(parent).inspect_err(|_| {
        if !replaces {
            let _ = fs_err::remove_file(path);
        }
    })
}

/// Renaming over a device, a FIFO or a socket would take it away from everybody: with enough rights,
/// `/dev/null` too.
fn refuse_special(path: &Path) -> Result<()> {
    match fs_err::metadata(path) {
        Ok(status) if !status.is_file() => Err(Error::io(
            "output-not-a-file",
            "something that is no regular file has this name",
        )
        .in_file(path)
        .hint("name a new file, or a regular one to replace")),
        _ => Ok(()),
    }
}

fn write_and_rename(
    mut temporary: tempfile::NamedTempFile,
    path: &Path,
    write: &mut dyn FnMut(&mut dyn Target) -> std::io::Result<()>,
) -> Result<()> {
    // Without its lock, a file that takes long to write would be swept as abandoned.
    hold(temporary.as_file()).map_err(|errno| Error::from_io("locking", path, errno.into()))?;
    write(&mut temporary)
        .and_then(|()| temporary.as_file().sync_all())
        .map_err(|source| Error::from_io("writing", path, source))?;
    set_mode(temporary.path(), 0o644)?;
    let name = temporary.path().to_owned();
    name_staged(&name, || temporary.persist(path))
        .map(drop)
        .map_err(|failed| Error::from_io("renaming into place", path, failed.error))
}

/// Takes the lock by which [`sweep_stale`] tells a living writer from a dead one. Where the file
/// system has no locks nothing is swept, so there is nothing to be told.
fn hold(descriptor: impl std::os::fd::AsFd) -> Result<(), Errno> {
    match rustix::fs::flock(descriptor, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => Ok(()),
        answer => answer,
    }
}

/// Refuses what cannot fit: `bytes` more in the file system of `directory`. Asked before anything is
/// written, so that a long copy does not fail at its end; a disk can still fill up meanwhile.
pub fn expect_room(directory: &Path, bytes: u64) -> Result<()> {
    match free_bytes(directory) {
        Some(free) if free < bytes => Err(Error::io("storage-full", "there is not enough room")
            .expected(format!("room for {bytes} bytes"))
            .found(format!("{free} bytes free"))
            .in_file(directory)
            .hint("make room, or name a directory on another file system")),
        _ => Ok(()),
    }
}

/// Adds to an error about a full disk how many bytes were to be written in `directory` and how many
/// are free.
pub fn with_needed(error: Error, directory: &Path, needed: u64) -> Error {
    if error.rule() != "storage-full" {
        return error;
    }
    let error = error.expected(format!("room for {needed} bytes"));
    match free_bytes(directory) {
        Some(free) => error.found(format!("{free} bytes free")),
        None => error,
    }
}

fn free_bytes(directory: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(directory).ok()?;
    Some(status.f_bavail.saturating_mul(status.f_frsize))
}

/// Takes the room for a file of `bytes` before its content is written. File systems that cannot are
/// left alone.
fn reserve(file: &File, bytes: u64) -> Result<()> {
    #[cfg(target_os = "linux")]
    if bytes > 0 {
        let flags = rustix::fs::FallocateFlags::empty();
        let answer = rustix::fs::fallocate(file, flags, 0, bytes);
        if let Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) = answer {
            return Err(Error::from_io("reserving room", file.path(), errno.into()));
        }
    }
    Ok(())
}

/// Creates a directory and those above it that are missing, each one durably.
pub fn create_directory(path: &Path) -> Result<()> {
    let mut missing = Vec::new();
    let mut above = path;
    while !above.as_os_str().is_empty() && !above.exists() {
        missing.push(above);
        above = parent_of(above);
    }
    for directory in missing.into_iter().rev() {
        match fs_err::create_dir(directory) {
            Ok(()) => sync_directory(parent_of(directory))?,
            Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::from_io("creating the directory", directory, source)),
        }
    }
    Ok(())
}

/// Makes the entries of a directory durable.
pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| Error::from_io("making the directory durable", path, source))
}

/// Renames, failing with `EXIST` when the target is there, even if it is an empty directory.
///
/// File systems without `RENAME_NOREPLACE` get the check and the rename one after the other; the
/// caller's lock on the parent keeps other writers of Amphora out of that gap.
pub fn rename_without_replacing(from: &Path, to: &Path) -> Result<(), Errno> {
    let here = rustix::fs::CWD;
    #[cfg(target_os = "linux")]
    match rustix::fs::renameat_with(here, from, here, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        answer => return answer,
    }
    match rustix::fs::lstat(to) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => rustix::fs::renameat(here, from, here, to),
        Err(errno) => Err(errno),
    }
}

/// Sets the permissions of what was just created, whatever the umask of the process.
fn set_mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|source| Error::from_io("setting the permissions", path, source))
}

/// Removes a directory tree; missing is fine. Symbolic links are removed, never followed.
pub fn remove_tree(path: &Path) -> Result<()> {
    match fs_err::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::from_io("removing", path, source)),
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode};

    #[test]
    fn what_cannot_fit_is_refused_before_it_is_written() {
        let scratch = tempfile::tempdir().unwrap();
        expect_room(scratch.path(), 1).unwrap();
        let error = expect_room(scratch.path(), 1 << 62).unwrap_err();
        assert_eq!(error.rule(), "storage-full");
        assert!(error.to_string().contains("room for 4611686018427387904"));
    }

    #[test]
    fn what_is_no_regular_file_is_never_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let fifo = scratch.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for path in [fifo.as_path(), scratch.path()] {
            let error = write_file(path, b"x").unwrap_err();
            assert_eq!(error.rule(), "output-not-a-file");
        }
        let regular = scratch.path().join("regular");
        write_file(&regular, b"old").unwrap();
        write_file(&regular, b"new").unwrap();
        assert_eq!(fs_err::read(&regular).unwrap(), b"new");
    }
}
