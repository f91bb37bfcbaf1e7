//! An open file whose size is known before a byte is read.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use amphora_error::{Error, Result};
use bytes::Bytes;
use fs_err::File;
use rustix::fs::{FileType, Mode, OFlags};

use crate::{Digest, Hasher, memory};

/// From this size on, a file is copied into a sealed memory file and mapped from there.
const MAPPED_FROM: u64 = 1 << 20;
/// From this size on, a file is compared with the memory that is available before it is copied.
const WEIGHED_FROM: u64 = 64 << 20;
/// Size of the pieces in which files are read and hashed, in bytes.
const PIECE: usize = 1 << 18;

/// A regular file, opened, with the size it had when it was opened.
#[derive(Debug)]
pub struct OpenedFile {
    file: File,
    len: u64,
    links: u64,
}

impl OpenedFile {
    /// Opens a regular file that a person named. Symbolic links are followed; a directory, FIFO or
    /// device is refused without blocking.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| Error::from_io("opening", path, errno.into()))?;
        Self::from_descriptor(descriptor, path.to_owned())
    }

    pub(crate) fn from_descriptor(descriptor: OwnedFd, path: PathBuf) -> Result<Self> {
        let status = rustix::fs::fstat(&descriptor)
            .map_err(|errno| Error::from_io("reading the status", &path, errno.into()))?;
        let found = match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => None,
            FileType::Directory => Some("a directory"),
            FileType::Fifo => Some("a FIFO"),
            FileType::Socket => Some("a socket"),
            _ => Some("a device"),
        };
        if let Some(found) = found {
            return Err(
                Error::malformed("not-a-regular-file", "this is not a regular file")
                    .expected("a regular file")
                    .found(found)
                    .in_file(&path),
            );
        }
        let len = u64::try_from(status.st_size)
            .map_err(|_| Error::io("file-size", "the size is negative").in_file(&path))?;
        #[allow(
            clippy::useless_conversion,
            reason = "the type of the link count depends on the platform"
        )]
        let links = u64::try_from(status.st_nlink).unwrap_or(u64::MAX);
        #[expect(
            clippy::disallowed_types,
            reason = "wrapped at once, together with its path"
        )]
        let file = File::from_parts(std::fs::File::from(descriptor), path);
        Ok(Self { file, len, links })
    }

    /// The size in bytes, as it was when the file was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of hard links.
    pub fn links(&self) -> u64 {
        self.links
    }

    /// The path this file was opened by, for messages.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The whole content, in memory that no other process can change or truncate.
    ///
    /// Small files are read; larger ones are copied into a sealed memory file and mapped from
    /// there, so that decoding borrows from the map and a file that shrinks meanwhile cannot kill
    /// the process. More than `limit` bytes, or more than the memory that is available, are refused
    /// before anything is allocated.
    pub fn contents(&self, limit: u64) -> Result<Bytes> {
        if self.len > limit {
            return Err(Error::limit("file-size", "the file is too large")
                .expected(format!("at most {limit} bytes"))
                .found(format!("{} bytes", self.len))
                .in_file(self.path()));
        }
        if let Some(available) = memory::available().filter(|_| self.len >= WEIGHED_FROM)
            && self.len > available
        {
            // A file of terabytes can consist of one hole.
            return Err(Error::limit("memory", "the file does not fit into memory")
                .expected(format!("at most {available} bytes"))
                .found(format!("{} bytes", self.len))
                .in_file(self.path()));
        }
        #[cfg(target_os = "linux")]
        if self.len >= MAPPED_FROM
            && let Ok(memory) = rustix::fs::memfd_create(
                "amphora",
                rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING,
            )
        {
            return self.sealed(memory);
        }
        self.range(0, self.len).map(Bytes::from)
    }

    #[cfg(target_os = "linux")]
    fn sealed(&self, memory: OwnedFd) -> Result<Bytes> {
        use rustix::fs::SealFlags;
        #[expect(clippy::disallowed_types, reason = "a memory file has no path to name")]
        let mut memory = std::fs::File::from(memory);
        let mut left = self.rewound()?.take(self.len);
        let copied = std::io::copy(&mut left, &mut memory)
            .map_err(|source| Error::from_io("reading", self.path(), source))?;
        self.complete(copied)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        match rustix::fs::fcntl_add_seals(&memory, seals) {
            Ok(()) => {}
            // On a busy machine the kernel may still hold pages of the copy, and then does not seal it.
            Err(rustix::io::Errno::BUSY) => return self.range(0, self.len).map(Bytes::from),
            Err(errno) => {
                return Err(Error::from_io("sealing a copy", self.path(), errno.into()));
            }
        }
        // SAFETY: the memory file is private to this process and sealed against writing, growing
        // and shrinking, so the mapped bytes never change and never vanish.
        #[expect(
            unsafe_code,
            reason = "mapping is the only way to borrow from a memory file"
        )]
        let map = unsafe { memmap2::Mmap::map(&memory) }
            .map_err(|source| Error::from_io("mapping a copy", self.path(), source))?;
        Ok(Bytes::from_owner(map))
    }

    /// `length` bytes from `offset` on; a range outside the file is refused before allocating.
    pub fn range(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let inside = offset
            .checked_add(length)
            .is_some_and(|end| end <= self.len);
        let wanted = usize::try_from(length)
            .ok()
            .filter(|_| inside)
            .ok_or_else(|| self.outside(offset, length))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(wanted).map_err(|_| {
            Error::limit("memory", format!("{length} bytes do not fit into memory"))
                .in_file(self.path())
        })?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))
            .map_err(|source| Error::from_io("reading", self.path(), source))?;
        let read = file
            .take(length)
            .read_to_end(&mut bytes)
            .map_err(|source| Error::from_io("reading", self.path(), source))?;
        if read != wanted {
            return Err(self.changed());
        }
        Ok(bytes)
    }

    /// The digest of the whole content, read in pieces.
    pub fn digest(&self) -> Result<Digest> {
        self.copy_to(&mut std::io::sink())
    }

    /// Copies the whole content to `target` and returns the digest of the copied bytes.
    pub fn copy_to(&self, target: &mut dyn Write) -> Result<Digest> {
        let mut source = self.rewound()?.take(self.len);
        let mut piece = vec![0; PIECE];
        let mut hasher = Hasher::default();
        let mut copied = 0;
        loop {
            let read = source
                .read(&mut piece)
                .map_err(|source| Error::from_io("reading", self.path(), source))?;
            if read == 0 {
                break;
            }
            hasher.update(&piece[..read]);
            target
                .write_all(&piece[..read])
                .map_err(|source| Error::from_io("copying", self.path(), source))?;
            copied += read as u64;
        }
        self.complete(copied)?;
        Ok(hasher.finish())
    }

    /// `length` bytes from `offset` on, to be read piece by piece; a range outside the file is
    /// refused at once. Several sections of one file can be read at the same time.
    pub fn section(&self, offset: u64, length: u64) -> Result<Section<'_>> {
        let end = offset
            .checked_add(length)
            .filter(|end| *end <= self.len)
            .ok_or_else(|| self.outside(offset, length))?;
        Ok(Section {
            file: self,
            position: offset,
            end,
        })
    }

    fn outside(&self, offset: u64, length: u64) -> Error {
        Error::malformed("range-outside-file", "the range lies outside the file")
            .expected(format!("a range within {} bytes", self.len))
            .found(format!("offset {offset}, length {length}"))
            .in_file(self.path())
    }

    fn rewound(&self) -> Result<&File> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))
            .map_err(|source| Error::from_io("reading", self.path(), source))?;
        Ok(file)
    }

    fn complete(&self, read: u64) -> Result<()> {
        if read == self.len {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    fn changed(&self) -> Error {
        Error::io("file-changed", "the file shrank while it was read").in_file(self.path())
    }
}

/// A part of an [`OpenedFile`], read by position: it moves no shared cursor.
#[derive(Debug)]
pub struct Section<'a> {
    file: &'a OpenedFile,
    position: u64,
    end: u64,
}

