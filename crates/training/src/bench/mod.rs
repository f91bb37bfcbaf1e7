//! Best-of-K on recorded trials: what every valid action would have brought, and which was the best.
//!
//! For each decision of a dataset every valid action of its space is replayed
//! ([`amphora_planner::replay`]); among those that passed, the objective names a winner, which is the
//! label to learn in Stage B. Where nothing passed there is none: the outcomes are kept for metrics and
//! for the value model, and the decision is no example of Stage B.
//!
//! Each decision has its own draw of trials, seeded by the bench's seed and its run, so that
//! decisions on one issue show how much outcomes vary.

mod file;
mod winner;

use std::collections::BTreeMap;

use amphora_error::{Error, Result};
use amphora_files::sha256;
use amphora_planner::action_space::{ActionSpace, NamedAction};
use amphora_planner::contracts::{
    ActionVersion, BenchSummary, BenchSummaryVersion, ModelReference, Objective, PlannerAction,
    PlannerInput, RunStatus, Split, UniverseDefaults, canonical_json,
};
use amphora_planner::replay::{MINUTE_COST, Recorded, ReplayOutcome, Trials};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::dataset::{Dataset, value_of};

pub use winner::best;

/// The `schema_version` of a row.
pub const EXAMPLE_SCHEMA: &str = "cyntra.best_of_k_example.v1";
/// The `checkpoint_id` of labels.
const WINNER: &str = "best_of_k";

/// What is replayed, and how the winner is chosen.
#[derive(Debug, Clone, Copy)]
pub struct BenchRequest<'a> {
    /// The decisions.
    pub dataset: &'a Dataset,
    /// The recorded trials.
    pub trials: &'a Trials,
    /// The toolchains in the order of their priority.
    pub toolchains: &'a [String],
    /// What the winner is best at among those that pass; the documents' default is the duration.
    pub objective: Objective,
    /// The seed of the draws.
    pub seed: u64,
}

/// What became of one action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateOutcome {
    /// `success`, `failed` or `timeout`.
    pub status: RunStatus,
    /// Wall time in milliseconds; a lower bound for a timeout.
    pub duration_ms: u64,
    /// The time of all agents together, in milliseconds.
    pub agent_ms: u64,
    /// Whether any run was stopped: the time of all agents is then a lower bound.
    #[serde(default)]
    pub cut: bool,
    /// How many runs there were.
    pub runs: u32,
    /// Whether every gate passed.
    pub all_gates_passed: bool,
    /// What failed.
    pub fail_codes: Vec<String>,
}

impl CandidateOutcome {
    fn of(outcome: &ReplayOutcome) -> Self {
        Self {
            status: outcome.status(),
            duration_ms: outcome.wall_ms,
            agent_ms: outcome.agent_ms,
            cut: outcome.cut,
            runs: u32::try_from(outcome.runs).unwrap_or(u32::MAX),
            all_gates_passed: outcome.passed,
            fail_codes: outcome
                .fail_codes
                .iter()
                .map(|code| (*code).to_owned())
                .collect(),
        }
    }

    /// One for a pass, less `minute_cost` for each agent minute.
    #[expect(clippy::cast_precision_loss, reason = "times are below 2^53 ms")]
    pub fn utility(&self, minute_cost: f64) -> f64 {
        let pass = f64::from(u8::from(self.all_gates_passed));
        pass - minute_cost * (self.agent_ms as f64 / 60_000.0)
    }
}

/// One action that was tried for a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The action.
    pub action: NamedAction,
    /// What became of it.
    pub outcome: CandidateOutcome,
    /// Whether it is the label.
    pub is_winner: bool,
}

/// How a row came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchMetadata {
    /// The hash of the configuration.
    pub bench_config_hash: String,
    /// How many actions were tried.
    #[serde(rename = "K")]
    pub k: u32,
    /// How they were chosen: `all`.
    pub strategy: String,
    /// How the winner was chosen.
    pub winner_selection: WinnerMetadata,
}

