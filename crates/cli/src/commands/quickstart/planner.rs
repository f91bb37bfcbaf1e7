//! `amphora quickstart`: from recorded runs to a verified planner that decides.
//!
//! The runs are those of simulated toolchains until there are recorded ones of one's own.

use std::path::PathBuf;

use amphora::planner::{
    BenchSummary, DatasetBuilt, DatasetRequest, DecideRequest, Decode, EvaluateRequest, Evaluation,
    ExportRequest, ImportTrialsRequest, Imported, InputSource, Kernel, Mode, ModelKind, Objective,
    PlannerAction, PolicyReport, ReplayBenchRequest, SimulatedRuns, Simulation, TrainConfig,
    TrainRequest,
};
use amphora::{Engines, Error, Result, Store, Target, VerifyRequest};
use serde::Serialize;

use super::{Step, Steps, times};
use crate::arguments::QuickstartArguments;
use crate::commands::{Context, Verdict};
use crate::text::{counted, line, row, table};

/// The seed of everything.
const SEED: u64 = 7;
/// When the first simulated issue arrives: 2025-10-09, in milliseconds since 1970.
const START_MS: u64 = 1_760_000_000_000;
/// What a minute of an agent costs, in passes.
const MINUTE_COST: f64 = 0.02;
/// How long the simulated toolchains may run, in seconds: as long as the longest limit of the action space.
const TIMEOUT_SECONDS: u32 = 7200;
/// How many similar runs the inputs hold.
const SIMILAR: usize = 8;

#[derive(Serialize)]
struct Quickstart {
    steps: Vec<Step>,
    imported: Imported,
    dataset: DatasetBuilt,
    bench: BenchSummary,
    policies: Vec<Outcome>,
    bundle: PathBuf,
    action: PlannerAction,
    next: Vec<String>,
}

/// What a policy comes to on replayed outcomes.
#[derive(Serialize)]
struct Outcome {
    policy: String,
    pass_rate: f64,
    agent_minutes_per_pass: Option<f64>,
    utility: f64,
}

impl Outcome {
    fn of(policy: &PolicyReport) -> Self {
        Self {
            policy: policy.name.clone(),
            pass_rate: policy.metrics.pass_rate,
            agent_minutes_per_pass: policy.metrics.agent_minutes_per_pass,
            utility: policy.metrics.utility,
        }
    }
}

pub(super) fn run(context: &Context, arguments: &QuickstartArguments) -> Result<Verdict> {
    if arguments.issues == 0 {
        return Err(Error::usage(
            "quickstart-issues",
            "there is nothing to learn from without an issue",
        )
        .hint("give --issues a number from 1 on"));
    }
    let job = Job::new(context, arguments)?;
    if let Some(taken) = job.taken() {
        return Err(Error::usage(
            "output-exists",
            "an earlier quickstart is there, and it is not overwritten",
        )
        .in_file(taken)
        .hint("choose another directory with --dir, or remove it first"));
    }
    let mut steps = Steps::new(context);
    let simulated = job.simulate(&mut steps)?;
    let imported = job.import(&mut steps, &simulated)?;
    let dataset = job.dataset(&mut steps)?;
    let bench = job.bench(&mut steps, &simulated)?;
    job.train(&mut steps)?;
    let evaluation = job.evaluate(&mut steps, &simulated)?;
    let bundle = job.export(&mut steps)?;
    job.verify(&mut steps, &bundle)?;
    let action = job.decide(&mut steps, &simulated, &bundle)?;
    let shown = job.shown();
    let wanted = ["heuristic", "oracle"];
    let model = evaluation.model.as_ref().map(|model| model.name.as_str());
    let policies = evaluation
        .policies
        .iter()
        .filter(|policy| {
            wanted.contains(&policy.name.as_str()) || Some(policy.name.as_str()) == model
        })
        .map(Outcome::of)
        .collect();
    let quickstart = Quickstart {
        steps: steps.done,
        imported,
        dataset,
        bench,
        policies,
        next: vec![
            format!("open {shown}/report.html in a browser: calibration, actions, regret"),
            format!("amphora inspect {}", bundle.display()),
            format!("amphora planner stats --archives {shown}/archives"),
            "amphora quickstart --example model".to_owned(),
        ],
        bundle,
        action,
    };
    context.output.answer(&quickstart, words)?;
    Ok(Verdict::Yes)
}

struct Job<'a> {
    context: &'a Context,
    arguments: &'a QuickstartArguments,
    engines: Engines,
}

