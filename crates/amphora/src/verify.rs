//! Proving one bundle, or all of a store.

use std::path::{Path, PathBuf};

use amphora_bundle::{Bundle, BundleId, Name, Package, Store, Version};
use amphora_error::{Error, ErrorKind, Result};
use amphora_files::json;
use amphora_verify::{Report, Target, VerifyOptions};
use serde::Serialize;

use crate::{Engines, Timestamp, write_file};

/// How to verify.
#[derive(Debug, Clone)]
pub struct VerifyRequest {
    /// What the bundle is verified for.
    pub target: Target,
    /// The engine that replays the golden vectors.
    pub engines: Engines,
    /// Whether warnings are errors.
    pub strict: bool,
    /// The date in the report.
    pub validated_at: Timestamp,
}

/// What [`verify_all`] found.
#[derive(Debug, Serialize)]
pub struct StoreReport {
    /// Whether every bundle passed.
    pub passed: bool,
    /// Every bundle, by its folder's name.
    pub bundles: Vec<BundleReport>,
    /// What lies in the store and is no bundle of it: damaged ones set aside, foreign files.
    pub warnings: Vec<String>,
}

/// Who a bundle says it is.
#[derive(Debug, Serialize)]
pub struct BundleIdentity {
    /// The id.
    pub id: BundleId,
    /// The name.
    pub name: Name,
    /// The version.
    pub version: Version,
}

/// One bundle of a store.
#[derive(Debug, Serialize)]
pub struct BundleReport {
    /// Where it lies.
    pub path: PathBuf,
    /// Who it says it is, when its manifest can be read.
    pub identity: Option<BundleIdentity>,
    /// What verification found, when it could be done.
    pub report: Option<Report>,
    /// Why it could not be done.
    pub error: Option<String>,
    #[serde(skip)]
    failure: Option<Error>,
}

/// Verifies `bundle`: integrity, contract, model check, numeric replay, target. The bundle is not
/// changed.
///
/// # Errors
///
/// When a check could not be done. A bundle that fails is a report that has not passed; see
/// [`verdict`].
pub fn verify(bundle: Bundle, request: &VerifyRequest) -> Result<Report> {
    let id = bundle.id();
    let engine = request.engines.for_bundle(&id)?;
    let options = VerifyOptions {
        target: request.target,
        engine: Some(engine.clone()),
        strict: request.strict,
        ..VerifyOptions::default()
    };
    let mut report = amphora_verify::verify(bundle, &options)?.report;
    request.engines.remember(&id, engine.as_ref(), &report);
    if request.strict {
        report.reject_warnings();
    }
    report.validated_at = Some(request.validated_at.to_string());
    Ok(report)
}

/// Checks a package as far as it can be checked; what only a bundle can show is listed as skipped.
///
/// # Errors
///
/// When a check could not be done.
pub fn verify_package(package: &Package, request: &VerifyRequest) -> Result<Report> {
    let options = VerifyOptions {
        target: request.target,
        engine: Some(request.engines.for_foreign_graph()?),
        strict: request.strict,
        ..VerifyOptions::default()
    };
    let mut report = amphora_verify::verify_package(package, &options)?;
    if request.strict {
        report.reject_warnings();
    }
    report.validated_at = Some(request.validated_at.to_string());
    Ok(report)
}

/// The error that a report amounts to: of the kind of the first stage that failed, listing every
/// failure.
pub fn verdict(report: &Report) -> Option<Error> {
    report.clone().into_result().err()
}

/// Verifies every bundle of the store, damaged ones included.
pub fn verify_all(store: &Store, request: &VerifyRequest) -> Result<StoreReport> {
    let entries = store.entries()?;
    let mut bundles = Vec::new();
    for folder in entries.folders {
        let found = verify_one(store, &folder, request);
        // Another command may have removed it since the names were read.
        if found.path.exists() {
            bundles.push(found);
        }
    }
    Ok(StoreReport {
        passed: bundles.iter().all(|bundle| bundle.failure.is_none()),
        bundles,
        warnings: entries.warnings,
    })
}

fn verify_one(store: &Store, folder: &str, request: &VerifyRequest) -> BundleReport {
    let mut found = BundleReport {
        path: store.path().join(folder),
        identity: None,
        report: None,
        error: None,
        failure: None,
    };
    let report = store.resolve(folder).and_then(|bundle| {
        let metadata = &bundle.manifest().metadata;
        found.identity = Some(BundleIdentity {
            id: bundle.id(),
            name: metadata.full_name(),
            version: metadata.version.clone(),
        });
        verify(bundle, request)
    });
    match report {
        Ok(report) => {
            found.failure = verdict(&report);
            found.report = Some(report);
        }
        Err(error) => {
            found.error = Some(error.to_string());
            found.failure = Some(decayed(error));
        }
    }
    found
}

/// A folder of the store in which nothing of a bundle is found has lost it: nobody asked for it by
/// name, so that it is not missing but damaged.
fn decayed(error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    Error::untrusted("bundle-missing", "the folder of a bundle holds no bundle")
        .faults(vec![error.to_string()])
        .caused_by(error)
}

impl BundleReport {
    /// Every failure, after the bundle's path.
    fn faults(&self) -> Vec<String> {
        let path = self.path.display();
        match &self.failure {
            None => Vec::new(),
            Some(error) if error.fault_list().is_empty() => vec![error.to_string()],
            Some(error) => error
                .fault_list()
                .iter()
                .map(|fault| format!("{path}: {fault}"))
                .collect(),
        }
    }
}

impl StoreReport {
    /// The error that the report amounts to, listing every failure; its kind is untrusted when any
    /// bundle is not what was sealed, else that of the first bundle that failed.
    pub fn verdict(&self) -> Option<Error> {
        let failed = self.bundles.iter();
        let failed: Vec<&BundleReport> = failed.filter(|b| b.failure.is_some()).collect();
        let mut kinds = failed
            .iter()
            .filter_map(|b| Some(b.failure.as_ref()?.kind()));
        let first = kinds.next()?;
        let untrusted = kinds.any(|kind| kind == ErrorKind::Untrusted);
        let kind = if untrusted {
            ErrorKind::Untrusted
        } else {
            first
        };
        let faults = failed.iter().flat_map(|bundle| bundle.faults());
        Some(
            Error::new(
                kind,
                "store-verification",
                "bundles did not pass verification",
            )
            .faults(faults.collect()),
        )
    }
}

/// Writes a report as `TARGET_validation.json` into `directory`, which may not lie in a bundle.
pub fn write_report(report: &Report, directory: &Path) -> Result<PathBuf> {
    let path = directory.join(format!("{}_validation.json", report.target.word()));
    write_file(&path, &json::to_pretty_bytes(report)?)?;
    Ok(path)
}
