//! Into the store: bundles as they are, packages as the bundles that are made of them.

use std::path::{Path, PathBuf};

use amphora_bundle::package::{Level, Unpacked};
use amphora_bundle::{ImportLimits, Package, Store, Timestamp};
use amphora_error::Result;
use serde::Serialize;

use crate::pack::package::upgrade;
use crate::{Engines, PackRequest, Packed, Publication};

/// The end of the name of a package in one file.
const PACKAGE_FILE: &str = "axon";

/// What to take in, and how a package is proven.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// Where the bundle is published.
    pub store: Store,
    /// An archive or the directory of a bundle; the directory of a package, or a package in one file,
    /// whose name ends in `.axon`.
    pub source: PathBuf,
    /// How much an archive may unpack to.
    pub limits: ImportLimits,
    /// When the bundle is made, where one is made.
    pub created: Timestamp,
    /// The engine that replays the golden vectors of a bundle that is made of a package.
    pub engines: Engines,
    /// How many golden cases are recorded for it.
    pub golden_cases: usize,
}

/// What was taken in.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Imported {
    /// A bundle, as it was.
    Bundle(Publication),
    /// The bundle that was made of a package.
    Upgraded(Box<Packed>),
}

/// Takes a bundle into the store, or makes one of a package: its graph, its I/O settled with what the
/// graph says, and golden vectors.
///
/// `step` is told what is being done to a package.
///
/// # Errors
///
/// Those of [`Store::import`] for a bundle. For a package those of reading it,
/// [`amphora_error::ErrorKind::Incompatible`] when its manifest contradicts its graph,
/// [`amphora_error::ErrorKind::Unsupported`] when it holds no graph, and those of [`pack`](crate::pack).
pub fn import(request: &ImportRequest, step: &dyn Fn(&str)) -> Result<Imported> {
    let source = &request.source;
    if Package::is_at(source) {
        let package = Package::open(source, Level::Install)?;
        return upgraded(&package, request, step);
    }
    if source.is_file() && is_package_file(source) {
        step("unpacking the package");
        let unpacked = Unpacked::open(source, &request.store, &request.limits)?;
        return upgraded(unpacked.package(), request, step);
    }
    let published = request.store.import(source, &request.limits)?;
    Ok(Imported::Bundle(published))
}

fn is_package_file(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == PACKAGE_FILE)
}

fn upgraded(package: &Package, request: &ImportRequest, step: &dyn Fn(&str)) -> Result<Imported> {
    let pack = PackRequest {
        engines: request.engines.clone(),
        golden_cases: request.golden_cases,
        ..PackRequest::new(
            request.store.clone(),
            package.path(),
            request.created.clone(),
        )
    };
    let packed = upgrade(package, &pack, step)?;
    Ok(Imported::Upgraded(Box::new(packed)))
}
