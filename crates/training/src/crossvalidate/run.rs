//! Training, calibrating and judging on every fold.

use std::collections::{BTreeMap, BTreeSet};

use amphora_error::{Error, Result};
use amphora_planner::contracts::DatasetRow;
use amphora_planner::replay::{Trial, Trials};
use serde::{Deserialize, Serialize};

use super::folds::{Fold, grouped_folds, parts_by_time};
use super::learn::{Recipe, exportable, spread, training_rows};
use super::shipped::drawn_back;
use crate::dataset::Dataset;
use crate::evaluate::{
    Calibrated, Judged, Model, ModelReport, Outcomes, PolicyReport, Settings, Truth, baselines,
    calibrate, compare, executed, judge, measure, summarize,
};
use crate::preference::TieBreak;
use crate::train::{ModelKind, TrainConfig, TrainedModel, TrainingRow, train_in_memory};

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
    /// the first 60 % of the decisions train, the next 20 % validate, the last 20 % are judged; decisions
    /// of one issue with equal inputs stay together, where the last of them is. Absent when too little is
    /// left on one side.
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
/// of keeping nothing; else nothing is kept. Each share is judged calibrated, as it would be deployed.
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
pub(super) struct Parts<'a> {
    pub(super) train: Vec<&'a DatasetRow>,
    pub(super) validation: Vec<&'a DatasetRow>,
    test: Vec<&'a DatasetRow>,
    /// What may be learned from.
    learned: &'a Outcomes,
    /// What is judged with.
    judged: &'a Outcomes,
    /// How ties are broken, on either side.
    ties: TieBreak,
}

impl<'a> Parts<'a> {
    pub(super) fn new(
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
    pub(super) fn known(&self) -> Truth<'_> {
        Truth::Replayed(self.learned, &self.ties)
    }

    /// What is judged by.
    fn hidden(&self) -> Truth<'_> {
        Truth::Replayed(self.judged, &self.ties)
    }

    /// Rows to learn from.
    pub(super) fn rows(
        &self,
        rows: &[&DatasetRow],
        settings: &Settings,
        kind: ModelKind,
    ) -> Vec<TrainingRow> {
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
            let [train, validation, test] = parts_by_time(&rows, [TRAINED, VALIDATED])?;
            let tasks = |outcomes: &Outcomes| outcomes.tasks.keys().cloned().collect();
            let rows = [
                spread(&train, &tasks(&learned), most),
                spread(&validation, &tasks(&learned), most),
                spread(&test, &tasks(&judged), most),
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
                let (calibrated, _) = calibrate(&model, &part.validation, part.known(), settings)?;
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
