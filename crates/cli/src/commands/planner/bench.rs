//! `amphora planner bench`.

use std::path::PathBuf;

use amphora::Result;
use amphora::planner::{BenchSummary, Objective, ReplayBenchRequest};
use clap::{Args, ValueEnum};

use crate::commands::{Context, Verdict};
use crate::text::{line, row, table};

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// The dataset whose decisions are replayed
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// The recorded trials, one JSON object a line
    #[arg(long, value_name = "FILE.jsonl")]
    trials: PathBuf,
    /// Where outcomes and winners go: a new directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The toolchains in the order of their priority, separated by commas (default: all, by name)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    toolchains: Vec<String>,
    /// What the winner is best at, among the actions that passed
    #[arg(long, value_enum, default_value_t = ObjectiveArgument::Duration)]
    objective: ObjectiveArgument,
    /// The seed of the draws
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

/// What a winner is best at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ObjectiveArgument {
    /// The shortest wall time
    Duration,
    /// The fewest agent minutes
    Cost,
    /// A pass less the price of agent minutes
    Utility,
}

pub(crate) fn run(context: &Context, arguments: BenchArguments) -> Result<Verdict> {
    let out = arguments.out.clone();
    let summary = amphora::planner::replay_bench(&ReplayBenchRequest {
        dataset: arguments.dataset,
        trials: arguments.trials,
        out: arguments.out,
        toolchains: arguments.toolchains,
        objective: match arguments.objective {
            ObjectiveArgument::Duration => Objective::MinimizeDuration,
            ObjectiveArgument::Cost => Objective::MinimizeCost,
            ObjectiveArgument::Utility => Objective::MaximizeUtility,
        },
        seed: arguments.seed,
    })?;
    context.output.answer(&summary, |summary| {
        let mut text = line(&format!("bench in {}", out.display()));
        text.push_str(&words(summary));
        text
    })?;
    Ok(Verdict::Yes)
}

fn words(summary: &BenchSummary) -> String {
    let mut rows = vec![
        row(["decisions", &summary.decisions.to_string()]),
        row(["with a winner", &summary.with_winner.to_string()]),
        row(["nothing passed", &summary.no_passing_candidate.to_string()]),
    ];
    if summary.without_trials > 0 {
        rows.push(row(["not recorded", &summary.without_trials.to_string()]));
    }
    let mut winners: Vec<_> = summary.winners.iter().collect();
    winners.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let winners = winners.into_iter().take(10);
    rows.extend(winners.map(|(action, count)| row(["winner", &format!("{count} {action}")])));
    table(0, &rows)
}
