//! From an archive to staged files: the rules that hold for every format.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};

use amphora_error::{Error, Result, quoted};
use amphora_files::durable::StagingDirectory;
use amphora_files::{OpenedFile, RelativePath};

use super::{ArchiveFormat, tar, zip};

/// Largest window that a Zstandard frame may ask for: 2^27 bytes.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Size of the pieces in which members are written, in bytes.
const PIECE: usize = 1 << 18;

/// How much an archive may unpack to.
#[derive(Debug, Clone)]
pub struct ImportLimits {
    /// Most members, folders included.
    pub members: u64,
    /// Most unpacked bytes.
    pub bytes: u64,
    /// Most unpacked bytes for each byte of the archive ...
    pub ratio: u64,
    /// ... beyond these, which small archives may always unpack to.
    pub ratio_from: u64,
}

impl Default for ImportLimits {
    fn default() -> Self {
        Self {
            members: 10_000,
            bytes: 64 << 30,
            ratio: 200,
            ratio_from: 16 << 20,
        }
    }
}

/// Unpacks `file`, which holds one folder, into `staging`. The format is told by the content, not by
/// the name.
pub(crate) fn extract(
    file: &OpenedFile,
    staging: &StagingDirectory,
    limits: &ImportLimits,
) -> Result<()> {
    unpack(file, staging, limits, Top::Folder(None))
}

/// Unpacks `file`, which holds the files themselves, into `staging`.
pub(crate) fn extract_flat(
    file: &OpenedFile,
    staging: &StagingDirectory,
    limits: &ImportLimits,
) -> Result<()> {
    unpack(file, staging, limits, Top::Files)
}

fn unpack(
    file: &OpenedFile,
    staging: &StagingDirectory,
    limits: &ImportLimits,
    top: Top,
) -> Result<()> {
    let start = file.range(0, file.len().min(512))?;
    let format = ArchiveFormat::sniff(&start).ok_or_else(|| {
        Error::malformed("archive-format", "this is not an archive")
            .expected("a zip, tar, tar.gz or tar.zst file")
            .found(if start.is_empty() {
                "an empty file"
            } else {
                "other bytes"
            })
            .in_file(file.path())
    })?;
    let most = limits
        .ratio
        .saturating_mul(file.len())
        .max(limits.ratio_from)
        .min(limits.bytes);
    let mut target = Extraction::new(staging, limits, most, top);
    read(file, format, most, &mut target).map_err(|error| error.in_file(file.path()))
}

fn read(
    file: &OpenedFile,
    format: ArchiveFormat,
    most: u64,
    target: &mut Extraction<'_>,
) -> Result<()> {
    let source = || {
        Ok::<_, Error>(BufReader::with_capacity(
            PIECE,
            file.section(0, file.len())?,
        ))
    };
    match format {
        ArchiveFormat::Zip => zip::read(file, target),
        ArchiveFormat::Tar => tar::read(&mut source()?, target),
        ArchiveFormat::TarGz => {
            let mut gzip = Bounded::new(flate2::bufread::GzDecoder::new(source()?), most);
            tar::read(&mut gzip, target)?;
            nothing_follows(gzip.inner.into_inner())
        }
        ArchiveFormat::TarZst => {
            let mut decoder = zstd::Decoder::with_buffer(source()?)
                .map_err(unreadable)?
                .single_frame();
            decoder
                .window_log_max(ZSTD_WINDOW_LOG)
                .map_err(unreadable)?;
            let mut zstd = Bounded::new(decoder, most);
            tar::read(&mut zstd, target)?;
            nothing_follows(zstd.inner.finish())
        }
    }
}

fn nothing_follows(mut rest: impl BufRead) -> Result<()> {
    if rest.fill_buf().map_err(unreadable)?.is_empty() {
        return Ok(());
    }
    Err(Error::malformed(
        "archive-tail",
        "bytes follow the end of the compressed archive",
    ))
}

/// What lies at the top of an archive.
enum Top {
    /// One folder, by its name once that is known.
    Folder(Option<String>),
    /// The files themselves.
    Files,
}

/// The files that were unpacked so far.
pub(super) struct Extraction<'a> {
    staging: &'a StagingDirectory,
    limits: &'a ImportLimits,
    left: u64,
    members: u64,
    top: Top,
    files: BTreeSet<String>,
    folders: BTreeMap<String, String>,
}

impl<'a> Extraction<'a> {
    fn new(staging: &'a StagingDirectory, limits: &'a ImportLimits, most: u64, top: Top) -> Self {
        Self {
            staging,
            limits,
            left: most,
            members: 0,
            top,
            files: BTreeSet::new(),
            folders: BTreeMap::new(),
        }
    }

    /// A folder; it appears when a file lies in it.
    pub(super) fn folder(&mut self, name: &str) -> Result<()> {
        self.count()?;
        let name = self.without_dot(name);
        if name.is_empty() {
            return Ok(());
        }
        let path = member_path(name)?;
        match self.beneath_top(&path)? {
            Some(rest) => self.claim_folders(&rest, true),
            None => Ok(()),
        }
    }

