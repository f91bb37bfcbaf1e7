//! One inference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use amphora_bundle::manifest::effective_io;
use amphora_bundle::{Bundle, BundleId, Name, Package, Version, check_and_keep, parse_labels};
use amphora_error::{Error, ErrorKind, Result, quoted};
use amphora_files::{OpenedFile, RelativePath, json};
use amphora_onnx::{Limits, Model, TensorSpec};
use amphora_runtime::{Calibration, Engine, Outputs, Session, SessionOptions, Tensor, isolate};
use amphora_verify::{VerifiedBundle, VerifyOptions};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::inspect::decoded;
use crate::{Engines, Subject};

/// Largest `.npy` file read, in bytes.
const MAX_INPUT_BYTES: u64 = 4 << 30;

/// What to run, on what.
#[derive(Debug)]
pub struct RunRequest {
    /// The bundle or ONNX file.
    pub subject: Subject,
    /// The inputs, by name.
    pub inputs: Vec<(String, InputValue)>,
    /// The engine.
    pub engines: Engines,
    /// How many labels to report, most probable first.
    pub top_k: usize,
    /// Replay the golden vectors first.
    pub verify: bool,
}

/// Where the value of an input comes from.
#[derive(Debug, Clone)]
pub enum InputValue {
    /// A `.npy` file.
    Npy(PathBuf),
    /// A JSON file.
    JsonFile(PathBuf),
    /// JSON text: nested arrays, or `{"shape": [...], "data": [...]}`.
    Json(String),
}

/// The answer of a model.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The bundle, when one was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleRan>,
    /// The engine that ran it, with its version.
    pub engine: String,
    /// The outputs in graph order: `{name: {dtype, shape, data}}`.
    #[serde(serialize_with = "outputs_to_json")]
    pub outputs: Outputs,
    /// The most probable classes, by output, where the bundle has labels: one list for each row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, Vec<Vec<Label>>>>,
    /// How many values of all outputs are NaN or infinite.
    pub nonfinite: usize,
    /// Where a package's manifest and its graph contradict each other, and the graph was believed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Which bundle answered.
#[derive(Debug, Clone, Serialize)]
pub struct BundleRan {
    /// The id.
    pub id: BundleId,
    /// The name.
    pub name: Name,
    /// The version.
    pub version: Version,
}

/// One class.
#[derive(Debug, Clone, Serialize)]
pub struct Label {
    /// The number of the class.
    pub class: usize,
    /// Its name.
    pub label: String,
    /// Its probability, 0 to 1.
    pub probability: f64,
}

fn outputs_to_json<S: serde::Serializer>(outputs: &Outputs, to: S) -> Result<S::Ok, S::Error> {
    outputs.to_json().serialize(to)
}

/// Runs one inference. Of a bundle, every byte that is used was compared with the manifest; a
/// calibration in it is applied, and its labels name the classes.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Untrusted`] when the bundle is not what was sealed;
/// [`amphora_error::ErrorKind::Usage`] listing every fault of the inputs.
pub fn run(request: RunRequest) -> Result<Answer> {
    let engines = &request.engines;
    let options = SessionOptions::default();
    let shown = match &request.subject {
        Subject::Onnx(path) => path.clone(),
        Subject::Bundle(bundle) => bundle.path().to_owned(),
        Subject::Package(package) => package.path().to_owned(),
        Subject::Directory(path) => path.clone(),
    };
    let mut warnings = Vec::new();
    let (mut session, ran, labels) = match request.subject {
        Subject::Onnx(path) => {
            let model = Model::open(&path, &Limits::default())?;
            let session = Session::new(&model, engines.for_foreign_graph()?, &options, None);
            (session.map_err(|error| error.in_file(path))?, None, None)
        }
        Subject::Bundle(bundle) => {
            let ran = BundleRan::of(&bundle);
            let engine = engines.for_bundle(&bundle.id())?;
            let (session, labels) = if request.verify {
                let labels = labels(&bundle, &|path| bundle.read(path))?;
                let verified = verified(*bundle, engines, &engine)?;
                (verified.session(engine, &options)?, labels)
            } else {
                let (report, checked) = check_and_keep(&bundle, &needed(&bundle)?)?;
                report.into_result()?;
                let read = |path: &RelativePath| checked.read(path);
                let labels = labels(&bundle, &read)?;
                let (bytes, external) = checked.graph_bytes(&bundle.manifest().spec.entry)?;
                let model = decoded(&bundle, bytes, external)?;
                let calibration = calibration(&bundle, &read)?;
                let session = Session::new(&model, engine, &options, calibration)?;
                let io = &bundle.manifest().graph(&bundle.manifest().spec.entry)?.io;
                let known = effective_io(Some(io), session.contract(), false, &|_| false)?;
                let contract = known.narrow(session.contract());
                (session.narrowed(contract)?, labels)
            };
            (session, Some(ran), labels)
        }
        Subject::Package(package) => {
            let (session, conflicts) = package_session(&package, engines, &options)?;
            warnings = conflicts;
            (session, None, None)
        }
        Subject::Directory(path) => {
            return Err(Error::unsupported(
                "run-without-graph",
                "this is a model's directory without a graph, and only graphs run",
            )
            .hint(format!(
                "make a bundle of it: amphora pack --model {}",
                path.display()
            ))
            .in_file(path));
        }
    };
    let inputs = tensors(&session, &request.inputs)?;
    let outputs = session.run(&inputs).map_err(|error| {
        // That is the model's doing, not that of the inputs.
        match isolate::has_ended(&error) {
            true => error.in_file(shown),
            false => error,
        }
    })?;
    Ok(Answer {
        bundle: ran,
        engine: format!("{} {}", session.engine().name(), session.engine().version()),
        labels: labels.map(|labels| name_classes(&outputs, &labels, request.top_k)),
        nonfinite: outputs.nonfinite(),
        outputs,
        warnings,
    })
}