impl<'a> Job<'a> {
    fn new(context: &'a Context, arguments: &'a QuickstartArguments) -> Result<Self> {
        Ok(Self {
            context,
            arguments,
            engines: context.engines(arguments.engine)?,
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.arguments.dir.join(name)
    }

    /// What is in the way of what is to be written.
    fn taken(&self) -> Option<PathBuf> {
        let written = ["archives", "dataset", "bench", "checkpoint", "planner"];
        written
            .map(|name| self.at(name))
            .into_iter()
            .find(|path| path.exists())
    }

    fn shown(&self) -> String {
        self.arguments.dir.display().to_string()
    }

    fn simulate(&self, steps: &mut Steps) -> Result<SimulatedRuns> {
        let shown = self.shown();
        let count = self.arguments.issues;
        steps.run(
            format!(
                "simulate three toolchains on {}, into {shown}",
                counted(count, "issue")
            ),
            "no real agent: a seeded simulator stands in until you have runs of your own",
            || {
                let simulation = Simulation {
                    issues: count,
                    runs: 1,
                    seed: SEED,
                    start_ms: START_MS,
                };
                amphora::prepare_directory(&self.arguments.dir)?;
                amphora::planner::simulate_runs(&simulation, &self.arguments.dir)
            },
        )
    }

    fn import(&self, steps: &mut Steps, simulated: &SimulatedRuns) -> Result<Imported> {
        let shown = self.shown();
        steps.run(
            format!("amphora planner import --issues {shown}/issues.jsonl --trials {shown}/trials.jsonl --out {shown}/archives --seed {SEED}"),
            "recorded runs become archives: what was known, decided, run, and how it ended",
            || {
                amphora::planner::import_trials(&ImportTrialsRequest {
                    issues: simulated.issues.clone(),
                    trials: simulated.trials.clone(),
                    out: self.at("archives"),
                    policy: "heuristic".to_owned(),
                    toolchains: simulated.toolchains.clone(),
                    action_space: None,
                    universe: None,
                    seed: SEED,
                })
            },
        )
    }

    fn dataset(&self, steps: &mut Steps) -> Result<DatasetBuilt> {
        let shown = self.shown();
        steps.run(
            format!("amphora planner dataset --archives {shown}/archives --out {shown}/dataset"),
            "one row for each decision, with nothing in it that happened later",
            || {
                let request = DatasetRequest {
                    archives: self.at("archives"),
                    issues: None,
                    world_runs: None,
                    action_space: None,
                    universe: None,
                    similar: SIMILAR,
                };
                amphora::planner::build_dataset(&request, &self.at("dataset"))
            },
        )
    }

    fn bench(&self, steps: &mut Steps, simulated: &SimulatedRuns) -> Result<BenchSummary> {
        let shown = self.shown();
        steps.run(
            format!("amphora planner bench --dataset {shown}/dataset --trials {shown}/trials.jsonl --out {shown}/bench --objective utility --seed {SEED}"),
            "what every valid action would have brought, and which was the best",
            || {
                amphora::planner::replay_bench(&ReplayBenchRequest {
                    dataset: self.at("dataset"),
                    trials: simulated.trials.clone(),
                    out: self.at("bench"),
                    toolchains: simulated.toolchains.clone(),
                    objective: Objective::MaximizeUtility,
                    seed: SEED,
                })
            },
        )
    }

    fn train(&self, steps: &mut Steps) -> Result<()> {
        let shown = self.shown();
        steps.run(
            format!("amphora planner train --dataset {shown}/dataset --model mlp --stage b --bench {shown}/bench --minute-cost {MINUTE_COST} --out {shown}/checkpoint --seed {SEED}"),
            "a small network learns how much better each action was; it stops when validation rows get no better",
            || {
                let request = TrainRequest {
                    dataset: self.at("dataset"),
                    bench: Some(self.at("bench")),
                    initial: None,
                    minute_cost: Some(MINUTE_COST),
                    config: TrainConfig {
                        seed: SEED,
                        ..TrainConfig::new(ModelKind::Mlp)
                    },
                    out: self.at("checkpoint"),
                    resume: false,
                };
                amphora::planner::train(&request, &mut |_| Ok(())).map(drop)
            },
        )
    }

    fn evaluate(&self, steps: &mut Steps, simulated: &SimulatedRuns) -> Result<Evaluation> {
        let shown = self.shown();
        let command = format!(
            "amphora planner evaluate --dataset {shown}/dataset --model {shown}/checkpoint --trials {shown}/trials.jsonl --calibration {shown}/calibration.json --report {shown}/report.html --seed {SEED}"
        );
        steps.run(
            command.clone(),
            "calibrated on validation rows, judged on the latest ones: accuracy, calibration, outcomes",
            || {
                let request = EvaluateRequest {
                    dataset: self.at("dataset"),
                    model: Some(self.at("checkpoint")),
                    store: Store::open(self.at("artifacts"))?,
                    engines: self.engines.clone(),
                    trials: Some(simulated.trials.clone()),
                    toolchains: simulated.toolchains.clone(),
                    minute_cost: MINUTE_COST,
                    replays: 20,
                    resamples: 1_000,
                    seed: SEED,
                    decode: Decode::Joint,
                    cross_validate: None,
                    calibration: Some(self.at("calibration.json")),
                    baseline_report: None,
                    gate: None,
                    page: Some(self.at("report.html")),
                    command: Some(command),
                };
                amphora::planner::evaluate(&request, &mut |_| {})
            },
        )
    }

    fn export(&self, steps: &mut Steps) -> Result<PathBuf> {
        let shown = self.shown();
        let created = self.context.now()?;
        steps.run(
            format!("amphora planner export --checkpoint {shown}/checkpoint --dataset {shown}/dataset --calibration {shown}/calibration.json --out {shown}/planner"),
            "turned into ONNX, proven against a 64-bit reference, sealed as a bundle",
            || {
                let request = ExportRequest {
                    checkpoint: self.at("checkpoint"),
                    dataset: self.at("dataset"),
                    out: self.at("planner"),
                    config: None,
                    calibration: Some(self.at("calibration.json")),
                    threshold: None,
                    version: "1.0.0".to_owned(),
                    git_sha: None,
                    keep_checkpoint: false,
                    toolchains: Vec::new(),
                    created,
                    engines: self.engines.clone(),
                };
                Ok(amphora::planner::export(&request, &|_| {})?.path)
            },
        )
    }

    fn verify(&self, steps: &mut Steps, bundle: &std::path::Path) -> Result<()> {
        let validated_at = self.context.now()?;
        steps.run(
            format!("amphora verify {}", bundle.display()),
            "integrity, contract, model check and numeric replay, whenever you like",
            || {
                let request = VerifyRequest {
                    target: Target::Onnx,
                    engines: self.engines.clone(),
                    strict: false,
                    validated_at,
                };
                amphora::verify(amphora::open(bundle)?, &request)?
                    .into_result()
                    .map(drop)
            },
        )
    }

    fn decide(
        &self,
        steps: &mut Steps,
        simulated: &SimulatedRuns,
        bundle: &std::path::Path,
    ) -> Result<PlannerAction> {
        let shown = self.shown();
        let id = format!("sim-{:04}", self.arguments.issues.saturating_sub(1));
        let now = self.context.now()?;
        steps.run(
            format!("amphora planner decide --issue {id} --issues {shown}/issues.jsonl --archives {shown}/archives --toolchain-timeout {TIMEOUT_SECONDS} --bundle {}", bundle.display()),
            "one decision; unsure or out of bounds, it falls back to what is done today",
            || {
                let request = DecideRequest {
                    source: InputSource::Issue {
                        id,
                        issues: simulated.issues.clone(),
                        archives: Some(self.at("archives")),
                        world_runs: None,
                        world: None,
                        action_space: None,
                    },
                    bundle: Some(bundle.to_string_lossy().into_owned()),
                    store: Store::open(self.at("artifacts"))?,
                    engines: self.engines.clone(),
                    mode: Mode::Enforce,
                    threshold: None,
                    deadline: None,
                    universe: None,
                    toolchains: None,
                    kernel: Kernel {
                        timeout_seconds: TIMEOUT_SECONDS,
                        ..Kernel::default()
                    },
                    free_slots: 3,
                    now,
                };
                Ok(amphora::planner::decide(&request)?.decision.action)
            },
        )
    }
}

fn words(quickstart: &Quickstart) -> String {
    let mut text = times(&quickstart.steps);
    let total: f64 = quickstart.steps.iter().map(|step| step.seconds).sum();
    text.push_str(&line(&format!("{total:.3} s in all")));
    let parts = &quickstart.dataset.meta.split_counts;
    text.push('\n');
    text.push_str(&line(&format!(
        "Learned from {} of {} ({} to train, {} to calibrate, {} to judge):",
        counted(quickstart.imported.decisions, "decision"),
        counted(quickstart.imported.archives, "run"),
        parts.train,
        parts.val,
        parts.test,
    )));
    let mut rows = vec![row([
        "policy",
        "passes",
        "agent minutes per pass",
        "utility",
    ])];
    rows.extend(quickstart.policies.iter().map(|policy| {
        let minutes = policy.agent_minutes_per_pass;
        row([
            &policy.policy,
            &format!("{:.0} %", policy.pass_rate * 100.0),
            &minutes.map_or("-".to_owned(), |minutes| format!("{minutes:.1}")),
            &format!("{:.3}", policy.utility),
        ])
    }));
    text.push_str(&table(2, &rows));
    let action = &quickstart.action;
    let budgets = &action.budgets;
    text.push('\n');
    text.push_str(&line(&format!(
        "The decision: {}, candidates {}, minutes {}, iterations {}{}",
        action.swarm_id,
        budgets.max_candidates_bin,
        budgets.max_minutes_bin,
        budgets.max_iterations_bin,
        match &action.reason {
            Some(reason) => format!(" (falls back: {reason})"),
            None => String::new(),
        }
    )));
    text.push_str(&line(&format!(
        "The bundle is {}",
        quickstart.bundle.display()
    )));
    text.push_str("\nTry next:\n");
    for command in &quickstart.next {
        text.push_str(&line(&format!("  {command}")));
    }
    text
}
