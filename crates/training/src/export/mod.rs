//! From a checkpoint to a planner bundle: calibrated, documented and proven.
//!
//! * [`export`] writes everything that document 000 lists into a sealed bundle, and publishes it only
//!   when every engine that was named computes what the reference in double precision does.
//! * [`ExportRequest`] says from what; [`Exported`] what came out.

mod agreement;
mod documents;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amphora_bundle::manifest::{Framework, Metadata, Provenance};
use amphora_bundle::{BundleId, Details, Draft, MAIN_GRAPH, Name, Sealed, Timestamp, Version};
use amphora_error::{Error, Result};
use amphora_export::ExportOptions;
use amphora_files::{RelativePath, json, sha256};
use amphora_onnx::{Limits, Model, write};
use amphora_runtime::Engine;
use amphora_verify::golden::{DEFAULT_CASES, Golden};
use amphora_verify::{Report, Target, VerifyOptions, verify};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::dataset::Dataset;
use agreement::{Agreement, Answers};
use source::Source;

/// The opset of document 000.
const OPSET: u64 = 14;
/// The size under which document 000 wants the file of a planner MLP, in bytes.
const MLP_BYTES: usize = 10_000_000;

/// What to export.
#[derive(Debug, Clone)]
pub struct ExportRequest<'a> {
    /// The directory that training wrote.
    pub checkpoint: &'a Path,
    /// The dataset it was trained on: its validation rows calibrate, its test rows measure.
    pub dataset: &'a Dataset,
    /// The directory to publish.
    pub out: &'a Path,
    /// A configuration instead of the checkpoint's.
    pub config: Option<&'a Path>,
    /// A `calibration.json` instead of a fit; its key `confidence_threshold` counts as well.
    pub calibration: Option<&'a Path>,
    /// The confidence below which a decision is left to the baseline, instead of the calibration's.
    pub threshold: Option<f64>,
    /// The version.
    pub version: &'a str,
    /// The commit that the model was trained from.
    pub git_sha: Option<&'a str>,
    /// Keep the checkpoint inside the bundle.
    pub keep_checkpoint: bool,
    /// The toolchains that the model depends on, in their order.
    pub toolchains: Option<&'a [String]>,
    /// When it is exported. Not part of the identity.
    pub created: &'a Timestamp,
    /// The engines that must reproduce the reference; the first also answers for calibration.
    pub engines: &'a [Arc<dyn Engine>],
}

/// A published planner bundle.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Exported {
    /// The id.
    pub id: BundleId,
    /// The first 12 digits of the id.
    pub exp_hash: String,
    /// Where it lies.
    pub path: PathBuf,
    /// `mlp`, `transformer` or `urm`.
    pub model_type: String,
    /// Whether the same bundle was there already; it was left untouched.
    pub existed: bool,
    /// Bytes of the model's file.
    pub model_bytes: usize,
    /// The temperature of each head.
    pub temperature: BTreeMap<String, f64>,
    /// The confidence below which a decision is left to the baseline; null where none was chosen.
    pub threshold: Option<f64>,
    /// What the calibration says of its error on the validation rows; null where it says nothing.
    pub validation_ece: Option<f64>,
    /// The largest difference from the reference, by engine.
    pub max_abs_diff: BTreeMap<String, f64>,
    /// What is odd but does no harm.
    pub warnings: Vec<String>,
}

