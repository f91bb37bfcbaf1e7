//! `amphora planner`: one file for each sub-command, its arguments included.

mod decide;
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
    /// Choose swarm and budgets for one issue
    Decide(decide::DecideArguments),
    /// Train a model on a dataset
    Train(train::TrainArguments),
}

pub(crate) fn run(context: &Context, arguments: PlannerArguments) -> Result<Verdict> {
    match arguments.command {
        PlannerCommand::Decide(arguments) => decide::run(context, &arguments),
        PlannerCommand::Train(arguments) => train::run(context, &arguments),
    }
}
