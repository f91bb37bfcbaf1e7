//! Training, calibrating and judging on every fold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use amphora_error::{Error, Result};
use amphora_planner::contracts::DatasetRow;
use amphora_planner::decode::Temperatures;
use amphora_planner::replay::{Trial, Trials};
use serde::{Deserialize, Serialize};

use super::folds::{Fold, grouped_folds};
use super::learn::{Recipe, spread, training_rows};
use crate::dataset::Dataset;
use crate::evaluate::{
    Calibrated, Judged, Model, ModelReport, Outcomes, PolicyReport, Settings, Truth, baselines,
    calibrate, compare, executed, judge, measure, summarize,
};
use crate::preference::TieBreak;
use crate::train::{
    ModelKind, TrainConfig, TrainedModel, TrainingReport, TrainingRow, replace_weights, train,
    train_in_memory,
};

/// Where training decisions end by time, as a share of all decisions in their order.
const TRAINED: f64 = 0.6;
/// Where validation decisions end by time. The dataset's own last tenth holds too few tasks to judge on.
const VALIDATED: f64 = 0.8;

/// The name of the policy that is exported.
pub const SHIPPED: &str = "shipped";

/// Both ways to hold out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrossValidation {
    /// What was trained.
    pub recipe: Recipe,
    /// Grouped by task: every task is held out once.
    pub by_task: Scheme,
    /// By time: learned from trials that had ended at a moment, judged on trials that began after it;
    /// the first 60 % of the decisions train, the next 20 % validate, the last 20 % are judged. Absent
    /// when too little is left on one side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_time: Option<Scheme>,
    /// That moment, in milliseconds since 1970.
    pub cut_ms: u64,
}

/// One way to hold out.
///
/// A policy that can be exported is judged twice. As it was trained (`mlp-as-trained`), and drawn back
/// to the label frequencies (`mlp`) as far as its validation tasks say: the share of what it learned
/// that is kept is the one with the highest utility there, if that is beyond chance above the utility
/// of keeping nothing; else nothing is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scheme {
    /// Tasks held out.
    pub tasks: usize,
    /// Rows judged.
    pub rows: usize,
    /// Every policy, on the same rows.
    pub policies: Vec<PolicyReport>,
    /// Every model, and the shipped policy.
    pub models: Vec<ModelReport>,
    /// What was fitted on each fold.
    pub fitted: Vec<FoldModel>,
    /// Which model was shipped on each fold.
    pub shipped: Vec<String>,
}

impl Scheme {
    /// The policy of this name.
    pub fn policy(&self, name: &str) -> Option<&PolicyReport> {
        self.policies.iter().find(|policy| policy.name == name)
    }

    /// The model of this name.
    pub fn model(&self, name: &str) -> Option<&ModelReport> {
        self.models.iter().find(|model| model.name == name)
    }
}

/// One model on one fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldModel {
    /// The fold, from 1.
    pub fold: usize,
    /// The model.
    pub model: String,
    /// Rows it learned from.
    pub training_rows: usize,
    /// Share of what was learned that was kept; see [`Scheme`].
    pub kept: f64,
    /// What was fitted on validation rows.
    pub calibrated: Calibrated,
}

/// Rows and outcomes of one fold's three parts.
struct Parts<'a> {
    train: Vec<&'a DatasetRow>,
    validation: Vec<&'a DatasetRow>,
    test: Vec<&'a DatasetRow>,
    /// What may be learned from.
    learned: &'a Outcomes,
    /// What is judged with.
    judged: &'a Outcomes,
    /// How ties are broken, on either side.
    ties: TieBreak,
}

impl<'a> Parts<'a> {
    fn new(
        [train, validation, test]: [Vec<&'a DatasetRow>; 3],
        learned: &'a Outcomes,
        judged: &'a Outcomes,
    ) -> Self {
        let tasks = train.iter().map(|row| &row.planner_input.issue.issue_id);
        Self {
            ties: learned.tie_break(tasks),
            train,
            validation,
            test,
            learned,
            judged,
        }
    }

    /// What may be learned from.
    fn known(&self) -> Truth<'_> {
        Truth::Replayed(self.learned, &self.ties)
    }

    /// What is judged by.
    fn hidden(&self) -> Truth<'_> {
        Truth::Replayed(self.judged, &self.ties)
    }

    /// Rows to learn from.
    fn rows(&self, rows: &[&DatasetRow], settings: &Settings, kind: ModelKind) -> Vec<TrainingRow> {
        training_rows(rows, self.learned, &self.ties, settings, kind)
    }
}

