//! All stages in order, and the bundle that passed them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amphora_bundle::manifest::effective_io;
use amphora_bundle::{Bundle, Checked, Manifest, check_and_keep, manifest};
use amphora_error::{Error, ErrorKind, Result, quoted};
use amphora_files::RelativePath;
use amphora_onnx::{Contract, Limits, Model};
use amphora_runtime::{Calibration, Engine, Session, SessionOptions};

use crate::golden::Golden;
use crate::replay::{Replay, replay};
use crate::report::{EngineInfo, OnnxCheck, Report, Stage, Target, lines};
use crate::target::Entry;
use crate::{assets, contract, target};

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// What the bundle is verified for.
    pub target: Target,
    /// The engine that replays the golden vectors; without one they are not replayed, which the
    /// report says.
    pub engine: Option<Arc<dyn Engine>>,
    /// How the engine runs.
    pub session: SessionOptions,
    /// Whether element types and shapes that differ between manifest and graph, and weights that
    /// are not finite, are errors instead of warnings.
    pub strict: bool,
    /// What reading a graph may cost.
    pub limits: Limits,
}

/// The outcome of [`verify`].
#[derive(Debug)]
pub struct Verification {
    /// What was found.
    pub report: Report,
    verified: Option<VerifiedBundle>,
}

impl Verification {
    /// The bundle, when it passed; else an error of [`Report::exit_kind`] that lists every failure.
    pub fn into_bundle(self) -> Result<VerifiedBundle> {
        let Self { report, verified } = self;
        match verified {
            Some(verified) => Ok(verified),
            None => {
                report.into_result()?;
                Err(Error::internal(
                    "verified-bundle",
                    "a bundle passed but was not kept",
                ))
            }
        }
    }
}

/// A bundle that passed verification, together with the bytes that did.
///
/// The graphs are held in memory as they were verified: what runs is what was checked, whatever
/// happens to the files afterwards. Only [`verify`] makes one.
#[derive(Debug)]
pub struct VerifiedBundle {
    bundle: Bundle,
    models: BTreeMap<String, Model>,
    calibration: Option<Calibration>,
}

impl VerifiedBundle {
    /// The bundle.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The bundle alone, once its graphs are loaded.
    pub fn into_bundle(self) -> Bundle {
        self.bundle
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        self.bundle.manifest()
    }

    /// A graph by name; not found when there is none of this name.
    pub fn model(&self, graph: &str) -> Result<&Model> {
        self.models.get(graph).ok_or_else(|| {
            let known: Vec<&str> = self.models.keys().map(String::as_str).collect();
            Error::not_found("graph-not-found", "the bundle has no graph of this name")
                .at(format!("graph {}", quoted(graph)))
                .expected(format!("one of {}", known.join(", ")))
        })
    }

    /// The entry graph, ready to answer, calibrated when the bundle says so. It takes what both the
    /// manifest and the graph allow: a size that the manifest fixes is enforced.
    pub fn session(&self, engine: Arc<dyn Engine>, options: &SessionOptions) -> Result<Session> {
        let entry = &self.manifest().spec.entry;
        let session = Session::new(
            self.model(entry)?,
            engine,
            options,
            self.calibration.clone(),
        )?;
        let io = &self.manifest().graph(entry)?.io;
        let known = effective_io(Some(io), session.contract(), false, &|_| false)?;
        let contract = known.narrow(session.contract());
        session.narrowed(contract)
    }
}