/// The entry graph of a package, which enforces what its manifest says; and where the two contradict
/// each other.
fn package_session(
    package: &Package,
    engines: &Engines,
    options: &SessionOptions,
) -> Result<(Session, Vec<String>)> {
    let graphs = package.graphs()?;
    let entry = graphs.first().ok_or_else(|| {
        Error::internal(
            "package-graphs",
            "a package was found to hold no graph at all",
        )
    })?;
    let model = package.model(entry, &Limits::default())?;
    let engine = engines.for_foreign_graph()?;
    let session = Session::new(&model, engine, options, None)
        .map_err(|error| error.in_file(entry.file.beneath(package.path())))?;
    let known = package.effective_io(session.contract(), false)?;
    let contract = known.narrow(session.contract());
    Ok((session.narrowed(contract)?, known.warnings))
}

impl BundleRan {
    pub(crate) fn of(bundle: &Bundle) -> Self {
        let metadata = &bundle.manifest().metadata;
        Self {
            id: bundle.id(),
            name: metadata.full_name(),
            version: metadata.version.clone(),
        }
    }
}

/// Replays the golden vectors on the engine that is about to answer.
pub(crate) fn verified(
    bundle: Bundle,
    engines: &Engines,
    engine: &Arc<dyn Engine>,
) -> Result<VerifiedBundle> {
    let id = bundle.id();
    let options = VerifyOptions {
        engine: Some(engine.clone()),
        ..VerifyOptions::default()
    };
    let verification = amphora_verify::verify(bundle, &options)?;
    engines.remember(&id, engine.as_ref(), &verification.report);
    verification.into_bundle()
}

/// The files that a run reads.
fn needed(bundle: &Bundle) -> Result<BTreeSet<&RelativePath>> {
    let manifest = bundle.manifest();
    let graph = manifest.graph(&manifest.spec.entry)?;
    let assets = &manifest.assets;
    let files = graph.data.iter().chain([&graph.file]);
    Ok(files
        .chain(&assets.labels)
        .chain(&assets.calibration)
        .collect())
}

/// Gives a file of a bundle whose bytes were compared with the manifest.
type Read<'a> = &'a dyn Fn(&RelativePath) -> Result<Bytes>;

/// The calibration that the manifest names.
fn calibration(bundle: &Bundle, read: Read<'_>) -> Result<Option<Calibration>> {
    let Some(path) = &bundle.manifest().assets.calibration else {
        return Ok(None);
    };
    let bytes = read(path)?;
    Calibration::parse(&bytes)
        .map(Some)
        .map_err(|error| error.in_file(path.beneath(bundle.path())))
}

fn labels(bundle: &Bundle, read: Read<'_>) -> Result<Option<BTreeMap<u64, String>>> {
    let Some(path) = &bundle.manifest().assets.labels else {
        return Ok(None);
    };
    parse_labels(&read(path)?)
        .map(Some)
        .map_err(|error| error.in_file(path.beneath(bundle.path())))
}

