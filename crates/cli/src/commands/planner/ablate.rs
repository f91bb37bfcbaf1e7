//! `amphora planner ablate`.

use std::path::PathBuf;

use amphora::Result;
use amphora::planner::{AblateRequest, Ablation};
use clap::Args;

use crate::commands::{Context, Verdict};
use crate::text::{row, table};

#[derive(Debug, Args)]
pub(crate) struct AblateArguments {
    /// The dataset
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// Recorded trials of the dataset's issues
    #[arg(long, value_name = "FILE.jsonl")]
    trials: PathBuf,
    /// Toolchains of the replay, the first to use first; default: all recorded ones
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    toolchains: Vec<String>,
    /// What to change, one thing at a time
    #[arg(long, value_name = "FILE.toml")]
    grid: PathBuf,
    /// Where runs, table and plots go; finished runs found there are kept
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What an agent minute costs, in passes
    #[arg(long, value_name = "X", default_value_t = 0.02)]
    minute_cost: f64,
    /// Seed of replays, folds and intervals
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(context: &Context, arguments: &AblateArguments) -> Result<Verdict> {
    let request = AblateRequest {
        dataset: arguments.dataset.clone(),
        trials: arguments.trials.clone(),
        toolchains: arguments.toolchains.clone(),
        grid: arguments.grid.clone(),
        out: arguments.out.clone(),
        minute_cost: arguments.minute_cost,
        seed: arguments.seed,
    };
    let progress = context.output.progress();
    let found = amphora::planner::ablate(&request, &mut |step| progress.step(step))?;
    drop(progress);
    context.output.answer(&found, words)?;
    Ok(Verdict::Yes)
}

fn words(found: &Ablation) -> String {
    let head = row(["run", "utility", "less heuristic", "passed", "ECE"]);
    let rows: Vec<_> = std::iter::once(head)
        .chain(found.rows.iter().map(|run| {
            let difference = run.minus_heuristic;
            row([
                &run.name,
                &format!("{:.3}", run.utility.estimate),
                &format!(
                    "{:+.3} [{:+.3}, {:+.3}]",
                    difference.estimate, difference.low, difference.high
                ),
                &format!("{:.1} %", 100.0 * run.pass_rate),
                &format!("{:.3}", run.ece),
            ])
        }))
        .collect();
    table(0, &rows)
}
