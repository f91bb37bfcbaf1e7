//! An opened bundle: its manifest is what it was when it was sealed; its files are not checked yet.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use amphora_error::{Error, ErrorKind, Result};
use amphora_files::{Digest, Directory, OpenedFile, RelativePath, sha256};
use bytes::Bytes;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::layout::{self, MANIFEST, MANIFEST_DIGEST};
use crate::manifest::{FileEntry, MAX_BYTES};
use crate::{BundleId, Manifest};

/// Longest wait for a publisher or remover that holds the bundle this very moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// An opened bundle.
///
/// It holds a shared lock on the bundle's directory, so that `clean` and `remove` leave it alone,
/// and reaches every file from the opened directory, never again by the bundle's path.
pub struct Bundle {
    directory: Directory,
    manifest: Manifest,
    manifest_digest: Digest,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle")
            .field("path", &self.path())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl Bundle {
    /// Opens the bundle in the directory `path`.
    ///
    /// `manifest.sha256` is compared before `manifest.yaml` is parsed, and the id is computed anew
    /// from the manifest. The other files are checked by [`Bundle::read`], one at a time, and by
    /// [`check_integrity`](crate::check_integrity), all of them.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::in_directory(open_shared(path.as_ref())?)
    }

    /// Opens a bundle that this process is still building, and therefore holds itself; messages
    /// call it `shown`.
    pub(crate) fn open_staged(path: &Path, shown: &Path) -> Result<Self> {
        Self::in_directory(Directory::open(path)?.shown_as(shown))
    }

    fn in_directory(directory: Directory) -> Result<Self> {
        let stated = stated_digest(&directory)?;
        let bytes = open_part(&directory, MANIFEST)?.contents(MAX_BYTES)?;
        let manifest_digest = sha256(&bytes);
        let shown = directory.path().join(MANIFEST);
        if manifest_digest != stated {
            return Err(Error::untrusted(
                "manifest-digest",
                "the manifest is not the one that was sealed with manifest.sha256",
            )
            .expected(stated.to_string())
            .found(manifest_digest.to_string())
            .in_file(shown));
        }
        let manifest = Manifest::parse(&bytes).map_err(|error| error.in_file(&shown))?;
        let computed = manifest.computed_id()?;
        if computed != manifest.identity.id {
            return Err(
                Error::untrusted("bundle-id", "the id does not belong to this content")
                    .expected(manifest.identity.id.to_string())
                    .found(computed.to_string())
                    .in_file(shown),
            );
        }
        Ok(Self {
            directory,
            manifest,
            manifest_digest,
        })
    }

