//! `amphora planner decide`.

use std::path::PathBuf;
use std::time::Duration;

use amphora::planner::{
    DecideRequest, Decided, Head, InputSource, Kernel, Mode, PlannerInput, PolicyTrace, Reason,
};
use amphora::{Result, json};
use clap::{Args, ValueEnum};

use crate::arguments::EngineArgument;
use crate::commands::{Context, Verdict};
use crate::text::{row, table};

#[derive(Debug, Args)]
pub(crate) struct DecideArguments {
    /// The planner_input.v1 to decide on
    #[arg(long, value_name = "FILE.json", required_unless_present = "issue")]
    input: Option<PathBuf>,
    /// The issue to decide on
    #[arg(long, value_name = "ID", conflicts_with = "input", requires = "issues")]
    issue: Option<String>,
    /// The file that lists the issues, one JSON object a line
    #[arg(long, value_name = "FILE.jsonl")]
    issues: Option<PathBuf>,
    /// The folder of archived runs, in which similar runs are looked for
    #[arg(long, value_name = "DIR")]
    archives: Option<PathBuf>,
    /// The folder of world runs, in which similar runs of a world are looked for
    #[arg(long, value_name = "DIR", conflicts_with = "input")]
    world_runs: Option<PathBuf>,
    /// The world that the issue is about: only its runs count
    #[arg(long, value_name = "ID", conflicts_with = "input")]
    world: Option<String>,
    /// The actions to choose from (default: the bundle's, or the documents')
    #[arg(long, value_name = "FILE.json", conflicts_with = "input")]
    action_space: Option<PathBuf>,
    /// The folder of the universe: swarms, objectives, defaults
    #[arg(long, value_name = "DIR")]
    universe: Option<PathBuf>,
    /// The bundle that predicts (default: none, a rule decides)
    #[arg(long)]
    bundle: Option<String>,
    /// What the planner may do
    #[arg(long, value_enum, default_value_t = ModeArgument::Enforce)]
    mode: ModeArgument,
    /// The confidence below which the baseline is executed (default: the bundle's, or 0.2)
    #[arg(long, value_name = "0..1")]
    threshold: Option<f64>,
    /// How many milliseconds the model may take
    #[arg(long, value_name = "MS", default_value_t = 100)]
    deadline: u64,
    /// The orchestrator's toolchains in its order, separated by commas; a bundle that was made for certain toolchains decides only where exactly those are named
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    toolchains: Option<Vec<String>>,
    /// How the orchestrator decides without a planner: speculation, routing rules, limits
    #[arg(long, value_name = "FILE.json")]
    kernel: Option<PathBuf>,
    /// The toolchains' time limit in seconds, which no decision exceeds (default: the kernel's, or 1800)
    #[arg(long, value_name = "SECONDS")]
    toolchain_timeout: Option<u32>,
    /// How many candidates may run in parallel (default: the kernel's, or 3)
    #[arg(long, value_name = "N")]
    max_candidates: Option<u32>,
    /// How many workcells are free
    #[arg(long, value_name = "N", default_value_t = 3)]
    free_slots: u32,
    /// Say on stderr how the decision came about
    #[arg(long)]
    explain: bool,
    /// Write input, action, executed plan and trace into this file
    #[arg(long, value_name = "FILE.json")]
    record: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgument,
}

/// What a planner may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeArgument {
    /// Nothing: the baseline is executed
    Off,
    /// Predict and record; the baseline is executed
    Log,
    /// Decide
    Enforce,
}

pub(crate) fn run(context: &Context, arguments: &DecideArguments) -> Result<Verdict> {
    let decided = amphora::planner::decide(&request(context, arguments)?)?;
    // The decision first: it must not be lost where it cannot be recorded.
    context.output.document(&decided.decision.action)?;
    let detail = decided.decision.executed_plan.fallback_detail.as_deref();
    match (decided.decision.reason, detail) {
        _ if arguments.explain => {
            for line in explanation(&decided).lines() {
                context.output.note(line);
            }
        }
        // Asked for: nobody wonders.
        (None | Some(Reason::PlannerOff | Reason::LogOnly), _) => {}
        // The budgets of the answer may be those that were predicted.
        (Some(reason), detail) => {
            let detail = detail.map_or(String::new(), |detail| format!(" ({detail})"));
            context
                .output
                .note(&format!("the baseline is executed: {reason}{detail}"));
        }
    }
    if let Some(path) = &arguments.record {
        amphora::write_file(path, &json::to_pretty_bytes(&decided.record())?)?;
    }
    Ok(Verdict::Yes)
}

