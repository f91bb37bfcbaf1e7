//! One decision.

use std::path::{Path, PathBuf};
use std::time::Duration;

use amphora_bundle::Store;
use amphora_error::{Error, Result, quoted};
use amphora_files::json;
use amphora_planner::action_space::{ActionSpace, SERIAL};
use amphora_planner::bundle::PlannerBundle;
use amphora_planner::contracts::{
    ExecutedPlan, Mode, PlannerAction, PlannerInput, PolicyTrace, time,
};
use amphora_planner::decide::{Baseline, Decision, Planner, Policy, Settings};
use amphora_planner::heuristic::kernel::Kernel;
use amphora_planner::history::archives::{self, ArchivedRun};
use amphora_planner::history::world_runs::{self, WorldFilter};
use amphora_planner::history::{
    Attempts, History, InputRequest, PastRun, SIMILAR_RUNS, build_input,
};
use amphora_planner::issues::read_issues;
use amphora_planner::universe::Universe;
use serde::Serialize;

use super::bundle;
use crate::{Engines, Timestamp};

/// What to decide, and within which limits.
#[derive(Debug, Clone)]
pub struct DecideRequest {
    /// What the decision is made from.
    pub source: InputSource,
    /// The bundle that predicts, as [`Store::resolve`] takes it, or a flat directory; without one a
    /// rule decides.
    pub bundle: Option<String>,
    /// Where bundles are.
    pub store: Store,
    /// The engine for models that need one.
    pub engines: Engines,
    /// What the planner may do.
    pub mode: Mode,
    /// The confidence below which the baseline is executed; the bundle's own, or 0.2, if absent.
    pub threshold: Option<f64>,
    /// How long a decision may take.
    pub deadline: Option<Duration>,
    /// The folder of the universe.
    pub universe: Option<PathBuf>,
    /// The orchestrator's toolchains, in its order.
    pub toolchains: Option<Vec<String>>,
    /// How the orchestrator decides without a planner.
    pub kernel: Kernel,
    /// How many workcells are free.
    pub free_slots: u32,
    /// The present.
    pub now: Timestamp,
}

/// What a decision is made from.
#[derive(Debug, Clone)]
pub enum InputSource {
    /// A `planner_input.v1`.
    File(PathBuf),
    /// An issue and what is archived.
    Issue {
        /// Its id.
        id: String,
        /// The file that lists it.
        issues: PathBuf,
        /// The folder of archives; without one there is no history.
        archives: Option<PathBuf>,
        /// The folder of world runs, for issues about a world.
        world_runs: Option<PathBuf>,
        /// The world that the issue is about.
        world: Option<String>,
        /// The file of the actions to choose from; the bundle's, if absent.
        action_space: Option<PathBuf>,
    },
}

/// What was decided, and from what.
#[derive(Debug)]
pub struct Decided {
    /// What the decision was made from.
    pub input: PlannerInput,
    /// What would be done without a planner.
    pub baseline: Baseline,
    /// The decision.
    pub decision: Decision,
    /// What computed the prediction: `rule`, `sparse`, or an engine with its version.
    pub runs_on: String,
}

/// What a manifest keeps of a decision, and its trace.
#[derive(Debug, Serialize)]
pub struct DecisionRecord<'a> {
    /// What the decision was made from.
    pub planner_input: &'a PlannerInput,
    /// What the planner answered.
    pub planner_action: &'a PlannerAction,
    /// What is executed.
    pub executed_plan: &'a ExecutedPlan,
    /// The seconds that replace the toolchains' own time limit.
    pub timeout_seconds_override: Option<u32>,
    /// How the decision came about.
    pub policy_trace: &'a PolicyTrace,
}

impl Decided {
    /// The decision as it is kept.
    pub fn record(&self) -> DecisionRecord<'_> {
        DecisionRecord {
            planner_input: &self.input,
            planner_action: &self.decision.action,
            executed_plan: &self.decision.executed_plan,
            timeout_seconds_override: self.decision.timeout_seconds_override,
            policy_trace: &self.decision.trace,
        }
    }
}

/// The confidence below which the baseline is executed where nothing else says.
const THRESHOLD: f64 = 0.2;

/// Decides once. A bundle that cannot be used is no error: the baseline is executed, and the decision
/// says why.
///
/// # Errors
///
/// When the input cannot be read or built, and for a threshold that is no probability.
pub fn decide(request: &DecideRequest) -> Result<Decided> {
    let bundle = request
        .bundle
        .as_deref()
        .map(|reference| bundle::open(&request.store, &request.engines, reference));
    let universe = request
        .universe
        .as_deref()
        .map(Universe::open)
        .transpose()?;
    let opened = bundle.as_ref().and_then(|bundle| bundle.as_ref().ok());
    let (input, input_hash, wanted) = read(request, universe.as_ref(), opened)?;
    let threshold = request
        .threshold
        .or_else(|| opened.and_then(PlannerBundle::threshold))
        .unwrap_or(THRESHOLD);
    let (policy, runs_on) = match bundle {
        None => (Policy::heuristic(), "rule".to_owned()),
        Some(Err(error)) => (Policy::missing(&error), "nothing".to_owned()),
        Some(Ok(bundle)) => {
            let runs_on = bundle.runs_on();
            (Policy::bundle(bundle)?, runs_on)
        }
    };
    let baseline = baseline(request, &input, wanted, universe.as_ref());
    let planner = Planner::new(
        policy,
        Settings {
            mode: request.mode,
            threshold,
            deadline: request.deadline,
            toolchains: request.toolchains.clone(),
            ..Settings::default()
        },
    )?;
    let decision = planner.decide_hashed(&input, Some(input_hash), &baseline);
    Ok(Decided {
        input,
        baseline,
        decision,
        runs_on,
    })
}