    /// The id.
    pub fn id(&self) -> BundleId {
        self.manifest.identity.id
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The digest of `manifest.yaml`.
    pub fn manifest_digest(&self) -> Digest {
        self.manifest_digest
    }

    /// The opened directory.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The path this bundle was opened by, for messages.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Reads a listed file; exactly the bytes that are returned were compared with the manifest's
    /// size and digest.
    pub fn read(&self, path: &RelativePath) -> Result<Bytes> {
        let (entry, file) = self.open_listed(path)?;
        let bytes = file.contents(entry.size).map_err(|error| {
            if error.rule() != "file-changed" {
                return error;
            }
            Error::untrusted("file-changed", error.message().to_owned()).in_file(file.path())
        })?;
        let found = sha256(&bytes);
        if found != entry.sha256 {
            return Err(changed(&file, &entry.sha256, &found));
        }
        Ok(bytes)
    }

    /// Opens a listed file whose size is the manifest's; its bytes are not compared yet.
    pub(crate) fn open_listed(&self, path: &RelativePath) -> Result<(&FileEntry, OpenedFile)> {
        let entry = self.manifest.file(path).ok_or_else(|| {
            Error::not_found("file-not-listed", "the bundle lists no such file")
                .in_file(path.beneath(self.path()))
        })?;
        let file = self.directory.open_file(path).map_err(missing)?;
        if file.len() != entry.size {
            return Err(Error::untrusted(
                "file-changed",
                "the file is not the one that was sealed",
            )
            .expected(format!("{} bytes", entry.size))
            .found(format!("{} bytes", file.len()))
            .in_file(file.path()));
        }
        Ok((entry, file))
    }

    /// The bytes of a graph and of its external data, keyed by the location that the graph names.
    pub fn graph_bytes(&self, name: &str) -> Result<(Bytes, BTreeMap<String, Bytes>)> {
        graph_bytes(&self.manifest, name, &|path| self.read(path))
    }
}

/// The bytes of a graph and of its external data, from files that `read` has compared.
pub(crate) fn graph_bytes(
    manifest: &Manifest,
    name: &str,
    read: &dyn Fn(&RelativePath) -> Result<Bytes>,
) -> Result<(Bytes, BTreeMap<String, Bytes>)> {
    let graph = manifest.graph(name)?;
    let mut data = BTreeMap::new();
    for path in &graph.data {
        if let Some(location) = layout::location_of(graph, path) {
            data.insert(location.to_owned(), read(path)?);
        }
    }
    Ok((read(&graph.file)?, data))
}

/// The refusal of a file whose bytes are not those of the manifest.
pub(crate) fn changed(file: &OpenedFile, expected: &Digest, found: &Digest) -> Error {
    Error::untrusted("file-changed", "the file is not the one that was sealed")
        .expected(expected.to_string())
        .found(found.to_string())
        .in_file(file.path())
}

/// A listed file that is not there is a broken promise, not a wrong question.
fn missing(error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    let shown = error.file().map(Path::to_owned).unwrap_or_default();
    Error::untrusted("file-missing", "a file of the bundle is missing")
        .in_file(shown)
        .caused_by(error)
}

/// Opens the directory and takes a shared lock on it. A publisher or remover holds its exclusive one
/// only for a moment; when it has taken the name away meanwhile, whatever has the name now counts.
fn open_shared(path: &Path) -> Result<Directory> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let directory = Directory::open(path)?;
        let shared = FlockOperation::NonBlockingLockShared;
        match rustix::fs::flock(directory.descriptor(), shared) {
            Ok(()) if directory.is_current() => return Ok(directory),
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(5)),
            // A file system without locks: nothing can protect readers from `clean` there.
            Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => return Ok(directory),
            Err(errno) => return Err(Error::from_io("locking", path, errno.into())),
        }
    }
    Err(
        Error::busy("bundle-locked", "the bundle is being written or removed")
            .in_file(path)
            .hint("wait until the other command has finished"),
    )
}

/// Opens the manifest or its digest. A directory that has one of the two was a bundle and lost the
/// other; one that has neither is no bundle.
fn open_part(directory: &Directory, name: &str) -> Result<OpenedFile> {
    let opened = directory.open_file(&RelativePath::parse(name)?);
    let error = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => error,
        opened => return opened,
    };
    let other = if name == MANIFEST {
        MANIFEST_DIGEST
    } else {
        MANIFEST
    };
    if directory.open_file(&RelativePath::parse(other)?).is_ok() {
        return Err(missing(error));
    }
    Err(Error::not_found(
        "not-a-bundle",
        format!("this is not a bundle: it has no {name}"),
    )
    .in_file(directory.path())
    .hint("name the directory that holds manifest.yaml, or a bundle of the store (amphora list)"))
}

/// The content of `manifest.sha256` for a manifest with this digest.
pub(crate) fn digest_file(digest: &Digest) -> String {
    format!("{digest}  {MANIFEST}\n")
}

/// The digest in `manifest.sha256`, which has exactly one form.
pub(crate) fn stated_digest(directory: &Directory) -> Result<Digest> {
    let file = open_part(directory, MANIFEST_DIGEST)?;
    let refuse = || {
        Error::untrusted(
            "manifest-digest-form",
            "the manifest's digest is not in the form that was sealed",
        )
        .expected(format!("a SHA-256 digest, two spaces and {MANIFEST}"))
        .in_file(file.path())
    };
    let bytes = file.contents(1024).map_err(|error| match error.kind() {
        ErrorKind::Limit => refuse(),
        _ => error,
    })?;
    let digest = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.get(..64))
        .and_then(|text| Digest::parse(text).ok())
        .ok_or_else(refuse)?;
    if bytes != digest_file(&digest).as_bytes() {
        return Err(refuse());
    }
    Ok(digest)
}
