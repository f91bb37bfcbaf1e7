//! From an ONNX file or a checkpoint to a published bundle.

mod assets;
mod request;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use amphora_bundle::manifest::{FileEntry, Framework, GoldenKind, Metadata, Provenance, Source};
use amphora_bundle::{Bundle, BundleId, Details, MAIN_GRAPH, Name, Sealed, Summary, Version};
use amphora_checkpoint::{Checkpoint, Format, Limits as CheckpointLimits};
use amphora_error::{Error, Result};
use amphora_export::ExportOptions;
use amphora_files::{Directory, OpenedFile, RelativePath, json, sha256};
use amphora_onnx::{Contract, Limits, Model, write};
use amphora_runtime::{Engine, EngineChoice, Session, SessionOptions};
use amphora_verify::golden::{Golden, ReferenceTime};
use amphora_verify::{Report, Target, VerifyOptions, verify};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

pub use request::PackRequest;

use assets::AssetFiles;

use crate::Engines;
use crate::config::Config;
use crate::export::{Graph, graph_of, parent_of};
use crate::source::{ModelFile, kind_of};

/// Weights up to this many bytes stay inside the bundle's ONNX file; larger ones go to an aligned
/// data file beside it, which engines can map.
const INLINE_LIMIT: u64 = 4 << 20;
/// What the data file of the graph is called.
const DATA_FILE: &str = "model.onnx.data";

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

/// A model that is about to be packed, with what is known about where it came from.
struct Subject {
    model: Model,
    /// What it was exported from, when that is a checkpoint.
    graph: Option<Graph>,
    config: Option<Config>,
    source: Source,
    /// The bytes of the checkpoint, where they are kept in the bundle.
    checkpoint: Option<Bytes>,
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
    step("reading the model");
    let subject = read(request)?;
    let name = name(request, &subject)?;
    step("checking the model");
    let contract = check(&subject.model).map_err(|error| error.in_file(&request.model))?;
    let assets = assets::read(request, &contract)?;
    step("preparing the golden vectors");
    let engine = match subject.graph {
        Some(_) => request.engines.for_own_graph(),
        None => request.engines.for_foreign_graph(),
    }?;
    let (golden, reference_time) = golden(request, &subject, &contract, &engine)?;
    step("writing the bundle");
    let mut metadata = Metadata::new(&name, version);
    metadata.created = Some(request.created.clone());
    let sealed = seal(request, &subject, &contract, &golden, assets, metadata)?;
    step(&format!("replaying {} golden cases", golden.cases()));
    let reports = prove(&sealed, request, engine.clone(), reference_time)?;
    step("publishing");
    let mut notes = golden.notes().to_vec();
    notes.extend(own_witness(&golden, engine.as_ref()));
    let packed = publish(sealed, &reports, notes)?;
    if let Some(report) = reports.get(Target::Onnx.word()) {
        request
            .engines
            .remember(&packed.id, engine.as_ref(), report);
    }
    Ok(packed)
}

/// Opens the model once: its digest, and the copy that is kept, are of the bytes that were decoded.
fn read(request: &PackRequest) -> Result<Subject> {
    let path = &request.model;
    let config = request.config.as_deref();
    let file = OpenedFile::open(path)?;
    let source = |format: String, bytes: &Bytes| Source {
        format,
        sha256: sha256(bytes),
        size: bytes.len() as u64,
    };
    if kind_of(&file)? == ModelFile::Onnx {
        if request.keep_checkpoint {
            return Err(
                Error::usage("keep-checkpoint", "an ONNX file has no checkpoint to keep")
                    .in_file(path)
                    .hint("leave --keep-checkpoint out, or pack the checkpoint itself"),
            );
        }
        let limits = Limits::default();
        let bytes = file.contents(limits.file_bytes)?;
        let beside = Directory::open(parent_of(path))?;
        let source = source("onnx".to_owned(), &bytes);
        return Ok(Subject {
            model: Model::from_bytes(bytes, Some(&beside), &limits)
                .map_err(|error| error.in_file(path))?,
            graph: None,
            config: config.map(Config::read).transpose()?,
            source,
            checkpoint: None,
        });
    }
    let limits = CheckpointLimits::default();
    let bytes = file.contents(limits.file_bytes)?;
    let checkpoint =
        Checkpoint::from_bytes(bytes.clone(), &limits).map_err(|error| error.in_file(path))?;
    let source = source(checkpoint.format().to_string(), &bytes);
    let graph = graph_of(checkpoint, path, config, &ExportOptions::default(), path)?;
    Ok(Subject {
        model: graph.model.clone(),
        config: Some(graph.config.clone()),
        graph: Some(graph),
        source,
        checkpoint: request.keep_checkpoint.then_some(bytes),
    })
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

/// `text` in the alphabet of names: lower case, everything else a hyphen.
fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let mapped: String = lower
        .chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '-',
        })
        .collect();
    mapped.trim_start_matches(['.', '_', '-']).to_owned()
}

