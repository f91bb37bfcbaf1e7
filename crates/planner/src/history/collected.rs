//! What reading a directory of runs gave, and what it left out.

use std::collections::BTreeMap;
use std::fmt;

use amphora_error::{Error, ErrorKind, Result};
use amphora_files::{Directory, Entry, EntryKind, RelativePath, json};
use serde::de::DeserializeOwned;

/// Largest JSON file of a run, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Why a run was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The entry is a link, or something else that is no directory.
    NotADirectory,
    /// A file could not be read, is a link or too large.
    Unreadable,
    /// A file is not the JSON expected there.
    Malformed,
    /// There is no `manifest.json`.
    NoManifest,
    /// There is no `proof.json`.
    NoProof,
    /// No time was recorded. A file's modification time is none: a copy changes it.
    NoStartTime,
    /// Nothing says when it ended: who may know its outcome cannot be said.
    NoEndTime,
    /// A world run without `context.json`, or one that names no universe.
    NoContext,
    /// An earlier archive has a run of the same id.
    Duplicate,
}

impl DropReason {
    /// The reason in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotADirectory => "not_a_directory",
            Self::Unreadable => "unreadable",
            Self::Malformed => "malformed",
            Self::NoManifest => "no_manifest",
            Self::NoProof => "no_proof",
            Self::NoStartTime => "no_start_time",
            Self::NoEndTime => "no_end_time",
            Self::NoContext => "no_context",
            Self::Duplicate => "duplicate",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One run that was left out.
#[derive(Debug)]
pub struct DroppedRun {
    /// The name of its folder.
    pub folder: String,
    /// Why.
    pub reason: DropReason,
    /// The same in words, where an error says more.
    pub error: Option<Error>,
}

/// The runs of a directory, in the order of their folders' names.
#[derive(Debug)]
pub struct Collected<Run> {
    /// The runs.
    pub runs: Vec<Run>,
    /// How many were left out, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Which.
    pub dropped_runs: Vec<DroppedRun>,
    /// How many parts of runs that count were left out, by name: a stored document that is broken.
    pub ignored_parts: BTreeMap<&'static str, u64>,
}

impl<Run> Collected<Run> {
    /// Reads every folder of `directory` with `read`.
    pub(super) fn of(
        directory: &Directory,
        mut read: impl FnMut(&Directory, &str, &mut Ignored) -> Result<Run, Drop>,
    ) -> Result<Self> {
        let mut collected = Self {
            runs: Vec::new(),
            dropped: BTreeMap::new(),
            dropped_runs: Vec::new(),
            ignored_parts: BTreeMap::new(),
        };
        for Entry { name, kind } in directory.entries()? {
            let run = match kind {
                EntryKind::File => continue,
                EntryKind::Link | EntryKind::Other => Err(DropReason::NotADirectory.into()),
                EntryKind::Directory => RelativePath::parse(&name)
                    .and_then(|path| directory.open_directory(&path))
                    .map_err(Drop::from)
                    .and_then(|folder| read(&folder, &name, &mut collected.ignored_parts)),
            };
            match run {
                Ok(run) => collected.runs.push(run),
                Err(drop) => collected.drop_run(name, drop),
            }
        }
        Ok(collected)
    }

    /// The same, with other runs in place of those read.
    pub(super) fn with_runs<Other>(self, runs: Vec<Other>) -> Collected<Other> {
        Collected {
            runs,
            dropped: self.dropped,
            dropped_runs: self.dropped_runs,
            ignored_parts: self.ignored_parts,
        }
    }

    pub(super) fn drop_run(&mut self, folder: String, Drop { reason, error }: Drop) {
        *self.dropped.entry(reason).or_default() += 1;
        self.dropped_runs.push(DroppedRun {
            folder,
            reason,
            error,
        });
    }
}

/// Parts that were left out, by name.
pub(super) type Ignored = BTreeMap<&'static str, u64>;

/// Why one run is being left out.
#[derive(Debug)]
pub(super) struct Drop {
    reason: DropReason,
    error: Option<Error>,
}

impl From<DropReason> for Drop {
    fn from(reason: DropReason) -> Self {
        Self {
            reason,
            error: None,
        }
    }
}

impl From<Error> for Drop {
    fn from(error: Error) -> Self {
        Self {
            reason: DropReason::Unreadable,
            error: Some(error),
        }
    }
}

/// The JSON file `name` of a run; `None` if there is none.
pub(super) fn read_json<T: DeserializeOwned>(
    folder: &Directory,
    name: &str,
) -> Result<Option<T>, Drop> {
    let path = RelativePath::parse(name)?;
    let bytes = match folder.open_file(&path) {
        Ok(file) => file.contents(MAX_BYTES)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    json::parse_into(&bytes).map(Some).map_err(|error| Drop {
        reason: DropReason::Malformed,
        error: Some(error.in_file(path.beneath(folder.path()))),
    })
}
