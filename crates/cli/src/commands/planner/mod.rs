//! `amphora planner`: one file for each sub-command, its arguments included.

mod ablate;
mod bench;
mod dataset;
mod decide;
mod evaluate;
mod export;
mod import;
mod stats;
mod train;

use amphora::Result;
use clap::{Args, Subcommand};

use crate::commands::{Context, Verdict};

#[derive(Debug, Args)]
pub(crate) struct PlannerArguments {
    #[command(subcommand)]
    command: PlannerCommand,
}

/// The sub-commands of `amphora planner`.
#[derive(Debug, Subcommand)]
enum PlannerCommand {
    /// Turn recorded trials into archives of decisions
    Import(import::ImportArguments),
    /// Build a dataset from archives: one row for each decision, nothing from its future
    Dataset(dataset::DatasetArguments),
    /// Count what there is to learn from in archives, and say whether it is enough
    Stats(stats::StatsArguments),
    /// Replay every valid action for every decision of a dataset on recorded trials, and name winners
    Bench(bench::BenchArguments),
    /// Cross-validate changes of a model, one at a time, from a grid file
    Ablate(ablate::AblateArguments),
    /// Choose swarm and budgets for one issue
    Decide(decide::DecideArguments),
    /// Judge a model on recorded trials: outcomes, calibration, regret, against every baseline
    Evaluate(Box<evaluate::EvaluateArguments>),
    /// Train a model on a dataset
    Train(train::TrainArguments),
    /// Turn a checkpoint into a bundle: calibrated, exported to ONNX, proven, sealed
    Export(Box<export::ExportArguments>),
}

pub(crate) fn run(context: &Context, arguments: PlannerArguments) -> Result<Verdict> {
    match arguments.command {
        PlannerCommand::Import(arguments) => import::run(context, arguments),
        PlannerCommand::Dataset(arguments) => dataset::run(context, arguments),
        PlannerCommand::Stats(arguments) => stats::run(context, arguments),
        PlannerCommand::Bench(arguments) => bench::run(context, arguments),
        PlannerCommand::Ablate(arguments) => ablate::run(context, &arguments),
        PlannerCommand::Decide(arguments) => decide::run(context, &arguments),
        PlannerCommand::Evaluate(arguments) => evaluate::run(context, &arguments),
        PlannerCommand::Train(arguments) => train::run(context, &arguments),
        PlannerCommand::Export(arguments) => export::run(context, *arguments),
    }
}