fn check(model: &Model) -> Result<Contract> {
    model.check()?;
    model.contract()
}

/// Golden vectors from the file that was named, else from the independent reference, else from an
/// engine: ONNX Runtime where it is found.
fn golden(
    request: &PackRequest,
    subject: &Subject,
    contract: &Contract,
    engine: &Arc<dyn Engine>,
) -> Result<(Golden, Option<ReferenceTime>)> {
    if let Some(path) = &request.golden {
        let golden = Golden::supplied(path, contract)?;
        return Ok((golden, None));
    }
    if let Some(graph) = &subject.graph {
        let (golden, time) =
            Golden::of_checkpoint(&graph.architecture, &graph.checkpoint, request.golden_cases)?;
        return Ok((golden, Some(time)));
    }
    // Recording may take long: an engine that does not take the model says so first.
    Session::new(
        &subject.model,
        engine.clone(),
        &SessionOptions::default(),
        None,
    )
    .map_err(|error| error.in_file(&request.model))?;
    let recorder = Engines {
        choice: EngineChoice::Auto,
        ..request.engines.clone()
    };
    let recorder = recorder.for_foreign_graph()?;
    let golden = Golden::of_engine(&subject.model, recorder, request.golden_cases)
        .map_err(|error| error.in_file(&request.model))?;
    Ok((golden, None))
}

/// What golden vectors are worth that were recorded, for want of ONNX Runtime, by the engine that also
/// replays them.
fn own_witness(golden: &Golden, engine: &dyn Engine) -> Option<String> {
    let own = format!("{} {}", engine.name(), engine.version());
    let recorded = golden.kind() == GoldenKind::Reproducibility && golden.producer() == own;
    (recorded && engine.name() != EngineChoice::Ort.word()).then(|| {
        format!(
            "the golden vectors were recorded by {own}, which also replays them: that they agree shows that it \
             repeats itself, not that it is right; install ONNX Runtime, or supply vectors with --golden"
        )
    })
}

/// Writes everything into a staged bundle that is not visible yet.
fn seal(
    request: &PackRequest,
    subject: &Subject,
    contract: &Contract,
    golden: &Golden,
    mut files: AssetFiles,
    metadata: Metadata,
) -> Result<Sealed> {
    if let Some(config) = &subject.config {
        files.assets.config = Some(files.keep(config.name, config.bytes.clone())?);
    }
    if let Some(bytes) = &subject.checkpoint {
        files.assets.checkpoint = Some(files.keep(checkpoint_name(subject), bytes.clone())?);
    }
    let mut draft = request.store.draft()?;
    let parts = write::self_contained(&subject.model, DATA_FILE, INLINE_LIMIT)?;
    let data: BTreeMap<String, Bytes> = parts
        .data
        .iter()
        .map(|data| (DATA_FILE.to_owned(), data.to_bytes()))
        .collect();
    draft.add_graph(MAIN_GRAPH, "single", &parts.graph, &data, contract)?;
    let place = RelativePath::parse(&format!("golden/{MAIN_GRAPH}.safetensors"))?;
    let entry = golden.manifest_entry(place, contract);
    draft.add_golden(MAIN_GRAPH, &golden.to_bytes()?, entry)?;
    files.add_to(&mut draft)?;
    let (framework, format) = match &subject.graph {
        Some(_) => ("pytorch", "pytorch"),
        None => ("onnx", "onnx"),
    };
    let framework = Framework {
        name: framework.to_owned(),
        version: None,
    };
    let mut details = Details::new(metadata, framework, format);
    details.assets = files.assets;
    details.nonfinite_weights = subject.model.nonfinite_weights();
    let architecture = subject
        .graph
        .as_ref()
        .map(|graph| graph.architecture.model_type());
    details.provenance = Provenance {
        git_sha: request.git_sha.clone(),
        created_by: request.created_by.clone(),
        created_with: Some(format!("amphora {}", env!("CARGO_PKG_VERSION"))),
        architecture: architecture.map(str::to_owned),
        source: Some(subject.source.clone()),
        config_sha256: subject.config.as_ref().map(|config| sha256(&config.bytes)),
        exp_hash: None,
    };
    draft.seal(details)
}

fn checkpoint_name(subject: &Subject) -> &'static str {
    let format = subject
        .graph
        .as_ref()
        .map(|graph| graph.checkpoint.format());
    match format {
        Some(Format::Safetensors) => "checkpoint.safetensors",
        _ => "checkpoint.pt",
    }
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