/// The input, its hash, and whether the issue asks for several candidates itself.
fn read(
    request: &DecideRequest,
    universe: Option<&Universe>,
    bundle: Option<&PlannerBundle>,
) -> Result<(PlannerInput, String, bool)> {
    let (id, issues, archives, world_runs, world, space) = match &request.source {
        InputSource::File(path) => {
            let document = json::read(path)?;
            let (input, hash) =
                PlannerInput::with_hash(&document).map_err(|error| error.in_file(path))?;
            return Ok((input, hash, false));
        }
        InputSource::Issue {
            id,
            issues,
            archives,
            world_runs,
            world,
            action_space,
        } => (id, issues, archives, world_runs, world, action_space),
    };
    let listed = read_issues(issues)?;
    let issue = listed.get(id).ok_or_else(|| {
        Error::not_found("issue", format!("there is no issue {}", quoted(id))).in_file(issues)
    })?;
    let history = history(archives.as_deref(), world_runs.as_deref(), universe)?;
    let action_space = match space {
        Some(path) => ActionSpace::read(path)?,
        None => {
            let usual = bundle.map_or_else(ActionSpace::default, |b| b.action_space().clone());
            match universe {
                Some(universe) => ActionSpace {
                    swarm_ids: universe.swarm_ids(),
                    ..usual
                },
                None => usual,
            }
        }
    };
    let now_ms = time::parse(request.now.as_str())?;
    let defaults = universe.map(|universe| universe.defaults.clone());
    let input = build_input(&InputRequest {
        issue,
        history: &history,
        action_space: &action_space,
        universe_id: universe.map_or("unknown", |universe| &universe.universe_id),
        universe_defaults: &defaults.unwrap_or_default(),
        // Models learn from archives, which do not hold it.
        system_state: None,
        now_ms,
        similar: bundle.map_or(SIMILAR_RUNS, PlannerBundle::similar_runs),
        attempts: Attempts::OfIssue,
        decision: None,
        world_id: world.as_deref(),
    })?;
    let hash = input.input_hash()?;
    Ok((input, hash, issue.dk_speculate))
}

/// Reads how an orchestrator decides without a planner: the JSON form of [`Kernel`], in which every key
/// may be left out.
///
/// # Errors
///
/// When the file cannot be read, or holds a key or value that is not known.
pub fn read_kernel(path: &Path) -> Result<Kernel> {
    let bytes = amphora_files::OpenedFile::open(path)?.contents(json::MAX_BYTES)?;
    json::parse_into(&bytes).map_err(|error| error.in_file(path))
}

/// What is archived, and the world runs.
fn history(
    archives: Option<&Path>,
    world_runs: Option<&Path>,
    universe: Option<&Universe>,
) -> Result<History> {
    let mut past = Vec::new();
    if let Some(folder) = archives {
        past.extend(
            archives::collect(folder)?
                .runs
                .iter()
                .map(ArchivedRun::past),
        );
    }
    if let Some(folder) = world_runs {
        let worlds = world_runs::collect(folder, universe, &WorldFilter::default())?;
        past.extend(worlds.runs.into_iter().map(PastRun::from));
    }
    Ok(History::of_runs(past))
}

/// What is done without a planner: what the universe says for a world, else what the orchestrator is
/// configured to do.
fn baseline(
    request: &DecideRequest,
    input: &PlannerInput,
    wanted: bool,
    universe: Option<&Universe>,
) -> Baseline {
    let state = input.system_state.as_ref();
    let available = state.and_then(|state| state.available_toolchains.as_ref());
    let toolchains = available
        .or(request.toolchains.as_ref())
        .map(|toolchains| u32::try_from(toolchains.len()).unwrap_or(u32::MAX));
    // A universe's budgets bound what the orchestrator would do anyway.
    let most = |limit: Option<u32>, otherwise: u32| limit.map_or(otherwise, |n| n.min(otherwise));
    let seconds = universe.and_then(|universe| universe.max_run_minutes?.checked_mul(60));
    let kernel = Kernel {
        timeout_seconds: most(seconds, request.kernel.timeout_seconds),
        ..request.kernel.clone()
    };
    let workcells = universe.and_then(|universe| universe.max_concurrent_workcells);
    let free_slots = most(workcells, request.free_slots);
    let usual = kernel.baseline(&input.issue, wanted, false, free_slots, toolchains);
    let swarm_id = input.universe_defaults.swarm_id.as_deref();
    match (input.job_type.as_str(), swarm_id) {
        ("fab-world", Some(swarm_id)) => Baseline {
            swarm_id: swarm_id.to_owned(),
            candidates: match swarm_id {
                SERIAL => 1,
                _ => universe
                    .and_then(|universe| universe.population_size(swarm_id))
                    .unwrap_or(usual.speculation.max_candidates),
            },
            ..usual
        },
        _ => usual,
    }
}
