//! The store: a directory of bundles, each under the first 12 digits of its id.

mod import;
mod lock;
mod publish;
mod remove;
mod resolve;

use std::path::{Path, PathBuf};
use std::time::Duration;

use amphora_error::{Error, ErrorKind, Result, quoted};
use amphora_files::{Directory, EntryKind, OpenedFile, durable, json};
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use publish::Destination;
pub use publish::Publication;
pub use remove::Cleaned;

use crate::{Bundle, BundleId, Draft, Name, Timestamp, Version, metrics};

/// Where a store lies when nothing else is said.
pub const DEFAULT_STORE: &str = "artifacts";
/// How long a writer waits for another one when nothing else is said.
pub const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The file that says which version of the store's layout this is.
const MARKER: &str = ".amphora-store";
/// The version of the layout that this code writes.
const STORE_VERSION: u64 = 1;
/// Begins the names of files that belong to the store itself.
const OWN_PREFIX: &str = ".amphora-";
/// How many foreign entries are named in a warning.
const NAMED_FOREIGN: usize = 5;

/// A store of bundles on disk. Opening one creates nothing; the first write does.
///
/// Readers need no lock. Writers stage their work beside its final place and take the store's lock
/// for the moment in which names change.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    lock_timeout: Duration,
}

/// What [`Store::list`] found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Listing {
    /// The bundles, newest first (by `created`, then by id).
    pub bundles: Vec<Summary>,
    /// What was passed over, and why.
    pub warnings: Vec<String>,
}

/// What lies in a store, by name.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// The folders of bundles, damaged ones included.
    pub folders: Vec<String>,
    /// Bundles that were set aside, and what is no part of the store.
    pub warnings: Vec<String>,
}

/// One bundle of a store, as its manifest describes it; its files were not checked.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The id.
    pub id: BundleId,
    /// The first 12 digits of the id.
    pub exp_hash: String,
    /// Namespace and name.
    pub name: Name,
    /// The version.
    pub version: Version,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Where it lies.
    pub path: PathBuf,
    /// The deployment formats that are there.
    pub formats: Vec<String>,
    /// How many files the manifest lists.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The metric `accuracy`, where the bundle states it.
    pub accuracy: Option<f64>,
}

impl Summary {
    /// The summary of an opened bundle.
    pub fn of(bundle: &Bundle) -> Self {
        let manifest = bundle.manifest();
        let present = |entry: &crate::manifest::FormatEntry| entry.file.is_some();
        let stated = manifest.assets.metrics.as_ref();
        let accuracy = stated
            .and_then(|path| bundle.read(path).ok())
            .and_then(|bytes| metrics::parse_metrics(&bytes).ok())
            .and_then(|metrics| metrics.get("accuracy").copied());
        Self {
            id: bundle.id(),
            exp_hash: bundle.id().exp_hash(),
            name: manifest.metadata.full_name(),
            version: manifest.metadata.version.clone(),
            created: manifest.metadata.created.clone(),
            path: bundle.path().to_owned(),
            formats: manifest
                .formats
                .iter()
                .filter(|(_, entry)| present(entry))
                .map(|(name, _)| name.clone())
                .collect(),
            files: manifest.files.len(),
            bytes: manifest.files.iter().map(|file| file.size).sum(),
            accuracy,
        }
    }

    /// Sorts newest first; bundles without a date come last.
    fn newest_first(summaries: &mut [Self]) {
        summaries.sort_by(|a, b| (&b.created, &b.id).cmp(&(&a.created, &a.id)));
    }
}