fn request(context: &Context, arguments: &DecideArguments) -> Result<DecideRequest> {
    let source = match (&arguments.input, &arguments.issue, &arguments.issues) {
        (_, Some(id), Some(issues)) => InputSource::Issue {
            id: id.clone(),
            issues: issues.clone(),
            archives: arguments.archives.clone(),
            world_runs: arguments.world_runs.clone(),
            world: arguments.world.clone(),
            action_space: arguments.action_space.clone(),
        },
        (input, ..) => InputSource::File(input.clone().unwrap_or_default()),
    };
    let kernel = match &arguments.kernel {
        Some(path) => amphora::planner::read_kernel(path)?,
        None => Kernel::default(),
    };
    Ok(DecideRequest {
        source,
        bundle: arguments.bundle.clone(),
        store: context.store()?,
        engines: context.engines(arguments.engine)?,
        mode: match arguments.mode {
            ModeArgument::Off => Mode::Off,
            ModeArgument::Log => Mode::Log,
            ModeArgument::Enforce => Mode::Enforce,
        },
        threshold: arguments.threshold,
        deadline: Some(Duration::from_millis(arguments.deadline)),
        universe: arguments.universe.clone(),
        toolchains: arguments.toolchains.clone(),
        kernel: Kernel {
            max_parallelism: arguments.max_candidates.unwrap_or(kernel.max_parallelism),
            timeout_seconds: arguments
                .toolchain_timeout
                .unwrap_or(kernel.timeout_seconds),
            ..kernel
        },
        free_slots: arguments.free_slots,
        now: context.now()?,
    })
}

/// How a decision came about, in words.
fn explanation(decided: &Decided) -> String {
    let (decision, trace) = (&decided.decision, &decided.decision.trace);
    let confidence = trace
        .confidence
        .map_or("none claimed".to_owned(), |c| format!("{c:.3}"));
    let predicted = trace
        .predicted
        .as_ref()
        .map_or("nothing".to_owned(), ToString::to_string);
    let mut rows = vec![
        row([
            "model",
            &trace.model.checkpoint_id,
            &format!("on {}", decided.runs_on),
        ]),
        row([
            "predicted",
            &predicted,
            &format!("confidence {confidence}, threshold {}", trace.threshold),
        ]),
        row(["baseline", &trace.baseline.to_string()]),
        row(["executed", &trace.executed.to_string()]),
    ];
    if let Some(reason) = decision.reason {
        let detail = trace.detail.as_deref().unwrap_or_default();
        rows.push(row(["because", reason.code(), detail]));
    }
    let mut text = table(0, &rows);
    if !trace.probs.is_empty() {
        text.push_str("probabilities\n");
        text.push_str(&table(2, &probabilities(&decided.input, trace)));
    }
    if !trace.ranking.is_empty() {
        text.push_str("best valid actions\n");
        let ranked = trace.ranking.iter();
        let rows: Vec<_> = ranked
            .map(|ranked| {
                let probability = format!("{:.3}", ranked.log_probability.exp());
                row([&probability, &ranked.action.to_string()])
            })
            .collect();
        text.push_str(&table(2, &rows));
    }
    let runs = &decided.input.history.last_n_similar_runs;
    text.push_str(&format!("{} similar runs\n", runs.len()));
    let rows: Vec<_> = runs
        .iter()
        .map(|run| {
            let swarm = run.action_executed.swarm_id.as_deref().unwrap_or("NA");
            let minutes = format!("{:.1} min", run.runtime.duration_ms as f64 / 60_000.0);
            let issue = run.issue_id.as_deref().unwrap_or_default();
            row([
                &run.run_id,
                issue,
                run.outcome.status.word(),
                swarm,
                &minutes,
            ])
        })
        .collect();
    text.push_str(&table(2, &rows));
    text
}

/// The probability of every class, a row for each head.
fn probabilities(input: &PlannerInput, trace: &PolicyTrace) -> Vec<Vec<String>> {
    let space = &input.action_space;
    let names = |head: Head| -> Vec<String> {
        match head {
            Head::Swarm => space.swarm_ids.clone(),
            budget => space.bins(budget).iter().map(ToString::to_string).collect(),
        }
    };
    Head::ALL
        .into_iter()
        .filter_map(|head| {
            let row = trace.probs.get(head.field_name())?;
            let classes = names(head).into_iter().zip(row);
            let mut cells = vec![head.field_name().to_owned()];
            cells.extend(classes.map(|(name, probability)| format!("{name} {probability:.3}")));
            Some(cells)
        })
        .collect()
}