/// How a winner was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WinnerMetadata {
    /// The objective.
    pub primary_objective: Objective,
    /// How many actions were tried.
    pub candidates_evaluated: u32,
    /// How many of them passed.
    pub candidates_passed_constraints: u32,
}

/// One decision, and what every action would have brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageBRow {
    /// [`EXAMPLE_SCHEMA`].
    pub schema_version: String,
    /// The issue.
    pub issue_id: String,
    /// The run of the dataset's row.
    pub run_id: String,
    /// When it was decided: RFC 3339.
    pub created_at: String,
    /// The same in milliseconds since 1970.
    pub started_ms: u64,
    /// The part of the dataset it belongs to.
    pub split: Split,
    /// What was known.
    pub planner_input: PlannerInput,
    /// The same as a token sequence.
    pub tokens: Vec<String>,
    /// The winner; none where nothing passed.
    pub label_action: Option<PlannerAction>,
    /// Every action that was tried, in the order of enumeration.
    pub candidates: Vec<Candidate>,
    /// How the row came about.
    pub bench_metadata: BenchMetadata,
}

/// The rows of a bench, in the order of the dataset, and what they were made with.
#[derive(Debug, Clone, PartialEq)]
pub struct StageB {
    /// One for each decision, those without winner included.
    pub rows: Vec<StageBRow>,
    /// About them.
    pub summary: BenchSummary,
}

impl StageB {
    /// The rows to learn from.
    pub fn examples(&self) -> impl Iterator<Item = &StageBRow> {
        self.rows.iter().filter(|row| row.label_action.is_some())
    }
}

/// Replays every valid action for every decision.
///
/// # Errors
///
/// A toolchain of which nothing is recorded ([`Recorded::new`]); no decision is on a recorded issue
/// (`bench-empty`).
pub fn bench(request: &BenchRequest) -> Result<StageB> {
    let config_hash = config_hash(request)?;
    let recorded = Recorded::new(request.trials, request.toolchains)?;
    let mut rows = Vec::new();
    let mut without_trials = 0;
    let mut winners: BTreeMap<String, u64> = BTreeMap::new();
    let mut actions = Actions::default();
    for row in &request.dataset.rows {
        let input = &row.planner_input;
        let seed = draw_seed(request.seed, &row.run_id);
        let Some(draw) = recorded.draw(&input.issue.issue_id, seed) else {
            without_trials += 1;
            continue;
        };
        let mut candidates: Vec<Candidate> = actions
            .of(&input.action_space, &input.job_type)
            .iter()
            .filter_map(|action| {
                let outcome = draw.outcome(action)?;
                Some(Candidate {
                    action: action.clone(),
                    outcome: CandidateOutcome::of(&outcome),
                    is_winner: false,
                })
            })
            .collect();
        if candidates.is_empty() {
            without_trials += 1;
            continue;
        }
        let winner = best(&candidates, request.objective);
        if let Some(place) = winner {
            candidates[place].is_winner = true;
            let name = candidates[place].action.to_string();
            *winners.entry(name).or_default() += 1;
        }
        let count = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        let passed = candidates.iter().filter(|c| c.outcome.all_gates_passed);
        rows.push(StageBRow {
            schema_version: EXAMPLE_SCHEMA.to_owned(),
            issue_id: input.issue.issue_id.clone(),
            run_id: row.run_id.clone(),
            created_at: input.created_at.clone(),
            started_ms: row.started_ms,
            split: row.split,
            planner_input: input.clone(),
            tokens: row.tokens.clone(),
            label_action: winner.map(|place| labelled(&candidates[place].action, input)),
            bench_metadata: BenchMetadata {
                bench_config_hash: config_hash.clone(),
                k: count(candidates.len()),
                strategy: "all".to_owned(),
                winner_selection: WinnerMetadata {
                    primary_objective: request.objective,
                    candidates_evaluated: count(candidates.len()),
                    candidates_passed_constraints: count(passed.count()),
                },
            },
            candidates,
        });
    }
    if rows.is_empty() {
        return Err(Error::negative(
            "bench-empty",
            "no decision of the dataset is on an issue with recorded trials",
        )
        .hint("give the trials that the dataset's issues were recorded with"));
    }
    let with_winner = winners.values().sum();
    let decisions = rows.len() as u64;
    Ok(StageB {
        rows,
        summary: BenchSummary {
            schema_version: BenchSummaryVersion,
            bench_config_hash: config_hash,
            dataset_hash: request.dataset.meta.dataset_hash.clone(),
            toolchains: request.toolchains.to_vec(),
            primary_objective: request.objective,
            seed: request.seed,
            decisions,
            with_winner,
            no_passing_candidate: decisions - with_winner,
            without_trials,
            winners,
        },
    })
}