/// Verifies `bundle`: integrity, contract, model check, numeric replay, target, in this order and in
/// one report. The bundle is not changed.
///
/// A stage that cannot be trusted after the failure of an earlier one is listed as skipped: nothing
/// is read from a bundle whose bytes are not those that were sealed.
///
/// # Errors
///
/// Only when a check could not be done, for example because a file may not be read. A bundle that
/// fails is a report that has not passed.
pub fn verify(bundle: Bundle, options: &VerifyOptions) -> Result<Verification> {
    let mut report = Report::new(options.target);
    report.begin("integrity");
    let (integrity, checked) = check_and_keep(&bundle, &needed(bundle.manifest()))?;
    if !integrity.passed() {
        for fault in integrity.faults() {
            report.fail(
                Stage::Integrity,
                ErrorKind::Untrusted,
                format!("integrity: {fault}"),
            );
        }
        for check in ["contract", "model_check", "numeric_equivalence", "target"] {
            report.skip(check, "the bundle is not what was sealed");
        }
        return Ok(Verification {
            report,
            verified: None,
        });
    }
    let mut loading = Vec::new();
    let models = load(&checked, options, &mut loading)?;
    let contracts: BTreeMap<String, Contract> = models
        .iter()
        .filter_map(|(name, model)| match model.contract() {
            Ok(contract) => Some((name.clone(), contract)),
            Err(error) => {
                loading.push((error.kind(), error));
                None
            }
        })
        .collect();
    if loading.is_empty() {
        contract::check(&mut report, &bundle, &contracts, options.strict)?;
    } else {
        report.skip("contract", "a graph cannot be read");
    }
    let entry = contracts.get(&bundle.manifest().spec.entry);
    let config = assets::check(&mut report, &checked, entry)?;
    check_models(&mut report, &bundle, &models, loading, options.strict);
    numerics(&mut report, &checked, &models, &contracts, options)?;
    let entry = Entry {
        contract: entry,
        config: config.as_ref(),
    };
    target::check(&mut report, bundle.manifest(), &entry);
    let calibration = match report.passed {
        true => calibration(&checked)?,
        false => None,
    };
    let verified = report.passed.then_some(VerifiedBundle {
        bundle,
        models,
        calibration,
    });
    Ok(Verification { report, verified })
}

/// The files that the checks read.
fn needed(manifest: &Manifest) -> BTreeSet<&RelativePath> {
    let graphs = manifest.spec.graphs.values();
    let assets = &manifest.assets;
    graphs
        .flat_map(|graph| graph.data.iter().chain([&graph.file]))
        .chain(manifest.golden.values().map(|golden| &golden.file))
        .chain(&assets.config)
        .chain(&assets.labels)
        .chain(&assets.metrics)
        .chain(&assets.calibration)
        .collect()
}

type Failures = Vec<(ErrorKind, Error)>;

fn load(
    bundle: &Checked<'_>,
    options: &VerifyOptions,
    failures: &mut Failures,
) -> Result<BTreeMap<String, Model>> {
    let mut models = BTreeMap::new();
    for (name, graph) in &bundle.manifest().spec.graphs {
        let (bytes, data) = bundle.graph_bytes(name)?;
        match Model::from_parts(bytes, data, &options.limits) {
            Ok(model) => {
                models.insert(name.clone(), model);
            }
            Err(error) => failures.push((error.kind(), error.in_file(graph.file.as_str()))),
        }
    }
    Ok(models)
}

fn check_models(
    report: &mut Report,
    bundle: &Bundle,
    models: &BTreeMap<String, Model>,
    loading: Failures,
    strict: bool,
) {
    report.begin("model_check");
    let mut errors = Vec::new();
    let mut fail = |report: &mut Report, kind, text: String| {
        report.fail(Stage::ModelCheck, kind, format!("model check: {text}"));
        errors.push(text);
    };
    for (kind, error) in loading {
        for line in lines(&error) {
            fail(report, kind, line);
        }
    }
    let mut nonfinite = 0;
    for (name, model) in models {
        let found = model.check_report();
        for fault in &found.errors {
            fail(report, fault.kind, fault.to_string());
        }
        for oddity in &found.warnings {
            report.warn(format!("model check: graph {}: {oddity}", quoted(name)));
        }
        nonfinite += model.nonfinite_weights();
    }
    if nonfinite != bundle.manifest().nonfinite_weights {
        let stated = bundle.manifest().nonfinite_weights;
        let text =
            format!("nonfinite_weights: the manifest says {stated}, the graphs have {nonfinite}");
        report.fail(
            Stage::Contract,
            ErrorKind::Incompatible,
            format!("contract: {text}"),
        );
    }
    if nonfinite > 0 {
        let text = format!("{nonfinite} weights are NaN or infinite");
        match strict {
            true => fail(report, ErrorKind::Malformed, text),
            false => report.warn(format!("model check: {text}")),
        }
    }
    report.onnx_check = Some(OnnxCheck {
        passed: errors.is_empty(),
        errors,
    });
}

