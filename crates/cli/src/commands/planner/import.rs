//! `amphora planner import`.

use std::path::PathBuf;

use amphora::Result;
use amphora::planner::{ImportTrialsRequest, Imported};
use clap::Args;

use crate::commands::{Context, Verdict};
use crate::text::{counted, line, row, table};

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The issues that the trials worked on, one JSON object a line
    #[arg(long, value_name = "FILE.jsonl")]
    issues: PathBuf,
    /// The recorded trials, one JSON object a line
    #[arg(long, value_name = "FILE.jsonl")]
    trials: PathBuf,
    /// Where the archives go: a new directory
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Who decides which trials form one decision: heuristic, uniform, or fixed:SWARM/CANDIDATES/MINUTES/ITERATIONS
    #[arg(long, default_value = "heuristic")]
    policy: String,
    /// The toolchains in the order of their priority, separated by commas (default: all, by name)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    toolchains: Vec<String>,
    /// The actions to choose from (default: the universe's, or the documented action space)
    #[arg(long, value_name = "FILE.json")]
    action_space: Option<PathBuf>,
    /// The universe of every decision
    #[arg(long, value_name = "DIR")]
    universe: Option<PathBuf>,
    /// The seed of the policy's draws
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

pub(crate) fn run(context: &Context, arguments: ImportArguments) -> Result<Verdict> {
    let out = arguments.out.clone();
    let imported = amphora::planner::import_trials(&ImportTrialsRequest {
        issues: arguments.issues,
        trials: arguments.trials,
        out: arguments.out,
        policy: arguments.policy,
        toolchains: arguments.toolchains,
        action_space: arguments.action_space,
        universe: arguments.universe,
        seed: arguments.seed,
    })?;
    context.output.answer(&imported, |imported| {
        let mut text = line(&format!(
            "{} in {}, from {}",
            counted(imported.decisions, "decision"),
            out.display(),
            counted(imported.archives, "trial"),
        ));
        text.push_str(&words(imported));
        text
    })?;
    Ok(Verdict::Yes)
}

pub(super) fn words(imported: &Imported) -> String {
    let actions: Vec<_> = imported
        .actions
        .iter()
        .map(|(action, count)| row([&count.to_string(), action]))
        .collect();
    let mut text = table(2, &actions);
    if let (Some(first), Some(last)) = (&imported.first, &imported.last) {
        text.push_str(&line(&format!("made from {first} to {last}")));
    }
    for (count, what) in [
        (
            imported.left_over,
            "left over, too few for another decision",
        ),
        (imported.repeated, "repeated, counted once"),
        (imported.without_issue, "of no listed issue"),
    ] {
        if count > 0 {
            text.push_str(&line(&format!("{} {what}", counted(count, "trial"))));
        }
    }
    if imported.lines_without_issue > 0 {
        let lines = counted(imported.lines_without_issue, "line");
        text.push_str(&line(&format!("{lines} of the issues hold no issue")));
    }
    text
}