/// Exports a checkpoint. `step` is told what is being done.
///
/// Equal requests, the date aside, give bundles with equal ids.
///
/// # Errors
///
/// Usage for a request that makes no sense, also (`export-calibration`) for a model that learned from
/// outcomes without a calibration that was fitted on outcomes; unsupported (`export-model`) for models that decide in
/// another way than by four heads; incompatible when checkpoint, dataset and calibration do not belong
/// together; mismatch when an engine is not within 1e-5 of the reference: then nothing is published.
pub fn export(request: &ExportRequest<'_>, step: &dyn Fn(&str)) -> Result<Exported> {
    let version = Version::parse(request.version)
        .map_err(|error| Error::usage(error.rule(), error.to_string()))?;
    check_sha(request.git_sha)?;
    if let Some(threshold) = request.threshold.filter(|t| !(0.0..=1.0).contains(t)) {
        return Err(
            Error::usage("confidence-threshold", "the threshold is no probability")
                .expected("0 to 1")
                .found(threshold.to_string()),
        );
    }
    let [first, ..] = request.engines else {
        return Err(Error::usage(
            "export-engine",
            "an export needs an engine to prove it on",
        ));
    };
    step("reading the checkpoint");
    let source = Source::read(request)?;
    step("exporting the graph");
    let options = ExportOptions {
        opset: Some(OPSET),
        ..ExportOptions::default()
    };
    let proto = amphora_export::export(&source.architecture, &source.checkpoint, &options)?;
    let model = Model::from_proto(proto, &Limits::default())?;
    model.check()?;
    step("calibrating on the validation rows");
    let answers = Answers::of(&model, first.clone(), &source, request.dataset)?;
    let calibration = match request.calibration {
        Some(path) => documents::supplied_calibration(path, &sha256(&source.weights))?,
        None => answers.fit()?,
    };
    let threshold = request.threshold.or(calibration.threshold);
    let agreement = answers.measure(&calibration.temperatures)?;
    step("computing the golden vectors");
    let (golden, reference_time) =
        Golden::of_checkpoint(&source.architecture, &source.checkpoint, DEFAULT_CASES)?;
    step("writing the bundle");
    let graph = write::to_bytes(model.proto());
    let mut warnings = source.warnings.clone();
    if source.architecture.model_type() == "mlp" && graph.len() >= MLP_BYTES {
        warnings.push(format!(
            "the model is {} bytes long, and document 000 wants less than {MLP_BYTES}",
            graph.len()
        ));
    }
    let calibration_json = calibration.to_json(agreement.validation_ece);
    let mut draft = Draft::at(request.out)?;
    let contract = model.contract()?;
    draft.add_graph(MAIN_GRAPH, "single", &graph, &BTreeMap::new(), &contract)?;
    let place = RelativePath::parse("golden/vectors.safetensors")?;
    draft.add_golden(
        MAIN_GRAPH,
        &golden.to_bytes()?,
        golden.manifest_entry(place, &contract),
    )?;
    let details = fill(
        request,
        &source,
        &mut draft,
        &calibration_json,
        &agreement,
        threshold,
        version,
    )?;
    let details = Details {
        nonfinite_weights: model.nonfinite_weights(),
        ..details
    };
    let sealed = draft.seal(details)?;
    let reports = prove(
        &sealed,
        request,
        step,
        (reference_time.mean_ms, reference_time.std_ms),
    )?;
    let max_abs_diff = reports
        .iter()
        .filter_map(|(name, report)| {
            let found = report.numeric_equivalence.as_ref()?;
            Some((name.clone(), found.max_abs_diff))
        })
        .collect();
    step("publishing");
    let published = sealed
        .with_reports(&report_files(&reports, request.engines)?)?
        .publish()?;
    Ok(Exported {
        id: published.id,
        exp_hash: published.exp_hash,
        path: published.path,
        model_type: source.architecture.model_type().to_owned(),
        existed: published.existed,
        model_bytes: graph.len(),
        temperature: calibration.by_head(),
        threshold,
        validation_ece: calibration_json["validation_ece"].as_f64(),
        max_abs_diff,
        warnings,
    })
}

fn check_sha(sha: Option<&str>) -> Result<()> {
    let commit = |sha: &str| {
        sha.bytes().all(|byte| byte.is_ascii_hexdigit()) && (7..=40).contains(&sha.len())
    };
    match sha {
        Some(sha) if !commit(sha) => Err(Error::usage("git-sha", "this is not a commit")
            .expected("7 to 40 hexadecimal digits")
            .found(amphora_error::quoted(sha).to_string())),
        _ => Ok(()),
    }
}

