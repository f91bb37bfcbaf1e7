//! Training from files.

use std::path::PathBuf;

use amphora_error::{Error, Result};
use amphora_planner::contracts::Split;
use amphora_training::bench::StageB;
use amphora_training::dataset::Dataset;
use amphora_training::preference::label_by_utility;
use amphora_training::train::{
    self, ModelKind, Progress, Stage, TrainConfig, TrainedModel, TrainingReport, TrainingRow,
};

/// What to train on, and where to.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// The directory of the dataset.
    pub dataset: PathBuf,
    /// The directory of the bench, for stage B and for value models.
    pub bench: Option<PathBuf>,
    /// The directory of a checkpoint to start from.
    pub initial: Option<PathBuf>,
    /// Whether stage B learns how much better each action was, by the utility of its outcome, instead of
    /// the winner alone: `Some` with the cost of an agent minute in passes.
    pub minute_cost: Option<f64>,
    /// The model and everything about its training. The stage and the number of earlier runs are set
    /// from the files.
    pub config: TrainConfig,
    /// The directory of the checkpoint.
    pub out: PathBuf,
    /// Whether to go on with a run that was stopped.
    pub resume: bool,
}

/// Trains on the rows for training, choosing the epoch by the rows for validation.
///
/// # Errors
///
/// Those of reading the files and of [`train::train`]; usage (`training-stage`) for a value model
/// without a bench; incompatible (`bench-dataset`) for a bench of another dataset.
pub fn train(
    request: &TrainRequest,
    progress: &mut dyn FnMut(Progress<'_>) -> Result<()>,
) -> Result<TrainingReport> {
    let dataset = Dataset::read(&request.dataset)?;
    let mut config = request.config.clone();
    config.similar_runs = dataset.meta.n_similar_runs as usize;
    config.stage = match request.bench {
        Some(_) => Stage::B,
        None => Stage::A,
    };
    let (training, validation) = match &request.bench {
        Some(directory) => {
            let bench = StageB::read(directory)?;
            if bench.summary.dataset_hash != dataset.meta.dataset_hash {
                return Err(Error::incompatible(
                    "bench-dataset",
                    "the bench is of another dataset",
                )
                .expected(dataset.meta.dataset_hash)
                .found(bench.summary.dataset_hash)
                .in_file(directory));
            }
            let rows = |split: Split| -> Result<Vec<TrainingRow>> {
                // Where nothing passed there is no winner; what failed still teaches its price.
                let outcomes = config.model == ModelKind::Value || request.minute_cost.is_some();
                let chosen = bench
                    .rows
                    .iter()
                    .filter(|row| row.split == split && (outcomes || row.label_action.is_some()));
                chosen.map(TrainingRow::of_bench).collect()
            };
            let (mut training, mut validation) = (rows(Split::Train)?, rows(Split::Val)?);
            if let Some(cost) = request.minute_cost {
                label_by_utility(&mut training, &mut validation, cost, config.model);
            }
            (training, validation)
        }
        None if config.model == ModelKind::Value => {
            return Err(Error::usage(
                "training-stage",
                "a value model learns from the outcomes of a bench",
            )
            .hint("add `--stage b --bench DIR`"));
        }
        None => {
            let rows = |split: Split| -> Result<Vec<TrainingRow>> {
                dataset.split(split).map(TrainingRow::of_decision).collect()
            };
            (rows(Split::Train)?, rows(Split::Val)?)
        }
    };
    let (out, resume) = (request.out.as_path(), request.resume);
    match &request.initial {
        Some(initial) => {
            let initial = TrainedModel::open(initial)?;
            train::fine_tune(
                &initial,
                &training,
                &validation,
                &config,
                out,
                resume,
                progress,
            )
        }
        None => train::train(&training, &validation, &config, out, resume, progress),
    }
}