/// Reads every input as the element type that the contract states. A value that is no such tensor is
/// reported with all other faults of the inputs, and alone when there is no other.
fn tensors(session: &Session, inputs: &[(String, InputValue)]) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    let mut unreadable = BTreeMap::new();
    let mut only = None;
    for (name, value) in inputs {
        if tensors.contains_key(name) || unreadable.contains_key(name) {
            return Err(Error::usage("input-twice", "the input is given twice").at(place(name)));
        }
        let mut specs = session.contract().inputs.iter();
        let tensor = match specs.find(|spec| spec.name == *name) {
            Some(spec) => tensor(spec, value),
            // The session reports a name that the graph does not have.
            None => Ok(Tensor::scalar(0.0_f32)),
        };
        match tensor {
            Ok(tensor) => drop(tensors.insert(name.clone(), tensor)),
            Err(error) if matches!(error.kind(), ErrorKind::Usage | ErrorKind::Malformed) => {
                unreadable.insert(name.clone(), in_one_line(&error));
                only = Some(error.at(place(name)));
            }
            Err(error) => return Err(error.at(place(name))),
        }
    }
    let Some(only) = only else {
        return Ok(tensors);
    };
    match session.check(&tensors, &unreadable) {
        Err(all) if all.fault_list().len() > 1 => Err(all),
        _ => Err(only),
    }
}

/// The message of an error with its faults, for a list of faults.
fn in_one_line(error: &Error) -> String {
    let text = error.to_string();
    let parts: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches(['-', ' ']))
        .collect();
    parts.join(": ")
}

fn place(name: &str) -> String {
    format!("input {}", quoted(name))
}

fn tensor(spec: &TensorSpec, value: &InputValue) -> Result<Tensor> {
    match value {
        InputValue::Npy(path) => Tensor::read_npy(path, MAX_INPUT_BYTES),
        InputValue::JsonFile(path) => {
            let bytes = OpenedFile::open(path)?.contents(json::MAX_BYTES)?;
            json::parse(&bytes)
                .and_then(|value| Tensor::from_json(&value, spec.dtype))
                .map_err(|error| error.in_file(path))
        }
        InputValue::Json(text) => {
            let value: Value = json::parse(text.as_bytes()).map_err(|error| {
                Error::usage(
                    "input-json",
                    "the value is neither JSON nor the name of a file",
                )
                .found(quoted(text).to_string())
                .hint("write NAME=[[1, 2]], NAME=FILE.npy or NAME=@FILE.json")
                .caused_by(error)
            })?;
            Tensor::from_json(&value, spec.dtype).map_err(|error| {
                Error::usage(
                    "input-value",
                    format!("the value is no {} tensor", spec.dtype),
                )
                .faults(vec![error.to_string()])
                .caused_by(error)
            })
        }
    }
}

/// The `top_k` most probable classes of every output that has one logit, or one probability, for
/// each label in its last dimension.
fn name_classes(
    outputs: &Outputs,
    labels: &BTreeMap<u64, String>,
    top_k: usize,
) -> BTreeMap<String, Vec<Vec<Label>>> {
    let mut named = BTreeMap::new();
    for (name, tensor) in outputs.iter() {
        let Some(logits) = tensor.as_slice::<f32>() else {
            continue;
        };
        let classes = match tensor.shape() {
            [_, classes] if *classes == labels.len() && *classes > 1 => *classes,
            _ => continue,
        };
        let rows = logits
            .chunks_exact(classes)
            .map(|row| most_probable(row, labels, top_k));
        named.insert(name.to_owned(), rows.collect());
    }
    named
}

fn most_probable(row: &[f32], labels: &BTreeMap<u64, String>, top_k: usize) -> Vec<Label> {
    let mut classes: Vec<Label> = probabilities(row)
        .into_iter()
        .zip(labels.iter())
        .enumerate()
        .map(|(class, (probability, (_, label)))| Label {
            class,
            label: label.clone(),
            probability,
        })
        .collect();
    classes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    classes.truncate(top_k);
    classes
}

/// The softmax of a row of logits; a row that is a distribution already stays as it is.
fn probabilities(row: &[f32]) -> Vec<f64> {
    let row: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
    let sum: f64 = row.iter().sum();
    if row.iter().all(|value| (0.0..=1.0).contains(value)) && (sum - 1.0).abs() < 1e-4 {
        return row;
    }
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = row.iter().map(|value| (value - largest).exp()).collect();
    let total: f64 = exponentials.iter().sum();
    exponentials.iter().map(|value| value / total).collect()
}
