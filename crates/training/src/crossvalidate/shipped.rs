//! The policy that is exported: how far it is drawn back, and its checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use amphora_error::{Error, Result};
use amphora_planner::contracts::DatasetRow;
use amphora_planner::replay::Trials;

use super::CrossValidation;
use super::folds::grouped_folds;
use super::learn::{exportable, spread};
use super::run::Parts;
use crate::dataset::Dataset;
use crate::evaluate::{Calibrated, Model, Outcomes, Settings, calibrate};
use crate::train::{
    Stage, TrainConfig, TrainedModel, TrainingReport, TrainingRow, replace_weights, train,
};
use amphora_files::durable::publish_directory;

/// Shares of what was learned that are tried, beside none.
const SHARES: [f64; 4] = [0.25, 0.5, 0.75, 1.0];

/// A policy drawn back as far as its validation tasks say, and the share that is kept; see
/// [`super::Scheme`].
pub(super) fn drawn_back(
    model: &TrainedModel,
    rows: &[TrainingRow],
    part: &Parts,
    settings: &Settings,
) -> Result<(f64, TrainedModel)> {
    let utilities = |share: f64| -> Result<(TrainedModel, BTreeMap<String, f64>)> {
        let drawn = model.drawn_back(rows, share)?;
        let model = Model::Trained(Box::new(drawn.clone()));
        // Judged as it would be deployed: temperatures and threshold decide what is executed too.
        let (calibrated, answers) = calibrate(&model, &part.validation, part.known(), settings)?;
        let mut tasks: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for row in answers {
            let utility = row.utility_at(calibrated.threshold);
            let task = tasks.entry(row.issue).or_default();
            *task = (task.0 + utility, task.1 + 1.0);
        }
        let means = tasks
            .into_iter()
            .map(|(task, (sum, rows))| (task, sum / rows));
        Ok((drawn, means.collect()))
    };
    let (nothing, floor) = utilities(0.0)?;
    let mut best = (0.0, 0.0, nothing);
    for share in SHARES {
        let (drawn, found) = utilities(share)?;
        let gains: Vec<f64> = found.iter().map(|(task, own)| own - floor[task]).collect();
        let gain = settings.bootstrap.mean(&gains);
        if gain.above_zero() && gain.estimate > best.0 {
            best = (gain.estimate, share, drawn);
        }
    }
    Ok((best.1, best.2))
}

/// Trains the model that cross-validation shipped most often on all tasks but those that the first fold
/// holds out, which validate it, and writes its checkpoint to the new directory `out`, which appears
/// whole or not at all.
///
/// # Errors
///
/// Usage: `shipped-model` when no model of the recipe can be exported, `output-exists` when `out` is
/// there; those of [`train`] and of [`super::cross_validate`].
pub fn fit_shipped(
    dataset: &Dataset,
    trials: &Trials,
    settings: &Settings,
    found: &CrossValidation,
    out: &Path,
) -> Result<(TrainingReport, Calibrated)> {
    let votes = |name: &str| found.by_task.shipped.iter().filter(|s| *s == name).count();
    found.recipe.check_shippable()?;
    let config = found
        .recipe
        .models
        .iter()
        .filter(|config| exportable(config.model))
        .rev()
        .max_by_key(|config| votes(config.model.name()))
        .ok_or_else(|| Error::internal("shipped-model", "there is no model to ship"))?;
    // Whatever the recipe says: its labels are outcomes, not what was executed.
    let config = &TrainConfig {
        stage: Stage::B,
        ..config.clone()
    };
    let inputs = dataset.rows.iter().map(|row| &row.planner_input);
    let outcomes = Outcomes::replay(inputs, trials, settings)?;
    let tasks: BTreeSet<String> = outcomes.tasks.keys().cloned().collect();
    let folds = grouped_folds(&tasks, found.recipe.folds, settings.seed)?;
    let held_out = &folds[0].test;
    let rest: BTreeSet<String> = tasks.difference(held_out).cloned().collect();
    let rows: Vec<&DatasetRow> = dataset.rows.iter().collect();
    let most = found.recipe.rows_per_task;
    let parts = [
        spread(&rows, &rest, most),
        spread(&rows, held_out, most),
        Vec::new(),
    ];
    let part = Parts::new(parts, &outcomes, &outcomes);
    let learned = part.rows(&part.train, settings, config.model);
    let mut fitted = None;
    // Its weights are replaced after training: nobody shall find the checkpoint between the two.
    publish_directory(out, |staging| {
        let directory = staging.path();
        let report = train(
            &learned,
            &part.rows(&part.validation, settings, config.model),
            config,
            directory,
            true,
            &mut |_| Ok(()),
        )?;
        let trained = TrainedModel::open(directory)?;
        let (_, drawn) = drawn_back(&trained, &learned, &part, settings)?;
        let report = replace_weights(directory, &drawn, report)?;
        let model = Model::open(directory)?;
        let (calibrated, _) = calibrate(&model, &part.validation, part.known(), settings)?;
        fitted = Some((report, calibrated));
        Ok(())
    })?;
    fitted.ok_or_else(|| Error::internal("shipped-model", "nothing was trained"))
}