/// Cross-validates `recipe` on a dataset.
///
/// `progress` is told, in words, what is about to be done.
///
/// # Errors
///
/// Usage (`fold-count`) for too few tasks; those of replay and of training.
pub fn cross_validate(
    dataset: &Dataset,
    trials: &Trials,
    settings: &Settings,
    recipe: &Recipe,
    progress: &mut dyn FnMut(&str),
) -> Result<CrossValidation> {
    let inputs = || dataset.rows.iter().map(|row| &row.planner_input);
    let outcomes = Outcomes::replay(inputs(), trials, settings)?;
    let rows: Vec<&DatasetRow> = dataset.rows.iter().collect();
    let tasks: BTreeSet<String> = outcomes.tasks.keys().cloned().collect();
    let folds = grouped_folds(&tasks, recipe.folds, settings.seed)?;
    let most = recipe.rows_per_task;
    let parts = folds.iter().map(|fold: &Fold| {
        let of = |tasks| spread(&rows, tasks, most);
        let rows = [of(&fold.train), of(&fold.validation), of(&fold.test)];
        Parts::new(rows, &outcomes, &outcomes)
    });
    let by_task = scheme(parts.collect(), settings, recipe, &mut |fold, model| {
        progress(&format!("fold {fold} of {}: {model}", folds.len()));
    })?;

    let cut_ms = median_start(trials, settings);
    let before = |trial: &Trial| trial.started_ms + trial.duration_ms <= cut_ms;
    let early = trials.filtered(before);
    let late = trials.filtered(|trial| trial.started_ms >= cut_ms);
    let known = |trials: &Trials| Outcomes::replay(inputs(), trials, settings).ok();
    let by_time = match (known(&early), known(&late)) {
        (Some(learned), Some(judged)) if recipe.by_time => {
            let part = |from: f64, to: f64, outcomes: &Outcomes| {
                let place = |share: f64| (share * rows.len() as f64) as usize;
                let tasks = outcomes.tasks.keys().cloned().collect();
                spread(&rows[place(from)..place(to)], &tasks, most)
            };
            let rows = [
                part(0.0, TRAINED, &learned),
                part(TRAINED, VALIDATED, &learned),
                part(VALIDATED, 1.0, &judged),
            ];
            let parts = Parts::new(rows, &learned, &judged);
            let usable = [&parts.train, &parts.validation, &parts.test]
                .iter()
                .all(|part| !part.is_empty());
            usable
                .then(|| {
                    scheme(vec![parts], settings, recipe, &mut |_, model| {
                        progress(&format!("by time: {model}"));
                    })
                })
                .transpose()?
        }
        _ => None,
    };
    Ok(CrossValidation {
        recipe: recipe.clone(),
        by_task,
        by_time,
        cut_ms,
    })
}

/// The start of the median trial of the replayed toolchains.
fn median_start(trials: &Trials, settings: &Settings) -> u64 {
    let mut starts: Vec<u64> = trials
        .as_slice()
        .iter()
        .filter(|trial| settings.toolchains.contains(&trial.toolchain))
        .map(|trial| trial.started_ms)
        .collect();
    starts.sort_unstable();
    starts.get(starts.len() / 2).copied().unwrap_or(0)
}

