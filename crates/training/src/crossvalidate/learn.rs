//! What models learn from, and how long.

use std::collections::{BTreeMap, BTreeSet};

use amphora_error::{Error, Result};
use amphora_planner::contracts::DatasetRow;
use serde::{Deserialize, Serialize};

use crate::evaluate::{Outcomes, Settings};
use crate::preference::{LEAST_WEIGHT, TieBreak};
use crate::train::{ModelKind, Stage, TrainConfig, TrainingRow};

/// The models to compare and how much each task counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Folds over tasks.
    pub folds: usize,
    /// Most decisions of one task that are learned from and judged, evenly spread over time.
    pub rows_per_task: usize,
    /// Whether to hold out by time too.
    pub by_time: bool,
    /// The models.
    pub models: Vec<TrainConfig>,
}

impl Recipe {
    /// The documents' rates, batches and epochs, with sizes that train on a few hundred decisions in
    /// minutes on one core: token models of width 32 that see four similar runs, a value ensemble of
    /// three.
    pub fn small(models: &[ModelKind]) -> Self {
        let models = models
            .iter()
            .map(|&kind| {
                let mut config = TrainConfig::new(kind);
                config.stage = Stage::B;
                if kind.reads_tokens() {
                    config.sizes.d_model = 32;
                    config.sizes.d_ff = 64;
                    config.sizes.d_inner = 64;
                    config.similar_runs = 4;
                    config.epochs = 10;
                    config.schedule_epochs = 10;
                    config.patience = 4;
                }
                if kind == ModelKind::Value {
                    config.members = 3;
                    config.epochs = 8;
                    config.schedule_epochs = 8;
                    config.patience = 3;
                }
                config
            })
            .collect();
        Self {
            folds: 5,
            rows_per_task: 4,
            by_time: true,
            models,
        }
    }

    /// Refuses a recipe of which no policy can be shipped.
    ///
    /// # Errors
    ///
    /// Usage (`shipped-model`) when none of its models can be exported.
    pub fn check_shippable(&self) -> Result<()> {
        match self.models.iter().any(|config| exportable(config.model)) {
            true => Ok(()),
            false => Err(
                Error::usage("shipped-model", "none of the models can be exported")
                    .expected("at least one of mlp, transformer, urm"),
            ),
        }
    }
}

/// Whether a model can be the shipped policy.
pub(super) fn exportable(kind: ModelKind) -> bool {
    matches!(
        kind,
        ModelKind::Mlp | ModelKind::Transformer | ModelKind::Urm
    )
}

/// At most `most` rows of each task in `tasks`, evenly spread over its rows in time.
pub(crate) fn spread<'a>(
    rows: &[&'a DatasetRow],
    tasks: &BTreeSet<String>,
    most: usize,
) -> Vec<&'a DatasetRow> {
    let mut by_task: BTreeMap<&str, Vec<&DatasetRow>> = BTreeMap::new();
    for row in rows {
        let issue = &row.planner_input.issue.issue_id;
        if tasks.contains(issue) {
            by_task.entry(issue).or_default().push(row);
        }
    }
    by_task
        .into_values()
        .flat_map(|rows| {
            let taken = rows.len().min(most);
            // The last row of each of `taken` equal parts: it knows the most of its part.
            (1..=taken)
                .map(|part| rows[part * rows.len() / taken - 1])
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Rows to learn from: soft preferences for policies ([`crate::preference::Target`]), the best action
/// for the joint model, outcomes for the value model.
///
/// A row weighs what a wrong choice on its task can cost, divided by the rows of the task; the mean
/// weight is 1.
pub fn training_rows(
    rows: &[&DatasetRow],
    outcomes: &Outcomes,
    ties: &TieBreak,
    settings: &Settings,
    kind: ModelKind,
) -> Vec<TrainingRow> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *counts.entry(&row.planner_input.issue.issue_id).or_default() += 1;
    }
    let widths = outcomes.space.widths();
    let mut learned: Vec<TrainingRow> = rows
        .iter()
        .enumerate()
        .filter_map(|(number, row)| {
            let issue = &row.planner_input.issue.issue_id;
            let task = outcomes.tasks.get(issue)?;
            let target = task.target(widths, ties, settings)?;
            Some(TrainingRow {
                input: row.planner_input.clone(),
                label: Some(target.to_label(kind)),
                outcomes: task.learned(number),
                weight: target.stake.max(LEAST_WEIGHT) / counts[issue.as_str()] as f64,
            })
        })
        .collect();
    let mean = learned.iter().map(|row| row.weight).sum::<f64>() / learned.len().max(1) as f64;
    for row in &mut learned {
        row.weight /= mean;
    }
    learned
}