    /// A file of exactly `size` bytes.
    pub(super) fn file(&mut self, name: &str, size: u64, source: &mut dyn Read) -> Result<()> {
        self.count()?;
        let name = self.without_dot(name);
        let path = member_path(name)?;
        let rest = self.beneath_top(&path)?.ok_or_else(|| {
            Error::malformed("archive-top", "a file lies outside the bundle's folder")
                .at(member(name))
                .hint("pack the folder of the bundle, not the files in it")
        })?;
        self.claim_folders(&rest, false)?;
        let key = rest.collision_key();
        if self.folders.contains_key(&key) || !self.files.insert(key) {
            return Err(twice(name));
        }
        if size > self.left {
            return Err(too_large(self.left, size).at(member(name)));
        }
        self.left -= size;
        self.copy(&rest, size, source)
            .map_err(|error| error.at(member(name)))
    }

    /// How many bytes may still be unpacked.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// How many members may still follow.
    pub(super) fn members_left(&self) -> u64 {
        self.limits.members.saturating_sub(self.members)
    }

    fn count(&mut self) -> Result<()> {
        self.members += 1;
        if self.members > self.limits.members {
            return Err(too_many_members(self.limits.members));
        }
        Ok(())
    }

    /// The name without the `./` that archives of the files of a folder begin their names with.
    fn without_dot<'n>(&self, name: &'n str) -> &'n str {
        match self.top {
            Top::Files if name == "." => "",
            Top::Files => name.strip_prefix("./").unwrap_or(name),
            Top::Folder(_) => name,
        }
    }

    /// Where a member goes; `None` for what has the place of the top folder itself.
    fn beneath_top(&mut self, path: &RelativePath) -> Result<Option<RelativePath>> {
        let Top::Folder(known) = &mut self.top else {
            return Ok(Some(path.clone()));
        };
        let (top, rest) = match path.as_str().split_once('/') {
            Some((top, rest)) => (top, Some(RelativePath::parse(rest)?)),
            None => (path.as_str(), None),
        };
        let known = known.get_or_insert_with(|| top.to_owned());
        if known == top {
            return Ok(rest);
        }
        Err(
            Error::malformed("archive-top", "the archive holds more than one folder")
                .expected(quoted(known).to_string())
                .found(quoted(top).to_string()),
        )
    }

    /// Notes the folders on the way to `path` (and `path` itself when it is one); a folder is always
    /// written the same way and never is a file as well.
    fn claim_folders(&mut self, path: &RelativePath, itself: bool) -> Result<()> {
        let text = path.as_str();
        let ends = text.match_indices('/').map(|(at, _)| at);
        for end in ends.chain(itself.then_some(text.len())) {
            let folder = RelativePath::parse(&text[..end])?;
            let key = folder.collision_key();
            if self.files.contains(&key) {
                return Err(twice(text));
            }
            let known = self
                .folders
                .entry(key)
                .or_insert_with(|| folder.to_string());
            if *known != folder.as_str() {
                return Err(twice(text));
            }
        }
        Ok(())
    }

    fn copy(&self, path: &RelativePath, size: u64, source: &mut dyn Read) -> Result<()> {
        let mut target = self.staging.create(path)?;
        let mut piece = vec![0; PIECE];
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            let read = source.read(&mut piece[..wanted]).map_err(unreadable)?;
            if read == 0 {
                return Err(truncated());
            }
            target.write_all(&piece[..read]).map_err(|source| {
                let error = Error::from_io("writing", target.path(), source);
                self.staging.with_needed(error, size)
            })?;
            left -= read as u64;
        }
        Ok(())
    }
}

fn member_path(name: &str) -> Result<RelativePath> {
    RelativePath::parse(name).map_err(|error| error.at(member(name)))
}

pub(super) fn member(name: &str) -> String {
    format!("member {}", quoted(name))
}

fn twice(name: &str) -> Error {
    Error::malformed(
        "archive-twins",
        "two members are one file on some platforms",
    )
    .at(member(name))
}

pub(super) fn too_many_members(limit: u64) -> Error {
    Error::limit("archive-members", "the archive has too many members")
        .expected(format!("at most {limit}"))
}

pub(super) fn too_large(left: u64, size: u64) -> Error {
    Error::limit("archive-bytes", "the archive unpacks to too many bytes")
        .expected(format!("at most {left} more bytes"))
        .found(format!("{size} bytes"))
}

pub(super) fn truncated() -> Error {
    Error::malformed("archive-truncated", "the archive ends too early")
        .hint("get the archive again: the copy is not complete")
}

/// The error behind a failed read of archive bytes: the operating system's, a limit, or damage.
pub(super) fn unreadable(source: io::Error) -> Error {
    if let Some(most) = source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<OverBudget>())
    {
        return Error::limit("archive-ratio", "the archive unpacks to too many bytes").expected(
            format!("at most {} bytes from an archive of this size", most.0),
        );
    }
    if source.raw_os_error().is_some() {
        return Error::io("io", format!("reading the archive failed: {source}"));
    }
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return truncated();
    }
    Error::malformed("archive-damaged", "the archive is damaged").caused_by(source)
}

/// A decompressor whose output is counted while it is read.
struct Bounded<R> {
    inner: R,
    most: u64,
    read: u64,
}

#[derive(Debug)]
struct OverBudget(u64);

impl std::fmt::Display for OverBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "more than {} bytes", self.0)
    }
}

impl std::error::Error for OverBudget {}

impl<R> Bounded<R> {
    /// Member headers and padding come on top of the members' bytes.
    fn new(inner: R, most: u64) -> Self {
        Self {
            inner,
            most: most.saturating_add(most / 8).saturating_add(1 << 20),
            read: 0,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read = self.read.saturating_add(read as u64);
        if self.read > self.most {
            return Err(io::Error::other(OverBudget(self.most)));
        }
        Ok(read)
    }
}