fn scheme(
    parts: Vec<Parts>,
    settings: &Settings,
    recipe: &Recipe,
    progress: &mut dyn FnMut(usize, &str),
) -> Result<Scheme> {
    let mut judged: BTreeMap<String, Vec<Judged>> = BTreeMap::new();
    let (mut fitted, mut shipped) = (Vec::new(), Vec::new());
    for (number, part) in parts.iter().enumerate() {
        let mut best: Option<(f64, &'static str, Vec<Judged>)> = None;
        for config in &recipe.models {
            let name = config.model.name();
            progress(number + 1, name);
            let (trained, rows) = fit(part, settings, config)?;
            let mut variants = Vec::new();
            if exportable(config.model) {
                let (kept, drawn) = drawn_back(&trained, &rows, part, settings)?;
                variants.push((name.to_owned(), kept, drawn));
                variants.push((format!("{name}-as-trained"), 1.0, trained));
            } else {
                variants.push((name.to_owned(), 1.0, trained));
            }
            for (variant, kept, model) in variants {
                let model = Model::Trained(Box::new(model));
                let calibrated = calibrate(&model, &part.validation, part.known(), settings)?;
                let answers = judge(
                    &model,
                    &part.test,
                    part.hidden(),
                    settings,
                    &calibrated.temperatures.temperatures()?,
                    calibrated.threshold,
                )?;
                let better = best
                    .as_ref()
                    .is_none_or(|(utility, ..)| calibrated.utility > utility + 1e-12);
                if variant == name && exportable(config.model) && better {
                    best = Some((calibrated.utility, name, answers.clone()));
                }
                judged.entry(variant.clone()).or_default().extend(answers);
                fitted.push(FoldModel {
                    fold: number + 1,
                    model: variant,
                    training_rows: rows.len(),
                    kept,
                    calibrated,
                });
            }
        }
        if let Some((_, name, answers)) = best {
            shipped.push(name.to_owned());
            judged
                .entry(SHIPPED.to_owned())
                .or_default()
                .extend(answers);
        }
    }
    let test: Vec<&DatasetRow> = parts.iter().flat_map(|part| part.test.clone()).collect();
    let outcomes = parts
        .first()
        .map(|part| part.judged)
        .ok_or_else(|| Error::internal("fold-count", "there is no fold"))?;
    let mut measured = baselines(&test, outcomes, settings.minute_cost);
    let names = recipe.models.iter().flat_map(|config| {
        let name = config.model.name();
        [name.to_owned(), format!("{name}-as-trained")]
    });
    let order: Vec<String> = names.chain([SHIPPED.to_owned()]).collect();
    let mut models = Vec::new();
    for name in order {
        let Some(answers) = judged.get(&name) else {
            continue;
        };
        measured.push(measure(
            &executed(&name, answers),
            outcomes,
            settings.minute_cost,
        ));
        models.push(summarize(&name, answers, &outcomes.space));
    }
    Ok(Scheme {
        tasks: measured.first().map_or(0, |policy| policy.tasks.len()),
        rows: test.len(),
        policies: compare(&measured, &settings.bootstrap),
        models,
        fitted,
        shipped,
    })
}

/// Whether a model can be the shipped policy.
fn exportable(kind: ModelKind) -> bool {
    matches!(
        kind,
        ModelKind::Mlp | ModelKind::Transformer | ModelKind::Urm
    )
}

fn fit(
    part: &Parts,
    settings: &Settings,
    config: &TrainConfig,
) -> Result<(TrainedModel, Vec<TrainingRow>)> {
    let rows = part.rows(&part.train, settings, config.model);
    let validation = part.rows(&part.validation, settings, config.model);
    let model = train_in_memory(&rows, &validation, config)?;
    Ok((model, rows))
}

/// Shares of what was learned that are tried, beside none.
const SHARES: [f64; 4] = [0.25, 0.5, 0.75, 1.0];

/// A policy drawn back as far as its validation tasks say, and the share that is kept; see [`Scheme`].
fn drawn_back(
    model: &TrainedModel,
    rows: &[TrainingRow],
    part: &Parts,
    settings: &Settings,
) -> Result<(f64, TrainedModel)> {
    let utilities = |share: f64| -> Result<(TrainedModel, BTreeMap<String, f64>)> {
        let drawn = model.drawn_back(rows, share)?;
        let answers = judge(
            &Model::Trained(Box::new(drawn.clone())),
            &part.validation,
            part.known(),
            settings,
            &Temperatures::ONE,
            0.0,
        )?;
        let mut tasks: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for row in answers {
            let task = tasks.entry(row.issue).or_default();
            *task = (task.0 + row.utility, task.1 + 1.0);
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
/// holds out, which validate it, and writes its checkpoint to the new directory `out`.
///
/// # Errors
///
/// Those of [`train`] and of [`cross_validate`].
pub fn fit_shipped(
    dataset: &Dataset,
    trials: &Trials,
    settings: &Settings,
    found: &CrossValidation,
    out: &Path,
) -> Result<(TrainingReport, Calibrated)> {
    let votes = |name: &str| found.by_task.shipped.iter().filter(|s| *s == name).count();
    let config = found
        .recipe
        .models
        .iter()
        .filter(|config| exportable(config.model))
        .rev()
        .max_by_key(|config| votes(config.model.name()))
        .ok_or_else(|| {
            Error::usage("shipped-model", "none of the models can be exported")
                .expected("at least one of mlp, transformer, urm")
        })?;
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
    let report = train(
        &learned,
        &part.rows(&part.validation, settings, config.model),
        config,
        out,
        false,
        &mut |_| Ok(()),
    )?;
    let (_, drawn) = drawn_back(&TrainedModel::open(out)?, &learned, &part, settings)?;
    let report = replace_weights(out, &drawn, report)?;
    let model = Model::open(out)?;
    let calibrated = calibrate(&model, &part.validation, part.known(), settings)?;
    Ok((report, calibrated))
}