impl Section<'_> {
    /// How many bytes are left.
    pub fn left(&self) -> u64 {
        self.end - self.position
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = usize::try_from(self.left()).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = rustix::io::pread(&self.file.file, &mut buffer[..wanted], self.position)?;
        if read == 0 {
            return Err(std::io::Error::new(
                std::io::ErrorKind::UnexpectedEof,
                "the file shrank while it was read",
            ));
        }
        self.position += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_survive_truncation_of_the_file() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("weights");
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        crate::durable::write_file(&path, &bytes).unwrap();
        let opened = OpenedFile::open(&path).unwrap();
        let contents = opened.contents(u64::MAX).unwrap();
        fs_err::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        assert_eq!(contents, bytes);
        assert_eq!(
            opened.contents(u64::MAX).unwrap_err().rule(),
            "file-changed"
        );
    }

    #[test]
    fn sections_are_read_independently_and_end_where_they_should() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("eight");
        crate::durable::write_file(&path, b"01234567").unwrap();
        let opened = OpenedFile::open(&path).unwrap();
        let mut first = opened.section(1, 3).unwrap();
        let mut second = opened.section(4, 4).unwrap();
        let (mut a, mut b) = (String::new(), String::new());
        second.read_to_string(&mut b).unwrap();
        first.read_to_string(&mut a).unwrap();
        assert_eq!((a.as_str(), b.as_str(), first.left()), ("123", "4567", 0));
        assert_eq!(
            opened.section(5, 4).unwrap_err().rule(),
            "range-outside-file"
        );
        fs_err::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(2)
            .unwrap();
        let mut rest = Vec::new();
        assert!(
            opened
                .section(0, 8)
                .unwrap()
                .read_to_end(&mut rest)
                .is_err()
        );
    }

    #[test]
    fn ranges_are_checked_before_allocating() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("eight");
        crate::durable::write_file(&path, b"01234567").unwrap();
        let opened = OpenedFile::open(&path).unwrap();
        assert_eq!(opened.range(2, 3).unwrap(), b"234");
        assert_eq!(opened.range(8, 0).unwrap(), b"");
        for (offset, length) in [(0, 9), (8, 1), (0, 1 << 62), (u64::MAX, 2)] {
            assert_eq!(
                opened.range(offset, length).unwrap_err().rule(),
                "range-outside-file"
            );
        }
        assert_eq!(opened.contents(7).unwrap_err().rule(), "file-size");
    }
}
