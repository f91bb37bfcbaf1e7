//! From an ONNX file or a checkpoint to a published bundle.

mod assets;
mod directory;
mod generation;
mod golden;
pub(crate) mod package;
mod processing;
mod request;
mod seal;
mod serving;
mod subject;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use amphora_bundle::manifest::{FileEntry, Metadata};
use amphora_bundle::{Bundle, BundleId, Name, Sealed, Summary, Version, slug};
use amphora_error::{Error, Result};
use amphora_files::json;
use amphora_runtime::Engine;
use amphora_verify::golden::{Golden, ReferenceTime};
use amphora_verify::{Report, Target, VerifyOptions, verify};
use schemars::JsonSchema;
use serde::Serialize;

pub use request::PackRequest;

use assets::AssetFiles;
use serving::Serving;
use subject::Subject;

/// A published bundle.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Packed {
    /// The id.
    pub id: BundleId,
    /// The first 12 digits of the id.
    pub exp_hash: String,
    /// Where it lies.
    pub path: PathBuf,
    /// The name.
    pub name: Name,
    /// The version.
    pub version: Version,
    /// Whether the same bundle was there already; it was left untouched.
    pub existed: bool,
    /// The deployment formats in it.
    pub formats: Vec<String>,
    /// Every file that its manifest lists.
    pub files: Vec<FileEntry>,
    /// What the checks at packing found, by target.
    pub validation: BTreeMap<&'static str, Validation>,
    /// What is odd but does no harm.
    pub warnings: Vec<String>,
}

/// The outcome of the checks for one target.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Validation {
    /// Whether all passed.
    pub passed: bool,
    /// How many failed.
    pub errors: usize,
    /// How many warned.
    pub warnings: usize,
}

/// Builds a bundle, proves it on the chosen engine, and publishes it.
///
/// `step` is told what is being done. Nothing is visible in the store before everything passed, and
/// nothing stays behind when something fails.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Malformed`] or `Unsupported` when the model check fails,
/// [`amphora_error::ErrorKind::Mismatch`] when the golden vectors are out of tolerance, and those of
/// reading and writing.
pub fn pack(request: &PackRequest, step: &dyn Fn(&str)) -> Result<Packed> {
    let version = request.check()?;
    let subject = Subject::read(request, step)?;
    let name = name(request, &subject)?;
    let assets = assets::read(request, &subject)?;
    let mut metadata = Metadata::new(&name, version);
    metadata.created = Some(request.created.clone());
    let mut notes = Vec::new();
    let directory = Some(&*request.model).filter(|path| path.is_dir());
    let serving = Serving::read(directory, &subject, &assets, &mut notes)?;
    let material = Material {
        subject,
        assets,
        serving,
        metadata,
        notes,
    };
    make(request, material, step)
}

/// What a bundle is made of.
struct Material {
    subject: Subject,
    assets: AssetFiles,
    serving: Serving,
    metadata: Metadata,
    /// What is odd about it but does no harm.
    notes: Vec<String>,
}

/// Records golden vectors, seals, proves and publishes.
fn make(request: &PackRequest, material: Material, step: &dyn Fn(&str)) -> Result<Packed> {
    let Material {
        subject,
        assets,
        serving,
        metadata,
        mut notes,
    } = material;
    step("preparing the golden vectors");
    let engine = match subject.graph {
        Some(_) => request.engines.for_own_graph(),
        None => request.engines.for_foreign_graph(),
    }?;
    let (golden, reference_time) = golden::prepare(request, &subject, &engine)?;
    step("writing the bundle");
    let sealed = seal::seal(request, &subject, &golden, assets, serving, metadata)?;
    let cases: u64 = golden.iter().map(Golden::cases).sum();
    step(&format!("replaying {cases} golden cases"));
    let reports = prove(&sealed, request, engine.clone(), reference_time)?;
    step("publishing");
    for golden in &golden {
        notes.extend_from_slice(golden.notes());
        notes.extend(golden::own_witness(golden, engine.as_ref()));
    }
    let packed = publish(sealed, &reports, notes)?;
    if let Some(report) = reports.get(Target::Onnx.word()) {
        request
            .engines
            .remember(&packed.id, engine.as_ref(), report);
    }
    Ok(packed)
}

/// Verifies the staged bundle for every target; the first report that has not passed is the error.
fn prove(
    sealed: &Sealed,
    request: &PackRequest,
    engine: Arc<dyn Engine>,
    reference_time: Option<ReferenceTime>,
) -> Result<BTreeMap<&'static str, Report>> {
    let mut reports = BTreeMap::new();
    // The general checks concern the bundle, not an engine: the replay belongs to the target.
    for (target, engine) in [(Target::General, None), (Target::Onnx, Some(engine))] {
        let options = VerifyOptions {
            target,
            engine,
            ..VerifyOptions::default()
        };
        let mut report = verify(sealed.bundle()?, &options)?.report.into_result()?;
        report.validated_at = Some(request.created.to_string());
        if let (Target::Onnx, Some(time)) = (target, reference_time) {
            report.set_reference_time(time.mean_ms, time.std_ms);
        }
        reports.insert(target.word(), report);
    }
    Ok(reports)
}

fn publish(
    sealed: Sealed,
    reports: &BTreeMap<&'static str, Report>,
    mut warnings: Vec<String>,
) -> Result<Packed> {
    let mut files = BTreeMap::new();
    for (target, report) in reports {
        files.insert(
            format!("{target}_validation"),
            json::to_pretty_bytes(report)?,
        );
    }
    if let Some(report) = reports.get(Target::Onnx.word()) {
        let document = json::to_pretty_bytes(&report.validation_report())?;
        files.insert("validation_report".to_owned(), document);
    }
    let published = sealed.with_reports(&files)?.publish()?;
    let bundle = Bundle::open(&published.path)?;
    let summary = Summary::of(&bundle);
    if let Some(path) = published.set_aside {
        let path = path.display();
        warnings.push(format!("a damaged bundle with this id was moved to {path}"));
    }
    for warning in reports.values().flat_map(|report| &report.warnings) {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    Ok(Packed {
        id: published.id,
        exp_hash: published.exp_hash,
        path: published.path,
        name: summary.name,
        version: summary.version,
        existed: published.existed,
        formats: summary.formats,
        files: bundle.manifest().files.clone(),
        validation: reports
            .iter()
            .map(|(target, report)| (*target, Validation::of(report)))
            .collect(),
        warnings,
    })
}

impl Validation {
    fn of(report: &Report) -> Self {
        Self {
            passed: report.passed,
            errors: report.errors.len(),
            warnings: report.warnings.len(),
        }
    }
}

/// The name that was asked for, else the configuration's, else the architecture's, else the file's.
fn name(request: &PackRequest, subject: &Subject) -> Result<Name> {
    if let Some(name) = &request.name {
        return Name::parse(name);
    }
    let stated = subject
        .config
        .as_ref()
        .and_then(|config| config.value.get("name")?.as_str());
    let model_type = subject
        .graph
        .as_ref()
        .map(|graph| graph.architecture.model_type());
    let stem = request.model.file_stem().and_then(|stem| stem.to_str());
    let candidates = [stated, model_type, stem];
    candidates
        .into_iter()
        .flatten()
        .find_map(|candidate| Name::parse(&slug(candidate)).ok())
        .ok_or_else(|| {
            Error::usage(
                "name-missing",
                "no name can be made from the configuration or the file",
            )
            .hint("give the bundle a name with --name")
        })
}
