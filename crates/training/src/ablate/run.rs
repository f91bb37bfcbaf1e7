//! Running a grid, and what came of it.

use std::path::Path;

use amphora_error::{Error, Result, quoted};
use amphora_files::{OpenedFile, durable, json, sha256};
use amphora_planner::contracts::canonical_json;
use amphora_planner::replay::Trials;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Grid, GridRun};
use crate::crossvalidate::{Recipe, cross_validate};
use crate::dataset::Dataset;
use crate::evaluate::Settings;
use crate::metrics::Interval;

/// The report of one run, and the table of all.
const REPORT: &str = "report.json";
const SUMMARY: &str = "ablation_summary.json";
/// The largest report that is read.
const MAX_REPORT: u64 = 64 << 20;

/// One run, held out by task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AblationRow {
    /// The axis.
    pub axis: String,
    /// `<axis>_<name>`.
    pub name: String,
    /// Digest of configuration, settings and data.
    pub fingerprint: String,
    /// The model.
    pub model: String,
    /// Utility.
    pub utility: Interval,
    /// Utility less the heuristic's.
    pub minus_heuristic: Interval,
    /// Utility less the best fixed action's.
    pub minus_best_fixed: Interval,
    /// Share passed.
    pub pass_rate: f64,
    /// Calibration error of the decisions taken.
    pub ece: f64,
    /// Share left to the heuristic.
    pub abstain_rate: f64,
    /// Agreement of the whole action with the best.
    pub exact: f64,
    /// Entropy of the actions, in nats.
    pub entropy: f64,
}

/// `ablation_summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ablation {
    /// `amphora.planner_ablation.v1`.
    pub schema_version: String,
    /// The dataset.
    pub dataset_hash: String,
    /// How runs were judged.
    pub settings: Settings,
    /// One for each run, by axis.
    pub rows: Vec<AblationRow>,
}

/// Runs every run of `grid` that has no report in `out` yet, and writes the summary and its page.
///
/// # Errors
///
/// Those of the grid, of training, and of writing; incompatible: `ablation-history` when a run shows
/// more earlier runs than the dataset's inputs hold, `ablation-mismatch` when `out` holds
/// a report of the same name that was made from another configuration or other data.
pub fn ablate(
    dataset: &Dataset,
    trials: &Trials,
    settings: &Settings,
    grid: &Grid,
    out: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Ablation> {
    let runs = grid.runs()?;
    check_history(dataset, &runs)?;
    if !out.is_dir() {
        durable::create_directory(out)?;
    }
    let mut rows = Vec::with_capacity(runs.len());
    for (number, run) in runs.iter().enumerate() {
        let recipe = Recipe {
            folds: grid.folds,
            rows_per_task: grid.rows_per_task,
            by_time: false,
            models: vec![run.config.clone()],
        };
        let settings = &Settings {
            decode: run.decode,
            ..settings.clone()
        };
        let fingerprint = fingerprint(dataset, trials, settings, &recipe)?;
        let directory = out.join(&run.name);
        let path = directory.join(REPORT);
        if let Some(row) = finished(&path, &fingerprint)? {
            rows.push(row);
            continue;
        }
        let place = format!("run {} of {}: {}", number + 1, runs.len(), run.name);
        let found = cross_validate(dataset, trials, settings, &recipe, &mut |step| {
            progress(&format!("{place}, {step}"));
        })?;
        let row = row_of(run, fingerprint, &found.by_task)?;
        if !directory.is_dir() {
            durable::create_directory(&directory)?;
        }
        durable::write_file(&path, &json::to_pretty_bytes(&row)?)?;
        rows.push(row);
    }
    let summary = Ablation {
        schema_version: "amphora.planner_ablation.v1".to_owned(),
        dataset_hash: dataset.meta.dataset_hash.clone(),
        settings: settings.clone(),
        rows,
    };
    durable::write_file(&out.join(SUMMARY), &json::to_pretty_bytes(&summary)?)?;
    let page = crate::report::ablation_page(&summary);
    durable::write_file(&out.join("ablation.html"), page.as_bytes())?;
    Ok(summary)
}

/// Refuses runs that would show more earlier runs than the dataset's inputs hold: they would be equal
/// to one that shows as many as there are.
fn check_history(dataset: &Dataset, runs: &[GridRun]) -> Result<()> {
    let held = dataset.meta.n_similar_runs as usize;
    let Some(run) = runs
        .iter()
        .filter(|run| run.config.similar_runs > held)
        .max_by_key(|run| run.config.similar_runs)
    else {
        return Ok(());
    };
    let wanted = run.config.similar_runs;
    Err(Error::incompatible(
        "ablation-history",
        "a run of the grid shows more earlier runs than the dataset holds",
    )
    .at(format!("run {}", quoted(&run.name)))
    .expected(format!("at most {held}"))
    .found(wanted.to_string())
    .hint(format!("build the dataset with `--similar {wanted}`")))
}

fn row_of(
    run: &GridRun,
    fingerprint: String,
    scheme: &crate::crossvalidate::Scheme,
) -> Result<AblationRow> {
    let name = run.config.model.name();
    let (Some(policy), Some(model)) = (scheme.policy(name), scheme.model(name)) else {
        return Err(Error::internal("ablation", "a run has no report"));
    };
    Ok(AblationRow {
        axis: run.axis.clone(),
        name: run.name.clone(),
        fingerprint,
        model: name.to_owned(),
        utility: policy.intervals.utility,
        minus_heuristic: policy.minus_heuristic,
        minus_best_fixed: policy.minus_best_fixed,
        pass_rate: policy.metrics.pass_rate,
        ece: model.taken.ece,
        abstain_rate: model.abstain_rate,
        exact: model.agreement.exact,
        entropy: model.actions.entropy,
    })
}

fn fingerprint(
    dataset: &Dataset,
    trials: &Trials,
    settings: &Settings,
    recipe: &Recipe,
) -> Result<String> {
    let trials: Vec<_> = trials
        .as_slice()
        .iter()
        .map(|trial| {
            (
                &trial.trial,
                trial.started_ms,
                trial.duration_ms,
                trial.all_passed,
            )
        })
        .collect();
    let trials = serde_json::to_vec(&trials).map_err(unwritable)?;
    let all = json!({
        "dataset": dataset.meta.dataset_hash,
        "trials": sha256(&trials).to_string(),
        "settings": serde_json::to_value(settings).map_err(unwritable)?,
        "recipe": serde_json::to_value(recipe).map_err(unwritable)?,
    });
    Ok(sha256(canonical_json(&all).as_bytes()).to_string())
}

fn unwritable(source: serde_json::Error) -> Error {
    Error::internal("json-encoding", "an ablation cannot be written as JSON").caused_by(source)
}

fn finished(path: &Path, fingerprint: &str) -> Result<Option<AblationRow>> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = OpenedFile::open(path)?.contents(MAX_REPORT)?;
    let row: AblationRow = json::parse_into(&bytes).map_err(|error| error.in_file(path))?;
    if row.fingerprint != fingerprint {
        return Err(Error::incompatible(
            "ablation-mismatch",
            "the run was made from another configuration or other data",
        )
        .in_file(path)
        .hint("choose another output directory"));
    }
    Ok(Some(row))
}
