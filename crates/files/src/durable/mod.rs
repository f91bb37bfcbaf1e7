//! Writing so that a crash at any moment leaves the old state or the new one, never a mixture.
//!
//! The order is always the same: write a temporary sibling on the same file system, fsync it,
//! rename it into place, fsync the directory. A failing fsync is never retried: the data may be
//! gone although a second call succeeds, so nothing is published.

use std::collections::BTreeSet;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use amphora_error::{Error, Result};
use fs_err::File;
use rustix::fs::{FlockOperation, RenameFlags};
use rustix::io::Errno;

use crate::RelativePath;

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
pub fn write_file_with(
    path: &Path,
    write: &mut dyn FnMut(&mut dyn Target) -> std::io::Result<()>,
) -> Result<()> {
    let parent = parent_of(path);
    let (name, temporary) = staged(|| {
        let temporary = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .tempfile_in(parent)
            .map_err(|source| Error::from_io("creating a temporary file", parent, source))?;
        Ok((temporary.path().to_owned(), temporary))
    })?;
    let written = write_and_rename(temporary, path, write);
    forget_staged(&name);
    written?;
    sync_directory(parent)
}

fn write_and_rename(
    mut temporary: tempfile::NamedTempFile,
    path: &Path,
    write: &mut dyn FnMut(&mut dyn Target) -> std::io::Result<()>,
) -> Result<()> {
    // Without its lock, a file that takes long to write would be swept as abandoned.
    rustix::fs::flock(
        temporary.as_file(),
        FlockOperation::NonBlockingLockExclusive,
    )
    .map_err(|errno| Error::from_io("locking", path, errno.into()))?;
    write(&mut temporary)
        .and_then(|()| temporary.as_file().sync_all())
        .map_err(|source| Error::from_io("writing", path, source))?;
    set_mode(temporary.path(), 0o644)?;
    temporary
        .persist(path)
        .map(drop)
        .map_err(|failed| Error::from_io("renaming into place", path, failed.error))
}

/// Makes the entries of a directory durable.
pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| Error::from_io("making the directory durable", path, source))
}

/// What became of [`StagingDirectory::publish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The directory is now there under its final name.
    New,
    /// Something already has that name; it was left alone and the staged files were removed.
    Existed,
}

/// A directory under construction, beside the place where it will appear.
///
/// It is removed when dropped unpublished. While it lives it holds an exclusive lock, by which
/// [`sweep_stale`] tells a living writer from a dead one.
#[derive(Debug)]
pub struct StagingDirectory {
    path: PathBuf,
    parent: PathBuf,
    _lock: File,
    published: bool,
}

impl StagingDirectory {
    /// Creates a staging directory inside `parent`, which must exist.
    pub fn create_in(parent: &Path) -> Result<Self> {
        let (path, ()) = staged(|| {
            let directory = tempfile::Builder::new()
                .prefix(TEMPORARY_PREFIX)
                .tempdir_in(parent)
                .map_err(|source| {
                    Error::from_io("creating a temporary directory", parent, source)
                })?;
            Ok((directory.keep(), ()))
        })?;
        let lock = File::open(&path).map_err(|source| Error::from_io("opening", &path, source))?;
        let staging = Self {
            path,
            parent: parent.to_owned(),
            _lock: lock,
            published: false,
        };
        rustix::fs::flock(&staging._lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| Error::from_io("locking", &staging.path, errno.into()))?;
        Ok(staging)
    }

    /// Where the staged files lie.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates a new file, with the directories on its way.
    pub fn create(&self, path: &RelativePath) -> Result<File> {
        let target = path.beneath(&self.path);
        let parent = parent_of(&target);
        fs_err::create_dir_all(parent)
            .map_err(|source| Error::from_io("creating the directory", parent, source))?;
        let file = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&target)
            .map_err(|source| Error::from_io("creating", &target, source))?;
        set_mode(&target, 0o644)?;
        Ok(file)
    }

    /// Replaces a file that was staged before.
    pub fn replace(&self, path: &RelativePath, bytes: &[u8]) -> Result<()> {
        let target = path.beneath(&self.path);
        match fs_err::remove_file(&target) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::from_io("replacing", &target, source))
            }
            _ => self.write(path, bytes),
        }
    }

    /// Writes a new file.
    pub fn write(&self, path: &RelativePath, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(path)?;
        file.write_all(bytes)
            .map_err(|source| Error::from_io("writing", file.path(), source))
    }

    /// Makes everything staged durable and readable by all, and renames it to `name` inside the
    /// parent, without ever replacing what is there.
    pub fn publish(mut self, name: &str) -> Result<Published> {
        sync_tree(&self.path)?;
        let target = self.parent.join(name);
        match rename_without_replacing(&self.path, &target) {
            Ok(()) => forget_staged(&self.path),
            Err(Errno::EXIST | Errno::NOTEMPTY) => return Ok(Published::Existed),
            Err(errno) => return Err(Error::from_io("renaming into place", &target, errno.into())),
        }
        self.published = true;
        sync_directory(&self.parent)?;
        Ok(Published::New)
    }
}

impl Drop for StagingDirectory {
    fn drop(&mut self) {
        if !self.published {
            // A leftover is harmless: the next writer sweeps it.
            let _ = remove_tree(&self.path);
            forget_staged(&self.path);
        }
    }
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

/// Fsyncs every file and directory of a staged tree, children before parents.
fn sync_tree(path: &Path) -> Result<()> {
    let entries =
        fs_err::read_dir(path).map_err(|source| Error::from_io("listing", path, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| Error::from_io("listing", path, source))?;
        let kind = entry
            .file_type()
            .map_err(|source| Error::from_io("listing", entry.path(), source))?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())
                .and_then(|file| file.sync_all())
                .map_err(|source| {
                    Error::from_io("making the file durable", entry.path(), source)
                })?;
        }
    }
    set_mode(path, 0o755)?;
    sync_directory(path)
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
        let old = status
            .modified()
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok())
            .is_some_and(|elapsed| elapsed >= age);
        if !old {
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

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_never_replaces_not_even_an_empty_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let stage = |text: &[u8]| {
            let staging = StagingDirectory::create_in(scratch.path()).unwrap();
            staging
                .write(&RelativePath::parse("models/m").unwrap(), text)
                .unwrap();
            staging
        };
        assert_eq!(stage(b"1").publish("bundle").unwrap(), Published::New);
        assert_eq!(stage(b"2").publish("bundle").unwrap(), Published::Existed);
        assert_eq!(
            fs_err::read(scratch.path().join("bundle/models/m")).unwrap(),
            b"1"
        );
        fs_err::create_dir(scratch.path().join("empty")).unwrap();
        assert_eq!(stage(b"3").publish("empty").unwrap(), Published::Existed);
        assert_eq!(fs_err::read_dir(scratch.path()).unwrap().count(), 2);
    }

    #[test]
    fn sweeping_spares_the_living_and_the_young() {
        let scratch = tempfile::tempdir().unwrap();
        let living = StagingDirectory::create_in(scratch.path()).unwrap();
        fs_err::create_dir(scratch.path().join(format!("{TEMPORARY_PREFIX}dead"))).unwrap();
        fs_err::create_dir(scratch.path().join("bundle")).unwrap();
        assert_eq!(
            sweep_stale(scratch.path(), Duration::from_secs(3600)).unwrap(),
            0
        );
        assert_eq!(sweep_stale(scratch.path(), Duration::ZERO).unwrap(), 1);
        assert!(living.path().exists());
        assert!(scratch.path().join("bundle").exists());
    }
}
