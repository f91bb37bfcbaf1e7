//! What a policy is worth, and whether that beats what an orchestrator does without it.

use std::path::{Path, PathBuf};

use amphora_bundle::Store;
use amphora_error::{Error, Result};
use amphora_files::{OpenedFile, durable, json};
use amphora_planner::replay::Trials;
use amphora_training::crossvalidate::{self, Recipe};
use amphora_training::dataset::Dataset;
use amphora_training::evaluate::{self, Gate, Model};
use amphora_training::metrics::Bootstrap;
use amphora_training::report;
use amphora_training::train::{ModelKind, REPORT};

use super::bundle;
use super::import::toolchains;
use crate::Engines;
use crate::output::{not_over, not_within, outside_bundles};

pub use amphora_training::evaluate::{Decode, Evaluation, PolicyReport, Settings};

/// The largest report that is read.
const MAX_REPORT: u64 = 64 << 20;

/// What to evaluate.
#[derive(Debug, Clone)]
pub struct EvaluateRequest {
    /// The directory of the dataset.
    pub dataset: PathBuf,
    /// A checkpoint or a bundle, as [`Store::resolve`] takes it, or a flat directory; may be left out
    /// with `cross_validate`.
    pub model: Option<PathBuf>,
    /// Where bundles are.
    pub store: Store,
    /// The engine for bundles that need one.
    pub engines: Engines,
    /// Recorded trials, for outcomes.
    pub trials: Option<PathBuf>,
    /// The toolchains of the replay, in the order of their priority; none: all that are recorded.
    pub toolchains: Vec<String>,
    /// What an agent minute costs, in passes.
    pub minute_cost: f64,
    /// Replays of every task.
    pub replays: u32,
    /// Resamples of every interval.
    pub resamples: u32,
    /// The seed of replays, folds and intervals.
    pub seed: u64,
    /// How the heads of policies come to one action; a bundle that decides does it jointly.
    pub decode: Decode,
    /// Train and hold out, instead of judging one model.
    pub cross_validate: Option<CrossValidateRequest>,
    /// A report to compare inputs, actions and calibration with.
    pub baseline_report: Option<PathBuf>,
    /// What must be beaten.
    pub gate: Option<Gate>,
    /// Where the temperatures and the threshold go that validation rows gave, for the export.
    pub calibration: Option<PathBuf>,
    /// Where the page goes.
    pub page: Option<PathBuf>,
    /// The command that the page names.
    pub command: Option<String>,
}

impl EvaluateRequest {
    /// Where the checkpoint of the shipped policy goes.
    fn shipped(&self) -> Option<&Path> {
        self.cross_validate.as_ref()?.checkpoint.as_deref()
    }
}

/// How to cross-validate.
#[derive(Debug, Clone)]
pub struct CrossValidateRequest {
    /// Names of models: mlp, transformer, urm, joint, value.
    pub models: Vec<String>,
    /// Folds over tasks.
    pub folds: usize,
    /// Most decisions of a task that are used.
    pub rows_per_task: usize,
    /// The new directory of the shipped policy's checkpoint, trained on all tasks but one fold's.
    pub checkpoint: Option<PathBuf>,
}

/// The gate of this name.
///
/// # Errors
///
/// Usage (`gate-name`) for another word.
pub fn gate(name: &str) -> Result<Gate> {
    match name {
        "heuristic" => Ok(Gate::Heuristic),
        "best-fixed" => Ok(Gate::BestFixed),
        _ => {
            Err(Error::usage("gate-name", "there is no such gate")
                .expected("heuristic or best-fixed"))
        }
    }
}

/// Evaluates; `progress` hears what is being done.
///
/// A gate that is not passed is no error here: see [`Evaluation::gate`].
///
/// # Errors
///
/// What cannot be read; usage for a request without model or trials where they are needed; those of
/// training and judging.
pub fn evaluate(request: &EvaluateRequest, progress: &mut dyn FnMut(&str)) -> Result<Evaluation> {
    check(request)?;
    let recipe = request.cross_validate.as_ref().map(recipe).transpose()?;
    let older = request.baseline_report.as_deref().map(older).transpose()?;
    let dataset = Dataset::read(&request.dataset)?;
    let trials = request.trials.as_deref().map(Trials::read).transpose()?;
    let settings = settings(request, trials.as_ref());
    let mut found = match (&recipe, &request.model) {
        (Some(recipe), _) => {
            let trials = trials.as_ref().ok_or_else(needs_outcomes)?;
            cross_validated(
                recipe,
                request.shipped(),
                &dataset,
                trials,
                &settings,
                progress,
            )?
        }
        (None, Some(path)) => {
            progress("judging the model");
            let model = open(request, path)?;
            let mut found = evaluate::evaluate(&evaluate::EvaluateRequest {
                dataset: &dataset,
                trials: trials.as_ref(),
                model: &model,
                settings: &settings,
            })?;
            let training = path.join(REPORT);
            if training.is_file() {
                let bytes = OpenedFile::open(&training)?.contents(MAX_REPORT)?;
                let report = json::parse_into(&bytes).map_err(|error| error.in_file(&training))?;
                found.training = Some(report);
            }
            found
        }
        (None, None) => return Err(no_model()),
    };
    if let Some(path) = &request.calibration {
        let calibrated = found.calibrated.as_ref().ok_or_else(calibrates_nothing)?;
        let mut document = calibrated.to_json();
        let checkpoint = match request.cross_validate {
            Some(_) => request.shipped(),
            None => request.model.as_deref(),
        };
        let weights = checkpoint.map(|folder| folder.join(amphora_training::checkpoint::MODEL));
        if let Some(weights) = weights.filter(|path| path.is_file()) {
            document["checkpoint_sha256"] =
                OpenedFile::open(&weights)?.digest()?.to_string().into();
        }
        durable::write_file(path, &json::to_pretty_bytes(&document)?)?;
    }
    if let Some(older) = older {
        found.drift = Some(evaluate::drift(&older.snapshot, &found.snapshot));
    }
    if let Some(gate) = request.gate {
        found.judge(gate)?;
    }
    if let Some(page) = &request.page {
        let title = "Swarm planner: offline evaluation";
        let text = report::page(&found, title, request.command.as_deref());
        durable::write_file(page, text.as_bytes())?;
    }
    Ok(found)
}

