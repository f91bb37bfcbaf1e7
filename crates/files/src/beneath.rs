//! Opening files that another file names.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use amphora_error::{Error, Result};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::{OpenedFile, RelativePath};

/// How often a name is resolved anew when a rename came between.
#[cfg(target_os = "linux")]
const RACES: usize = 128;

/// An opened directory. Everything reached through it lies beneath it, whatever links or renames
/// happen meanwhile: names are resolved from the descriptor, never again from the path.
pub struct Directory {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Directory {
    /// Opens the directory a person named; symbolic links on the way are the person's choice.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(descriptor) => Ok(Self {
                descriptor,
                path: path.to_owned(),
            }),
            Err(Errno::NOTDIR) => {
                Err(Error::malformed("not-a-directory", "this is not a directory").in_file(path))
            }
            Err(errno) => Err(Error::from_io("opening the directory", path, errno.into())),
        }
    }

    /// The path this directory was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same directory, called `path` in messages: what a temporary directory stands for.
    #[must_use]
    pub fn shown_as(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = path.into();
        self
    }

    /// Whether the path it was opened by still leads to this directory.
    pub fn is_current(&self) -> bool {
        let identity = |status: rustix::fs::Stat| (status.st_dev, status.st_ino);
        let opened = rustix::fs::fstat(&self.descriptor).map(identity);
        opened.is_ok() && opened == rustix::fs::stat(&self.path).map(identity)
    }

    /// The descriptor, for operations relative to this directory.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Opens a regular file beneath this directory.
    ///
    /// No component may be a symbolic link, the file may have no second hard link and must be a
    /// regular file; a FIFO or a device is refused without blocking. `openat2` resolves the whole
    /// name at once where the kernel has it; elsewhere each component is opened from the descriptor
    /// of the one before.
    pub fn open_file(&self, path: &RelativePath) -> Result<OpenedFile> {
        let shown = path.beneath(&self.path);
        let descriptor = self
            .resolve(path, OFlags::RDONLY | OFlags::NONBLOCK)
            .map_err(|errno| refusal(errno, &shown))?;
        let file = OpenedFile::from_descriptor(descriptor, shown)?;
        if file.links() > 1 {
            return Err(Error::malformed(
                "hard-link",
                "the file has a second hard link, so something else can change it",
            )
            .in_file(file.path())
            .hint("copy the file, so that it stands alone"));
        }
        Ok(file)
    }

    /// Opens a directory beneath this one, under the same rules.
    pub fn open_directory(&self, path: &RelativePath) -> Result<Self> {
        let shown = path.beneath(&self.path);
        let descriptor = self
            .resolve(path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|errno| refusal(errno, &shown))?;
        Ok(Self {
            descriptor,
            path: shown,
        })
    }

    /// The names in this directory and what they are, sorted, without `.` and `..`.
    ///
    /// Links are listed as what they are, never followed. A name that is not UTF-8 is shown with
    /// replacement characters and as [`EntryKind::Other`]: no [`RelativePath`] can name it.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let failed = |errno: Errno| Error::from_io("listing", &self.path, errno.into());
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.descriptor).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let kind = match std::str::from_utf8(bytes) {
                Ok(_) => self.kind(&entry).map_err(failed)?,
                Err(_) => EntryKind::Other,
            };
            entries.push(Entry {
                name: String::from_utf8_lossy(bytes).into_owned(),
                kind,
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn kind(&self, entry: &rustix::fs::DirEntry) -> Result<EntryKind, Errno> {
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            let status = rustix::fs::statat(&self.descriptor, entry.file_name(), flags)?;
            kind = FileType::from_raw_mode(status.st_mode);
        }
        Ok(match kind {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Link,
            _ => EntryKind::Other,
        })
    }

    fn resolve(&self, path: &RelativePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            let how =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            for _ in 0..RACES {
                match rustix::fs::openat2(
                    &self.descriptor,
                    path.as_str(),
                    flags,
                    Mode::empty(),
                    how,
                ) {
                    // A canonical path cannot lead out: something on the way was renamed just now.
                    Err(Errno::XDEV | Errno::AGAIN) => {}
                    Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => break,
                    answer => return answer,
                }
            }
        }
        self.resolve_stepwise(path, flags)
    }

    fn resolve_stepwise(&self, path: &RelativePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut components = path.components().peekable();
        let mut current: Option<OwnedFd> = None;
        while let Some(component) = components.next() {
            let step = if components.peek().is_some() {
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
            } else {
                flags
            };
            let from = current.as_ref().unwrap_or(&self.descriptor);
            current = Some(rustix::fs::openat(
                from,
                component,
                step | OFlags::NOFOLLOW,
                Mode::empty(),
            )?);
        }
        current.ok_or(Errno::NOENT)
    }
}

