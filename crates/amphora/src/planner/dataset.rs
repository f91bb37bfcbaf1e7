//! Archives become a dataset, or are counted; datasets are replayed.

use std::path::{Path, PathBuf};

use amphora_error::Result;
use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{BenchSummary, DatasetMeta, Objective, RunSummary};
use amphora_planner::history::archives::{self, ArchivedRun};
use amphora_planner::history::world_runs::{self, WorldFilter};
use amphora_planner::history::{Collected, SIMILAR_RUNS};
use amphora_planner::issues::{Issues, read_issues};
use amphora_planner::replay::Trials;
use amphora_planner::universe::Universe;
use amphora_training::bench::{BenchRequest, bench};
use amphora_training::dataset::{BuildRequest, Dataset, build};
use amphora_training::stats::{Stats, stats};
use serde::Serialize;

use super::import::toolchains;
use crate::output::outside_bundles;

/// What a dataset is built from.
#[derive(Debug, Clone)]
pub struct DatasetRequest {
    /// The archives.
    pub archives: PathBuf,
    /// The issues, for archives that hold no input.
    pub issues: Option<PathBuf>,
    /// The actions to choose from; without a file those of the archives, or where they hold none the
    /// universe's.
    pub action_space: Option<PathBuf>,
    /// The folder of world runs, which others may know.
    pub world_runs: Option<PathBuf>,
    /// The universe, for archives that hold no input.
    pub universe: Option<PathBuf>,
    /// How many similar runs an input has at most.
    pub similar: usize,
}

/// A dataset that was built.
#[derive(Debug, Clone, Serialize)]
pub struct DatasetBuilt {
    /// Where it lies.
    pub path: PathBuf,
    /// Archived runs that were read.
    pub runs: usize,
    /// World runs that were read.
    pub world_runs: usize,
    /// Lines of the issues' file that hold no issue.
    pub skipped_issues: u64,
    /// About the rows.
    pub meta: DatasetMeta,
    /// Which archives and world runs were left out before they were looked at, and why.
    pub left_out: Vec<LeftOut>,
}

/// An archive or a world run that was left out.
#[derive(Debug, Clone, Serialize)]
pub struct LeftOut {
    /// The name of its folder.
    pub folder: String,
    /// Why.
    pub reason: String,
    /// The same in words.
    pub detail: Option<String>,
}

/// Builds a dataset and writes it to the new directory `out`, whole or not at all.
///
/// # Errors
///
/// A file cannot be read, no row is left, or something is at the output already.
pub fn build_dataset(request: &DatasetRequest, out: &Path) -> Result<DatasetBuilt> {
    outside_bundles(out)?;
    let Built {
        collected,
        world_runs,
        issues,
        dataset,
    } = built(request)?;
    dataset.write(out)?;
    let of_worlds = world_runs.iter().flat_map(|runs| &runs.dropped_runs);
    let dropped_runs = collected.dropped_runs.iter().chain(of_worlds);
    let left_out = dropped_runs.map(|run| LeftOut {
        folder: run.folder.clone(),
        reason: run.reason.to_string(),
        detail: run.error.as_ref().map(ToString::to_string),
    });
    Ok(DatasetBuilt {
        path: out.to_owned(),
        runs: collected.runs.len(),
        world_runs: world_runs.as_ref().map_or(0, |runs| runs.runs.len()),
        skipped_issues: issues.skipped,
        meta: dataset.meta,
        left_out: left_out.collect(),
    })
}

/// Counts what there is to learn from in archives.
///
/// # Errors
///
/// As [`build_dataset`], for the counts are of the rows that it would write.
pub fn dataset_stats(request: &DatasetRequest) -> Result<Stats> {
    let built = built(request)?;
    Ok(stats(&built.collected, &built.dataset))
}

/// A dataset, and what it was built from.
struct Built {
    collected: Collected<ArchivedRun>,
    world_runs: Option<Collected<RunSummary>>,
    issues: Issues,
    dataset: Dataset,
}

fn built(request: &DatasetRequest) -> Result<Built> {
    let collected = archives::collect(&request.archives)?;
    let issues = match &request.issues {
        Some(path) => read_issues(path)?,
        None => Issues {
            issues: Vec::new(),
            skipped: 0,
        },
    };
    let universe = request
        .universe
        .as_deref()
        .map(Universe::open)
        .transpose()?;
    let collect = |folder| world_runs::collect(folder, universe.as_ref(), &WorldFilter::default());
    let world_runs = request.world_runs.as_deref().map(collect).transpose()?;
    let named = request.action_space.as_deref();
    let action_space = named.map(ActionSpace::read).transpose()?;
    let dataset = build(&BuildRequest {
        runs: &collected,
        issues: &issues,
        action_space: action_space.as_ref(),
        world_runs: world_runs.as_ref(),
        similar: request.similar,
        universe: universe.as_ref(),
    })?;
    Ok(Built {
        collected,
        world_runs,
        issues,
        dataset,
    })
}

/// What is replayed, and how winners are chosen.
#[derive(Debug, Clone)]
pub struct ReplayBenchRequest {
    /// The dataset whose decisions are replayed.
    pub dataset: PathBuf,
    /// The recorded trials.
    pub trials: PathBuf,
    /// Where the bench goes: a new directory.
    pub out: PathBuf,
    /// The toolchains in the order of their priority; by name without any.
    pub toolchains: Vec<String>,
    /// What the winner is best at.
    pub objective: Objective,
    /// The seed of the draws.
    pub seed: u64,
}

/// Replays every valid action for every decision of a dataset, and writes outcomes and winners.
///
/// # Errors
///
/// A file cannot be read, no decision is on a recorded issue, or something is at the output already.
pub fn replay_bench(request: &ReplayBenchRequest) -> Result<BenchSummary> {
    outside_bundles(&request.out)?;
    let dataset = Dataset::read(&request.dataset)?;
    let trials = Trials::read(&request.trials)?;
    let stage_b = bench(&BenchRequest {
        dataset: &dataset,
        trials: &trials,
        toolchains: &toolchains(&trials, &request.toolchains),
        objective: request.objective,
        seed: request.seed,
    })?;
    stage_b.write(&request.out)?;
    Ok(stage_b.summary)
}

/// How many similar runs an input has unless asked otherwise.
pub const DEFAULT_SIMILAR_RUNS: usize = SIMILAR_RUNS;
