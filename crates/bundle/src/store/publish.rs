//! From a staged directory to a bundle of the store.

use std::path::{Path, PathBuf};

use amphora_error::{Error, ErrorKind, Result};
use amphora_files::durable::{self, Published, StagingDirectory};
use rustix::io::Errno;
use serde::Serialize;

use super::Store;
use crate::{Bundle, BundleId, check_integrity};

/// What became of a bundle that was to be published.
#[derive(Debug, Clone, Serialize)]
pub struct Publication {
    /// The id.
    pub id: BundleId,
    /// The first 12 digits of the id.
    pub exp_hash: String,
    /// Where the bundle lies.
    pub path: PathBuf,
    /// Whether an intact bundle with this id was there already; it was left untouched.
    pub existed: bool,
    /// Where a damaged bundle with this id was moved.
    pub set_aside: Option<PathBuf>,
}

enum Present {
    Nothing,
    Intact,
    Damaged,
}

/// Where a bundle under construction will lie.
#[derive(Debug)]
pub(crate) enum Destination {
    /// Under the name that its id deserves.
    Store(Store),
    /// At a path of its own.
    Directory { parent: PathBuf, name: String },
}

impl Destination {
    /// The directory that `path` lies in, and its name there.
    pub(crate) fn parts(path: &Path) -> Result<(PathBuf, String)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| {
            Error::usage("output-name", "the bundle needs a name of its own").in_file(path)
        })?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok((parent.to_owned(), name.to_owned()))
    }

    pub(crate) fn publish(self, staging: StagingDirectory, id: BundleId) -> Result<Publication> {
        match self {
            Self::Store(store) => store.publish(staging, id),
            Self::Directory { parent, name } => publish_as(&parent, &name, staging, id),
        }
    }
}

/// Renames a complete staged bundle to `name`, unless it is there already.
fn publish_as(
    parent: &Path,
    name: &str,
    staging: StagingDirectory,
    id: BundleId,
) -> Result<Publication> {
    let path = parent.join(name);
    let existed = staging.publish(name)? == Published::Existed;
    if existed && !matches!(present(&path, id), Ok(Present::Intact)) {
        return Err(Error::usage(
            "output-exists",
            "something else is already there, and it is not overwritten",
        )
        .in_file(path)
        .hint("choose another name, or remove it first"));
    }
    Ok(Publication {
        id,
        exp_hash: id.exp_hash(),
        path,
        existed,
        set_aside: None,
    })
}

impl Store {
    /// Renames a complete staged bundle to its final name, unless an intact one is there.
    pub(crate) fn publish(&self, staging: StagingDirectory, id: BundleId) -> Result<Publication> {
        let name = id.exp_hash();
        let path = self.path.join(&name);
        // Hashing and fsync take long for large models: as much as can be is done before the lock.
        if matches!(present(&path, id)?, Present::Intact) {
            durable::sync_directory(&self.path)?;
            return Ok(Publication {
                id,
                exp_hash: name,
                path,
                existed: true,
                set_aside: None,
            });
        }
        staging.sync()?;
        let _lock = self.lock(&format!("publishing {name}"))?;
        let mut set_aside = None;
        let existed = match present(&path, id)? {
            Present::Intact => true,
            Present::Nothing => false,
            Present::Damaged => {
                set_aside = Some(self.set_aside(&name)?);
                false
            }
        };
        if !existed && staging.publish(&name)? == Published::Existed {
            return Err(Error::busy(
                "store-race",
                "something else appeared under the name of the bundle",
            )
            .in_file(&path)
            .hint("run the command again"));
        }
        Ok(Publication {
            id,
            exp_hash: name,
            path,
            existed,
            set_aside,
        })
    }

    fn set_aside(&self, name: &str) -> Result<PathBuf> {
        let from = self.path.join(name);
        for count in 1..10_000 {
            let to = self.path.join(format!("{name}.damaged-{count}"));
            match durable::rename_without_replacing(&from, &to) {
                Ok(()) => return Ok(to),
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                Err(errno) => return Err(Error::from_io("moving aside", &from, errno.into())),
            }
        }
        Err(Error::io("set-aside", "too many damaged bundles lie aside")
            .in_file(&from)
            .hint("remove the directories whose names end with .damaged-N"))
    }
}

fn present(path: &Path, id: BundleId) -> Result<Present> {
    match fs_err::symlink_metadata(path) {
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Present::Nothing);
        }
        Err(source) => return Err(Error::from_io("looking at", path, source)),
        Ok(_) => {}
    }
    let intact = Bundle::open(path).and_then(|bundle| {
        let passed = check_integrity(&bundle)?.passed();
        Ok((bundle.id(), passed))
    });
    match intact {
        Ok((_, false)) => Ok(Present::Damaged),
        Ok((found, true)) if found == id => Ok(Present::Intact),
        Ok((found, true)) => Err(Error::unsupported(
            "exp-hash-collision",
            "another bundle has an id that starts with the same 12 digits",
        )
        .expected(id.to_string())
        .found(found.to_string())
        .in_file(path)
        .hint("publish into another store")),
        Err(error) => match error.kind() {
            ErrorKind::Untrusted
            | ErrorKind::Malformed
            | ErrorKind::NotFound
            | ErrorKind::Limit => Ok(Present::Damaged),
            _ => Err(error),
        },
    }
}