fn numerics(
    report: &mut Report,
    bundle: &Checked<'_>,
    models: &BTreeMap<String, Model>,
    contracts: &BTreeMap<String, Contract>,
    options: &VerifyOptions,
) -> Result<()> {
    const CHECK: &str = "numeric_equivalence";
    let Some(engine) = &options.engine else {
        report.skip(CHECK, "a replay was not asked for");
        return Ok(());
    };
    report.engine = Some(EngineInfo {
        name: engine.name().to_owned(),
        version: engine.version(),
    });
    if !report.onnx_check.as_ref().is_some_and(|check| check.passed) {
        report.skip(CHECK, "the model check failed");
        return Ok(());
    }
    let several = models.len() > 1;
    for (name, model) in models {
        let Some(entry) = bundle.manifest().golden.get(name) else {
            report.skip(
                CHECK,
                format!("graph {} has no golden vectors", quoted(name)),
            );
            continue;
        };
        let Some(contract) = contracts.get(name) else {
            continue;
        };
        let bytes = bundle.read(&entry.file)?;
        if report.checks_run.iter().all(|check| check != CHECK) {
            report.begin(CHECK);
        }
        let mut session = match Session::new(model, engine.clone(), &options.session, None) {
            Ok(session) => session,
            Err(error) => {
                report.fail_with(Stage::ModelCheck, error.kind(), &error);
                continue;
            }
        };
        let replayed = Golden::from_bytes(&bytes, contract).and_then(|golden| {
            same_origin(&golden, entry)?;
            replay(&golden, &mut session, &entry.tolerance)
        });
        match replayed {
            Ok(replayed) => {
                let is_entry = *name == bundle.manifest().spec.entry;
                judge(report, replayed, several.then_some(name), is_entry);
            }
            Err(error) => {
                let kind = match error.kind() {
                    ErrorKind::Usage => ErrorKind::Incompatible,
                    kind => kind,
                };
                report.fail_with(Stage::Numerics, kind, &error.in_file(entry.file.as_str()));
            }
        }
    }
    Ok(())
}

/// The manifest and the vectors themselves must say the same of what agreement proves.
fn same_origin(golden: &Golden, entry: &manifest::Golden) -> Result<()> {
    let same = golden.kind() == entry.kind
        && golden.producer() == entry.producer
        && golden.cases() == entry.cases;
    if same {
        return Ok(());
    }
    Err(Error::incompatible(
        "golden-origin",
        "the golden vectors are not what the manifest says of them",
    )
    .expected(format!(
        "{:?}, {} cases by {}",
        entry.kind, entry.cases, entry.producer
    ))
    .found(format!(
        "{:?}, {} cases by {}",
        golden.kind(),
        golden.cases(),
        golden.producer()
    )))
}

/// Adds the replay of one graph to the report.
fn judge(report: &mut Report, replayed: Replay, graph: Option<&String>, is_entry: bool) {
    let Replay {
        mut numeric,
        time,
        without_policy,
    } = replayed;
    let full = |name: &str| match graph {
        Some(graph) => format!("{graph}/{name}"),
        None => name.to_owned(),
    };
    for (name, output) in numeric
        .per_output
        .iter()
        .filter(|(_, output)| !output.within_tolerance)
    {
        let mut text = format!(
            "numerics: output {}: {} of {} elements are out of tolerance (largest difference {:e})",
            quoted(&full(name)),
            output.outside + output.nonfinite_mismatches,
            output.elements,
            output.max_abs_diff,
        );
        if output.nonfinite_mismatches > 0 {
            text.push_str(&format!(
                ", {} of them not finite on one side only",
                output.nonfinite_mismatches
            ));
        }
        if let Some(worst) = &output.worst {
            text.push_str(&format!(
                "; the worst in case {} at {:?}: expected {}, found {}",
                worst.case, worst.index, worst.reference, worst.found
            ));
        }
        for (what, agreement) in [
            ("argmax", output.argmax_agreement),
            ("tokens", output.token_agreement),
        ] {
            if let Some(agreement) = agreement {
                text.push_str(&format!("; {what} agree in {agreement}"));
            }
        }
        report.fail(Stage::Numerics, ErrorKind::Mismatch, text);
    }
    for name in without_policy {
        let name = quoted(&full(&name)).to_string();
        report.skip(
            "numeric_equivalence",
            format!("output {name} has no tolerance in the manifest"),
        );
    }
    if !numeric.within_rounding_margin.is_empty() {
        report.warn(format!(
            "numerics: {} cases closer than {:e} to a rounding border got another code: {:?}",
            numeric.within_rounding_margin.len(),
            crate::ROUNDING_MARGIN,
            numeric.within_rounding_margin
        ));
    }
    numeric.per_output = numeric
        .per_output
        .into_iter()
        .map(|(name, output)| (full(&name), output))
        .collect();
    if is_entry {
        report.inference_time = Some(time);
    }
    report.merge(numeric);
}

fn calibration(bundle: &Checked<'_>) -> Result<Option<Calibration>> {
    let path = bundle.manifest().assets.calibration.as_ref();
    path.map(|path| Calibration::parse(&bundle.read(path)?))
        .transpose()
}
