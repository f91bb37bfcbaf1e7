//! A directory that appears whole or not at all.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use amphora_error::{Error, Result};
use fs_err::File;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{
    TEMPORARY_PREFIX, expect_room, forget_staged, hold, name_staged, parent_of, remove_tree,
    rename_without_replacing, reserve, set_mode, staged, sync_directory, with_needed,
};
use crate::{Digest, OpenedFile, RelativePath};

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
/// [`super::sweep_stale`] tells a living writer from a dead one.
#[derive(Debug)]
pub struct StagingDirectory {
    path: PathBuf,
    parent: PathBuf,
    lock: File,
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
            lock,
            published: false,
        };
        hold(&staging.lock)
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
        let size = bytes.len() as u64;
        reserve(&file, size)
            .and_then(|()| {
                file.write_all(bytes)
                    .map_err(|source| Error::from_io("writing", file.path(), source))
            })
            .map_err(|error| self.with_needed(error, size))
    }

    /// Copies an opened file to a new one, and returns the digest of the copied bytes.
    pub fn copy(&self, path: &RelativePath, source: &OpenedFile) -> Result<Digest> {
        let mut target = self.create(path)?;
        reserve(&target, source.len())
            .and_then(|()| source.copy_to(&mut target))
            .map_err(|error| self.with_needed(error, source.len()))
    }

    /// See [`super::with_needed`].
    pub fn with_needed(&self, error: Error, needed: u64) -> Error {
        with_needed(error, &self.path, needed)
    }

    /// See [`super::expect_room`].
    pub fn expect_room(&self, bytes: u64) -> Result<()> {
        expect_room(&self.path, bytes)
    }

    /// Makes everything staged durable and readable by all. Publishing does that too; who publishes
    /// under a lock does it before taking the lock, which is then short.
    pub fn sync(&self) -> Result<()> {
        sync_tree(&self.path)
    }

    /// Makes everything staged durable and readable by all, and renames it to `name` inside the
    /// parent, without ever replacing what is there.
    ///
    /// When the parent cannot be made durable the name is taken back: a crash could lose it.
    pub fn publish(mut self, name: &str) -> Result<Published> {
        self.sync()?;
        let target = self.parent.join(name);
        match name_staged(&self.path, || rename_without_replacing(&self.path, &target)) {
            Ok(()) => {
                self.published = true;
                // Readers of the published directory need not wait for what follows.
                let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
            }
            Err(Errno::EXIST | Errno::NOTEMPTY) => return Ok(Published::Existed),
            Err(errno) => return Err(Error::from_io("renaming into place", &target, errno.into())),
        }
        if let Err(error) = sync_directory(&self.parent) {
            self.published = rename_without_replacing(&target, &self.path).is_err();
            return Err(error);
        }
        Ok(Published::New)
    }
}

impl Drop for StagingDirectory {
    fn drop(&mut self) {
        if !self.published {
            // A leftover is harmless: the next writer sweeps it.
            let _ = remove_tree(&self.path);
        }
        forget_staged(&self.path);
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::sweep_stale;
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

    #[test]
    fn leftovers_from_the_future_are_swept_too() {
        let scratch = tempfile::tempdir().unwrap();
        let dead = scratch.path().join(format!("{TEMPORARY_PREFIX}dead"));
        fs_err::create_dir(&dead).unwrap();
        let ahead = SystemTime::now() + Duration::from_secs(40_000_000);
        let opened = File::open(&dead).unwrap().into_file();
        opened.set_modified(ahead).unwrap();
        assert_eq!(
            sweep_stale(scratch.path(), Duration::from_secs(3600)).unwrap(),
            1
        );
    }
}
