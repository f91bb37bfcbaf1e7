//! A bundle that is archived, and a store that takes archives in.

use std::path::PathBuf;

use amphora_bundle::{ArchiveFormat, Bundle, ImportLimits, Store, archive};
use amphora_error::{Error, ErrorKind};

use super::{files, overwrite, publish, store, visible};

/// A published bundle and an empty store to import it into.
pub(crate) struct Scene {
    pub(crate) scratch: tempfile::TempDir,
    pub(crate) bundle: PathBuf,
    pub(crate) hash: String,
    pub(crate) target: Store,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let source = store(scratch.path());
        let hash = publish(&source, "demo", "1.0.0", 0);
        Self {
            bundle: source.path().join(&hash),
            hash,
            target: Store::open(scratch.path().join("target")).unwrap(),
            scratch,
        }
    }

    pub(crate) fn archive(&self, format: ArchiveFormat) -> PathBuf {
        let path = self.scratch.path().join(format!("bundle.{format}"));
        archive(&Bundle::open(&self.bundle).unwrap(), format, &path).unwrap();
        path
    }

    /// Name inside the archive and content of every file of the bundle.
    pub(crate) fn members(&self) -> Vec<(String, Vec<u8>)> {
        files(&self.bundle)
            .into_iter()
            .map(|file| {
                let bytes = fs_err::read(self.bundle.join(&file)).unwrap();
                (format!("{}/{file}", self.hash), bytes)
            })
            .collect()
    }

    pub(crate) fn import(&self, bytes: &[u8]) -> Result<(), Error> {
        let path = self.scratch.path().join("hostile");
        overwrite(&path, bytes);
        self.target
            .import(&path, &ImportLimits::default())
            .map(drop)
    }

    /// The import is refused with this rule and leaves nothing visible anywhere.
    pub(crate) fn refused(&self, bytes: &[u8], rule: &str) -> Result<(), String> {
        let before = visible(self.scratch.path());
        let answer = self.import(bytes);
        let left = visible(self.target.path());
        let around = visible(self.scratch.path());
        let error = match answer {
            Err(error) if error.rule() == rule => error,
            answer => return Err(format!("{answer:?}")),
        };
        let allowed = matches!(
            error.kind(),
            ErrorKind::Malformed | ErrorKind::Limit | ErrorKind::Untrusted | ErrorKind::Unsupported
        );
        if !allowed || error.to_string().contains(".amphora-tmp") {
            return Err(format!("{error:?}"));
        }
        if !left.is_empty() {
            return Err(format!("left behind: {left:?}"));
        }
        let new = around.iter().filter(|name| !before.contains(name));
        let new: Vec<_> = new
            .filter(|name| *name != "target" && *name != "hostile")
            .collect();
        if new.is_empty() {
            Ok(())
        } else {
            Err(format!("written outside: {new:?}"))
        }
    }
}

/// A hostile archive; prints as its name alone.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) rule: &'static str,
}

impl Row {
    pub(crate) fn new((name, bytes, rule): (&'static str, Vec<u8>, &'static str)) -> Self {
        Self { name, bytes, rule }
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.name, self.rule)
    }
}