/// The checkpoint or the bundle at `path`.
fn open(request: &EvaluateRequest, path: &Path) -> Result<Model> {
    if path.join(REPORT).is_file() {
        return Model::open(path);
    }
    let reference = path.to_str().ok_or_else(|| {
        Error::usage("bundle-name", "the name of the model is no text").in_file(path)
    })?;
    let bundle = bundle::open(&request.store, &request.engines, reference)?;
    Ok(Model::Bundle(Box::new(bundle)))
}

/// Refuses what could only fail after everything has been trained and judged.
fn check(request: &EvaluateRequest) -> Result<()> {
    match &request.cross_validate {
        None if request.model.is_none() => return Err(no_model()),
        Some(_) if request.trials.is_none() => return Err(needs_outcomes()),
        Some(_) if request.shipped().is_none() && request.calibration.is_some() => {
            return Err(calibrates_nothing());
        }
        _ => {}
    }
    let inputs = [
        request.trials.as_deref(),
        request.baseline_report.as_deref(),
    ];
    let folders = [Some(request.dataset.as_path()), request.model.as_deref()];
    for output in [&request.calibration, &request.page].into_iter().flatten() {
        outside_bundles(output)?;
        for input in inputs.into_iter().flatten() {
            not_over(output, input)?;
        }
        for folder in folders.into_iter().flatten() {
            not_within(output, folder)?;
        }
    }
    if request.gate.is_some() && request.trials.is_none() {
        return Err(
            Error::usage("gate-outcomes", "a gate needs outcomes to compare")
                .hint("give recorded trials with --trials"),
        );
    }
    let ships = request.shipped().is_some();
    if request.decode != Decode::Joint && (ships || request.calibration.is_some()) {
        return Err(Error::usage(
            "evaluate-decode",
            "a bundle decodes jointly: what is fitted for another way is not for it",
        )
        .found(request.decode.name())
        .hint("leave out --checkpoint and --calibration, or decode jointly"));
    }
    match request.shipped() {
        Some(path) if path.try_exists().unwrap_or(true) => Err(Error::usage(
            "output-exists",
            "the checkpoint's directory exists already",
        )
        .in_file(path)
        .hint("choose another, or remove it")),
        _ => Ok(()),
    }
}

fn no_model() -> Error {
    Error::usage("evaluate-model", "there is no model to evaluate")
        .hint("name a checkpoint or a bundle with --model, or cross-validate")
}

fn needs_outcomes() -> Error {
    Error::usage("cross-validate-trials", "cross-validation needs outcomes")
        .hint("give recorded trials with --trials")
}

fn calibrates_nothing() -> Error {
    Error::usage(
        "evaluate-calibration",
        "a cross-validation calibrates one model of each fold, and keeps none",
    )
    .hint("keep the shipped policy with --checkpoint")
}

/// An older report.
fn older(path: &Path) -> Result<Evaluation> {
    let bytes = OpenedFile::open(path)?.contents(MAX_REPORT)?;
    Evaluation::from_json(&bytes).map_err(|error| error.in_file(path))
}

fn settings(request: &EvaluateRequest, trials: Option<&Trials>) -> Settings {
    let named = &request.toolchains;
    let toolchains = trials.map_or_else(|| named.clone(), |trials| toolchains(trials, named));
    Settings {
        minute_cost: request.minute_cost,
        replays: request.replays,
        seed: request.seed,
        decode: request.decode,
        bootstrap: Bootstrap {
            resamples: request.resamples,
            seed: request.seed,
            ..Bootstrap::default()
        },
        ..Settings::new(toolchains)
    }
}

/// The models to compare.
fn recipe(request: &CrossValidateRequest) -> Result<Recipe> {
    let models = request.models.iter().map(|name| {
        let kind = ModelKind::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| {
            Error::usage("model-name", "there is no such model")
                .expected("mlp, transformer, urm, joint or value")
                .found(amphora_error::quoted(name).to_string())
        })
    });
    let recipe = Recipe {
        folds: request.folds,
        rows_per_task: request.rows_per_task,
        ..Recipe::small(&models.collect::<Result<Vec<_>>>()?)
    };
    if request.checkpoint.is_some() {
        recipe.check_shippable()?;
    }
    Ok(recipe)
}

fn cross_validated(
    recipe: &Recipe,
    checkpoint: Option<&Path>,
    dataset: &Dataset,
    trials: &Trials,
    settings: &Settings,
    progress: &mut dyn FnMut(&str),
) -> Result<Evaluation> {
    let found = crossvalidate::cross_validate(dataset, trials, settings, recipe, progress)?;
    let fitted = match checkpoint {
        Some(out) => {
            progress("training the shipped policy");
            let fitted = crossvalidate::fit_shipped(dataset, trials, settings, &found, out)?;
            Some(fitted)
        }
        None => None,
    };
    let mut report = evaluate::cross_validated(dataset, trials, settings, found);
    if let Some((training, calibrated)) = fitted {
        report.training = Some(training);
        report.calibrated = Some(calibrated);
    }
    Ok(report)
}