/// The seed of one decision's draw.
fn draw_seed(seed: u64, run_id: &str) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&sha256(format!("{seed}\n{run_id}").as_bytes()).bytes()[..8]);
    u64::from_be_bytes(head)
}

/// SHA-256, in hexadecimal, of what decides the rows: the decisions with their universe, defaults and
/// actions, the trials, and how they are replayed. Replays sample no model and have no limits of their own:
/// those are the actions'.
fn config_hash(request: &BenchRequest) -> Result<String> {
    let mut trials = amphora_files::Hasher::default();
    for trial in request.trials.as_slice() {
        trials.update(canonical_json(&value_of(trial)?).as_bytes());
        trials.update(b"\n");
    }
    let dataset = request.dataset;
    let mut spaces: Vec<&ActionSpace> = Vec::new();
    let mut defaults: Vec<&UniverseDefaults> = Vec::new();
    for input in dataset.rows.iter().map(|row| &row.planner_input) {
        if !spaces.contains(&&input.action_space) {
            spaces.push(&input.action_space);
        }
        if !defaults.contains(&&input.universe_defaults) {
            defaults.push(&input.universe_defaults);
        }
    }
    let config = json!({
        "schema_version": "cyntra.planner_best_of_k_config.v1",
        "universe_id": dataset.meta.universe_id,
        "universe_defaults": value_of(&defaults)?,
        "action_space": value_of(&spaces)?,
        "dataset": dataset.meta.dataset_hash,
        "k": null,
        "sampling": null,
        "toolchain_override": null,
        "strategy": "all",
        "objective": request.objective,
        "seed": request.seed,
        "toolchains": request.toolchains,
        "minute_cost": MINUTE_COST,
        "trials": trials.finish().to_string(),
    });
    Ok(sha256(canonical_json(&config).as_bytes()).to_string())
}

fn labelled(action: &NamedAction, input: &PlannerInput) -> PlannerAction {
    PlannerAction {
        schema_version: ActionVersion,
        created_at: input.created_at.clone(),
        swarm_id: action.swarm_id.clone(),
        budgets: action.budgets(),
        probs: None,
        confidence: Some(1.0),
        abstain_to_default: false,
        reason: None,
        model: Some(ModelReference {
            checkpoint_id: WINNER.to_owned(),
            version: None,
            git_sha: None,
        }),
        input_hash: None,
    }
}

/// The valid actions by name, computed once for each space and job type in a row.
#[derive(Default)]
struct Actions {
    last: Option<(ActionSpace, String)>,
    actions: Vec<NamedAction>,
}

impl Actions {
    fn of(&mut self, space: &ActionSpace, job_type: &str) -> &[NamedAction] {
        let same = matches!(&self.last, Some((of, job)) if of == space && job == job_type);
        if !same {
            self.actions = space
                .valid_actions(job_type)
                .into_iter()
                .filter_map(|action| space.named(action))
                .collect();
            self.last = Some((space.clone(), job_type.to_owned()));
        }
        &self.actions
    }
}
