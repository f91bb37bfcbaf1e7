//! `amphora planner evaluate`.

use std::path::PathBuf;

use amphora::planner::{CrossValidateRequest, Decode, EvaluateRequest, Evaluation, PolicyReport};
use amphora::{Error, Result};
use clap::{Args, ValueEnum};

use crate::arguments::EngineArgument;
use crate::commands::{Context, Verdict};
use crate::text::{counted, line, row, table};

#[derive(Debug, Args)]
pub(crate) struct EvaluateArguments {
    /// The dataset
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,
    /// A checkpoint, or a bundle: its path, id or name
    #[arg(long, value_name = "PATH", required_unless_present = "cross_validate")]
    model: Option<PathBuf>,
    /// Recorded trials of the dataset's issues; without them outcomes are not known
    #[arg(long, value_name = "FILE.jsonl")]
    trials: Option<PathBuf>,
    /// Toolchains of the replay, the first to use first; default: all recorded ones
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    toolchains: Vec<String>,
    /// What an agent minute costs, in passes
    #[arg(long, value_name = "X", default_value_t = 0.02)]
    minute_cost: f64,
    /// Replays of every task
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    replays: u32,
    /// Resamples of every interval
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    resamples: u32,
    /// Seed of replays, folds and intervals
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// How the heads of policies come to one action, to compare; a bundle that decides does it jointly
    #[arg(long, value_name = "WAY", default_value = "joint")]
    decode: DecodeArgument,
    /// Train and hold out by task and by time, instead of judging one model
    #[arg(long)]
    cross_validate: bool,
    /// Models to cross-validate
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        default_value = "mlp,transformer,urm,value"
    )]
    models: Vec<String>,
    /// Folds over tasks
    #[arg(long, value_name = "N", default_value_t = 5)]
    folds: usize,
    /// Most decisions of one task that cross-validation uses
    #[arg(long, value_name = "N", default_value_t = 4)]
    rows_per_task: usize,
    /// Where the checkpoint of the cross-validated shipped policy goes
    #[arg(long, value_name = "DIR", requires = "cross_validate")]
    checkpoint: Option<PathBuf>,
    /// Where the temperatures and the threshold go that validation rows gave; `planner export` reads it
    #[arg(long, value_name = "FILE.json")]
    calibration: Option<PathBuf>,
    /// An older report (JSON): say how far inputs, actions and calibration have moved
    #[arg(long, value_name = "FILE.json")]
    baseline_report: Option<PathBuf>,
    /// What must be beaten beyond chance: heuristic or best-fixed; exit code 1 if it is not
    #[arg(long, value_name = "GATE")]
    gate: Option<String>,
    /// Where a page with tables and plots goes
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// A command to print on the page, as the one it was made with
    #[arg(long, value_name = "TEXT", requires = "report")]
    report_command: Option<String>,
    #[command(flatten)]
    engine: EngineArgument,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DecodeArgument {
    /// The most probable valid action
    Joint,
    /// Every head by itself; an invalid action goes to the baseline
    Masked,
    /// One head after another, each among what is still valid
    Autoregressive,
}

pub(crate) fn run(context: &Context, arguments: &EvaluateArguments) -> Result<Verdict> {
    let gate = arguments.gate.as_deref().map(amphora::planner::gate);
    let request = EvaluateRequest {
        dataset: arguments.dataset.clone(),
        model: arguments.model.clone(),
        store: context.store()?,
        engines: context.engines(arguments.engine)?,
        trials: arguments.trials.clone(),
        toolchains: arguments.toolchains.clone(),
        minute_cost: arguments.minute_cost,
        replays: arguments.replays,
        resamples: arguments.resamples,
        seed: arguments.seed,
        decode: match arguments.decode {
            DecodeArgument::Joint => Decode::Joint,
            DecodeArgument::Masked => Decode::Masked,
            DecodeArgument::Autoregressive => Decode::Autoregressive,
        },
        cross_validate: arguments.cross_validate.then(|| CrossValidateRequest {
            models: arguments.models.clone(),
            folds: arguments.folds,
            rows_per_task: arguments.rows_per_task,
            checkpoint: arguments.checkpoint.clone(),
        }),
        baseline_report: arguments.baseline_report.clone(),
        gate: gate.transpose()?,
        calibration: arguments.calibration.clone(),
        page: arguments.report.clone(),
        command: arguments.report_command.clone(),
    };
    let progress = context.output.progress();
    let found = amphora::planner::evaluate(&request, &mut |step| progress.step(step))?;
    drop(progress);
    if let Some(page) = &arguments.report {
        context.output.note(&format!("wrote {}", page.display()));
    }
    context.output.answer(&found, words)?;
    let failure: Option<Error> = found.gate.as_ref().and_then(|gate| gate.verdict().err());
    Ok(failure.map_or(Verdict::Yes, Verdict::No))
}

fn words(found: &Evaluation) -> String {
    let judged = format!(
        "{} on {} judged",
        counted(found.rows, "decision"),
        counted(found.tasks, "task")
    );
    let mut text = line(&judged);
    let mut scheme = |title: &str, policies: &[PolicyReport]| {
        if policies.is_empty() {
            return;
        }
        let mut ordered: Vec<&PolicyReport> = policies.iter().collect();
        ordered.sort_by(|a, b| b.metrics.utility.total_cmp(&a.metrics.utility));
        text.push_str(&line(title));
        let head = row([
            "policy",
            "utility",
            "less heuristic",
            "passed",
            "minutes per pass",
        ]);
        let rows: Vec<_> = std::iter::once(head)
            .chain(ordered.iter().map(|policy| policy_row(policy)))
            .collect();
        text.push_str(&table(2, &rows));
    };
    if let Some(cross) = &found.cross_validation {
        scheme("held-out tasks", &cross.by_task.policies);
        if let Some(by_time) = &cross.by_time {
            scheme("later trials", &by_time.policies);
        }
    }
    scheme("test rows", &found.policies);
    if let Some(model) = &found.model {
        if model.invalid_rate > 0.0 {
            let invalid = 100.0 * model.invalid_rate;
            text.push_str(&line(&format!("{invalid:.0} % of the answers are invalid")));
        }
        text.push_str(&line(&format!(
            "calibration error {:.3}, abstains from {:.0} %, exact match {:.2}, decides {}",
            model.taken.ece,
            100.0 * model.abstain_rate,
            model.agreement.exact,
            match model.actions.unique_actions {
                1 => "every issue alike".to_owned(),
                ways => counted(ways, "way"),
            }
        )));
    }
    if let Some(drift) = &found.drift {
        let rows: Vec<_> = drift
            .inputs
            .iter()
            .chain([&drift.actions])
            .map(|entry| row([&entry.name, &format!("PSI {:.3}", entry.psi)]))
            .collect();
        text.push_str(&line("drift"));
        text.push_str(&table(2, &rows));
    }
    if let Some(gate) = &found.gate {
        let mark = if gate.passed { "✓" } else { "✗" };
        text.push_str(&line(&format!("{mark} gate {}", gate.gate.name())));
    }
    text
}

fn policy_row(policy: &PolicyReport) -> Vec<String> {
    let difference = policy.minus_heuristic;
    let minutes = policy.metrics.agent_minutes_per_pass;
    row([
        &policy.name,
        &format!("{:.3}", policy.metrics.utility),
        &format!(
            "{:+.3} [{:+.3}, {:+.3}]",
            difference.estimate, difference.low, difference.high
        ),
        &format!("{:.1} %", 100.0 * policy.metrics.pass_rate),
        &minutes.map_or("-".to_owned(), |minutes| format!("{minutes:.1}")),
    ])
}