/// One name in a [`Directory`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// What has this name.
    pub kind: EntryKind,
}

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A FIFO, socket or device, or a name that is not UTF-8.
    Other,
}

fn refusal(errno: Errno, path: &Path) -> Error {
    match errno {
        Errno::LOOP | Errno::MLINK => Error::malformed(
            "symbolic-link",
            "a symbolic link is on the way to this file",
        )
        .in_file(path)
        .hint("replace the link by the file itself"),
        Errno::XDEV => Error::malformed("outside-directory", "the path leads out of the directory")
            .in_file(path),
        Errno::NOTDIR => Error::malformed(
            "not-a-directory",
            "a component of the path is not a directory",
        )
        .in_file(path),
        Errno::NXIO => {
            Error::malformed("not-a-regular-file", "this is not a regular file").in_file(path)
        }
        errno => Error::from_io("opening", path, errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    type Resolve = fn(&Directory, &RelativePath, OFlags) -> Result<OwnedFd, Errno>;

    #[test]
    fn both_ways_of_resolving_refuse_links_and_accept_plain_files() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("model");
        fs_err::create_dir_all(root.join("sub")).unwrap();
        for (path, text) in [
            ("secret", "s"),
            ("model/plain", "p"),
            ("model/sub/inner", "i"),
        ] {
            crate::durable::write_file(&scratch.path().join(path), text.as_bytes()).unwrap();
        }
        symlink("../secret", root.join("final-link")).unwrap();
        symlink("sub", root.join("parent-link")).unwrap();
        let directory = Directory::open(&root).unwrap();
        let ways: [(&str, Resolve); 2] = [
            ("openat2", Directory::resolve),
            ("stepwise", Directory::resolve_stepwise),
        ];
        let rows = [
            ("plain", true),
            ("sub/inner", true),
            ("final-link", false),
            ("parent-link/inner", false),
            ("absent", false),
        ];
        let mut wrong = Vec::new();
        for (name, resolve) in ways {
            for (path, accepted) in rows {
                let answer = resolve(
                    &directory,
                    &RelativePath::parse(path).unwrap(),
                    OFlags::RDONLY | OFlags::CLOEXEC,
                );
                if answer.is_ok() != accepted {
                    wrong.push(format!("{name} {path}: {answer:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn entries_name_what_is_there_without_following() {
        let scratch = tempfile::tempdir().unwrap();
        crate::durable::write_file(&scratch.path().join("file"), b"x").unwrap();
        fs_err::create_dir(scratch.path().join("directory")).unwrap();
        symlink("/", scratch.path().join("link")).unwrap();
        let directory = Directory::open(scratch.path()).unwrap();
        for _ in 0..2 {
            let entries = directory.entries().unwrap();
            let found: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.kind)).collect();
            assert_eq!(
                found,
                [
                    ("directory", EntryKind::Directory),
                    ("file", EntryKind::File),
                    ("link", EntryKind::Link)
                ]
            );
        }
    }

    #[test]
    fn every_file_that_is_not_plain_is_refused_by_its_rule() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        crate::durable::write_file(&root.join("outside"), b"x").unwrap();
        fs_err::create_dir(root.join("model")).unwrap();
        fs_err::create_dir(root.join("model/directory")).unwrap();
        fs_err::hard_link(root.join("outside"), root.join("model/hard")).unwrap();
        symlink("../outside", root.join("model/soft")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("model/fifo"),
            FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let directory = Directory::open(root.join("model")).unwrap();
        let rows = [
            ("hard", "hard-link"),
            ("soft", "symbolic-link"),
            ("fifo", "not-a-regular-file"),
            ("directory", "not-a-regular-file"),
            ("absent", "file-not-found"),
            ("hard/below", "not-a-directory"),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter_map(|(path, rule)| {
                let answer = directory.open_file(&RelativePath::parse(path).unwrap());
                match answer {
                    Err(error) if error.rule() == *rule => None,
                    Err(error) => Some(format!("{path}: {error:?}")),
                    Ok(_) => Some(format!("{path}: accepted")),
                }
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