/// Adds every document to the draft and describes them.
fn fill(
    request: &ExportRequest<'_>,
    source: &Source,
    draft: &mut Draft,
    calibration: &Value,
    agreement: &Agreement,
    threshold: Option<f64>,
    version: Version,
) -> Result<Details> {
    let config = json::to_pretty_bytes(&documents::config(source, OPSET)?)?;
    let metadata = documents::metadata(request, source, agreement, &sha256(&config), threshold)?;
    let mut add = |name: &str, bytes: &[u8]| -> Result<RelativePath> {
        let path = RelativePath::parse(name)?;
        draft.add_bytes(&path, bytes)?;
        Ok(path)
    };
    let mut files = amphora_bundle::manifest::Assets {
        config: Some(add("config.json", &config)?),
        calibration: Some(add(
            "calibration.json",
            &json::to_pretty_bytes(calibration)?,
        )?),
        ..Default::default()
    };
    add(
        "action_space.json",
        &json::to_pretty_bytes(&source.action_space)?,
    )?;
    add("tokenizer_config.json", &source.tokenizer.to_json()?)?;
    add("metadata.json", &json::to_pretty_bytes(&metadata)?)?;
    if let Some(vocabulary) = &source.vocabulary {
        add("vocab.json", &vocabulary.to_json()?)?;
    }
    if request.keep_checkpoint {
        files.checkpoint = Some(add("checkpoint.safetensors", &source.weights)?);
    }
    let model_type = source.architecture.model_type();
    let name = Name::parse(&format!("planner-{model_type}"))?;
    let framework = Framework {
        name: "amphora".to_owned(),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
    };
    let metadata = Metadata {
        description: format!(
            "A swarm planner ({model_type}): chooses swarm and budgets for one issue."
        ),
        created: Some(request.created.clone()),
        ..Metadata::new(&name, version)
    };
    Ok(Details {
        assets: files,
        provenance: Provenance {
            git_sha: request.git_sha.map(str::to_owned),
            created_with: Some(format!("amphora {}", env!("CARGO_PKG_VERSION"))),
            architecture: Some(model_type.to_owned()),
            source: Some(amphora_bundle::manifest::Source {
                format: source.checkpoint.format().to_string(),
                sha256: sha256(&source.weights),
                size: source.weights.len() as u64,
            }),
            config_sha256: Some(sha256(&config)),
            ..Provenance::default()
        },
        ..Details::new(metadata, framework, "safetensors")
    })
}

/// Replays the golden vectors on every engine; the first report that has not passed is the error.
fn prove(
    sealed: &Sealed,
    request: &ExportRequest<'_>,
    step: &dyn Fn(&str),
    (mean_ms, std_ms): (f64, Option<f64>),
) -> Result<BTreeMap<String, Report>> {
    let mut reports = BTreeMap::new();
    for engine in request.engines {
        step(&format!("proving equivalence on {}", engine.name()));
        let options = VerifyOptions {
            target: Target::Onnx,
            engine: Some(engine.clone()),
            ..VerifyOptions::default()
        };
        let mut report = verify(sealed.bundle()?, &options)?.report.into_result()?;
        report.validated_at = Some(request.created.to_string());
        report.set_reference_time(mean_ms, std_ms);
        reports.insert(engine.name().to_owned(), report);
    }
    Ok(reports)
}

/// One report for each engine; that of the first is also document 000's `validation_report.json`.
fn report_files(
    reports: &BTreeMap<String, Report>,
    engines: &[Arc<dyn Engine>],
) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for (place, engine) in engines.iter().enumerate() {
        let Some(report) = reports.get(engine.name()) else {
            continue;
        };
        let bytes = json::to_pretty_bytes(report)?;
        if place == 0 {
            files.insert("onnx_validation".to_owned(), bytes);
            let document = json::to_pretty_bytes(&report.validation_report())?;
            files.insert("validation_report".to_owned(), document);
        } else {
            files.insert(format!("onnx_validation_{}", engine.name()), bytes);
        }
    }
    Ok(files)
}