impl Store {
    /// The store in the directory `path`, which need not exist yet.
    ///
    /// A store that a newer version of Amphora has written is refused.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let store = Self {
            path: path.into(),
            lock_timeout: DEFAULT_LOCK_TIMEOUT,
        };
        store.check_marker()?;
        Ok(store)
    }

    /// The same store with another patience for other writers.
    #[must_use]
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Where the store lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a bundle in this store.
    pub fn draft(&self) -> Result<Draft> {
        Draft::new(self.clone())
    }

    /// The bundles, newest first. Damaged, unreadable and foreign entries become warnings.
    pub fn list(&self) -> Result<Listing> {
        let Entries { folders, warnings } = self.entries()?;
        let mut listing = Listing {
            bundles: Vec::new(),
            warnings,
        };
        for name in folders {
            match self.open_folder(&name) {
                Ok(bundle) => listing.bundles.push(Summary::of(&bundle)),
                // Removed since the names were read.
                Err(_) if !self.path.join(&name).exists() => {}
                Err(error) => listing.warnings.push(error.to_string()),
            }
        }
        Summary::newest_first(&mut listing.bundles);
        Ok(listing)
    }

    /// The names in the store, told apart; no bundle is opened.
    pub fn entries(&self) -> Result<Entries> {
        let mut entries = Entries::default();
        let mut foreign = Vec::new();
        let directory = match Directory::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(entries),
            answer => answer?,
        };
        for entry in directory.entries()? {
            if entry.kind == EntryKind::Directory && is_folder_name(&entry.name) {
                entries.folders.push(entry.name);
            } else if is_damaged_name(&entry.name) {
                let path = self.path.join(&entry.name);
                entries.warnings.push(format!(
                    "{}: a damaged bundle was set aside here",
                    path.display()
                ));
            } else if !entry.name.starts_with(OWN_PREFIX) && !is_archive_name(&entry.name) {
                foreign.push(quoted(&entry.name).to_string());
            }
        }
        if !foreign.is_empty() {
            let more = foreign.len().saturating_sub(NAMED_FOREIGN);
            foreign.truncate(NAMED_FOREIGN);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            entries.warnings.push(format!(
                "{}: no part of the store: {}{more}",
                self.path.display(),
                foreign.join(", ")
            ));
        }
        Ok(entries)
    }

    /// Opens the bundle in the folder `name`, which must be the one its id deserves.
    fn open_folder(&self, name: &str) -> Result<Bundle> {
        let path = self.path.join(name);
        let bundle = Bundle::open(&path)?;
        let deserved = bundle.id().exp_hash();
        if deserved != name {
            return Err(Error::untrusted(
                "bundle-folder",
                "the folder does not carry the name of this bundle",
            )
            .expected(deserved)
            .found(name)
            .in_file(path));
        }
        Ok(bundle)
    }

    fn check_marker(&self) -> Result<()> {
        let path = self.path.join(MARKER);
        let marker = Directory::open(&self.path).and_then(|_| OpenedFile::open(&path));
        let file = match marker {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.rule() == "not-a-directory" => {
                return Err(unwritable("the store is not a directory", &self.path));
            }
            Err(error) => return Err(error),
        };
        let value = json::parse(&file.contents(4096)?).map_err(|error| error.in_file(&path))?;
        match value.get("store_version").and_then(Value::as_u64) {
            Some(version) if version <= STORE_VERSION => Ok(()),
            Some(version) => Err(Error::unsupported(
                "store-version",
                "the store was written by a newer Amphora",
            )
            .expected(format!("store version {STORE_VERSION} or older"))
            .found(version.to_string())
            .in_file(path)
            .hint("install a newer Amphora, or name another store with --store")),
            None => Err(
                Error::malformed("store-marker", "the store does not state its version")
                    .in_file(path),
            ),
        }
    }

    /// Makes the store ready for a write: creates it if need be, and sweeps what dead writers left.
    pub(crate) fn prepare(&self) -> Result<()> {
        durable::create_directory(&self.path).map_err(|error| match error.kind() {
            // A parent in which nothing can be made is no file that was asked for and is missing.
            ErrorKind::NotFound => {
                unwritable("the store cannot be created here", &self.path).caused_by(error)
            }
            _ => error,
        })?;
        self.check_marker()?;
        let marker = self.path.join(MARKER);
        if !marker.exists() {
            let content = json::to_pretty_bytes(&json!({"store_version": STORE_VERSION}))?;
            durable::write_file(&marker, &content)?;
        }
        durable::sweep_stale(&self.path, durable::STALE_AGE)?;
        Ok(())
    }
}

fn unwritable(message: &str, path: &Path) -> Error {
    Error::io("store-unwritable", message)
        .in_file(path)
        .hint("choose a writable directory with --store")
}

/// Whether a bundle may lie under this name: 12 lower-case hexadecimal digits.
fn is_folder_name(name: &str) -> bool {
    name.len() == 12 && is_hex(name)
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_damaged_name(name: &str) -> bool {
    name.split_once(".damaged-").is_some_and(|(hash, count)| {
        is_folder_name(hash)
            && !count.is_empty()
            && count.len() < 8
            && count.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_archive_name(name: &str) -> bool {
    name.split_once('.').is_some_and(|(hash, extension)| {
        is_folder_name(hash) && ["zip", "tar", "tar.gz", "tar.zst"].contains(&extension)
    })
}
