//! Runs out of an orchestrator's archives: `<workcell>/{manifest,proof,rollout}.json`.
//!
//! Times, gates and status come from the proof, the action and the tags from the manifest; a rollout
//! only fills gaps. A run ended at the latest moment that the proof names: `completed_at`, or the start
//! and the duration; where it names none, when the rollout was written. What the orchestrator decided
//! from and what it executed is kept beside each summary, where the manifest holds it.

mod documents;

use std::collections::HashSet;
use std::path::Path;

use amphora_error::Result;
use amphora_files::Directory;
use serde_json::Value;

use super::collected::{Collected, Drop, DropReason, Ignored, read_json};
use super::decisions::{Undecided, assign};
use super::similar::FAB_WORLD;
use super::{DecisionKey, History, PastRun};
use crate::action_space::{SERIAL, SPECULATE};
use crate::contracts::{
    ActionExecuted, Domain, ExecutedPlan, Outcome, PlannerAction, PlannerInput, RunStatus,
    RunSummary, Runtime, time,
};
use documents::{Manifest, PlannerValues, Proof, Rollout, Verification};

/// One archived run.
#[derive(Debug, Clone)]
pub struct ArchivedRun {
    /// The name of its folder.
    pub folder: String,
    /// The run.
    pub summary: RunSummary,
    /// The decision that started it; `None` when no issue is named.
    pub decision: Option<DecisionKey>,
    /// When it ended, in milliseconds since 1970; not before its start and duration say.
    pub ended_ms: u64,
    /// From when on others may know how it ended: once it and its decision had ended.
    pub known_ms: u64,
    /// The issue as the manifest has it.
    pub issue: ArchivedIssue,
    /// What the planner was given, said and did, as far as it was recorded.
    pub planner: PlannerRecord,
    /// The toolchain that ran.
    pub toolchain: Option<String>,
}

/// What a manifest says about its issue, written when the run started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchivedIssue {
    /// Its name.
    pub id: Option<String>,
    /// One line about it.
    pub title: Option<String>,
    /// All about it.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
}

/// The planner's section of a manifest. What is broken in there is absent here, and counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlannerRecord {
    /// What the decision was made from.
    pub input: Option<PlannerInput>,
    /// What the planner said.
    pub action: Option<PlannerAction>,
    /// What was executed.
    pub executed_plan: Option<ExecutedPlan>,
    /// Whether what was executed is recorded and cannot be read: nobody knows it then.
    pub plan_is_unreadable: bool,
}

/// Reads every archive beneath `directory`, by name.
///
/// An archive that cannot be used is left out, named and counted; of several with one run id the
/// first counts.
///
/// # Errors
///
/// When the directory itself cannot be read.
pub fn collect(directory: &Path) -> Result<Collected<ArchivedRun>> {
    let directory = Directory::open(directory)?;
    let mut collected = Collected::of(&directory, read_archive)?;
    let mut met = HashSet::new();
    let mut runs = Vec::with_capacity(collected.runs.len());
    for undecided in std::mem::take(&mut collected.runs) {
        if met.insert(undecided.run.summary.run_id.clone()) {
            runs.push(undecided);
        } else {
            collected.drop_run(undecided.run.folder, DropReason::Duplicate.into());
        }
    }
    Ok(collected.with_runs(assign(runs)))
}

impl Collected<ArchivedRun> {
    /// The runs as a history that knows their decisions.
    pub fn history(&self) -> History {
        History::of_runs(self.runs.iter().map(ArchivedRun::past).collect())
    }
}

impl ArchivedRun {
    /// The run as a part of a history.
    pub fn past(&self) -> PastRun {
        PastRun {
            summary: self.summary.clone(),
            decision: self.decision.clone(),
            known_ms: self.known_ms,
        }
    }
}

fn read_archive(folder: &Directory, name: &str, ignored: &mut Ignored) -> Result<Undecided, Drop> {
    let manifest: Manifest = read_json(folder, "manifest.json")?.ok_or(DropReason::NoManifest)?;
    let proof: Proof = read_json(folder, "proof.json")?.ok_or(DropReason::NoProof)?;
    let metadata = proof.metadata.unwrap_or_default();
    let verification = proof.verification;
    let recorded = |text: &Option<String>| text.as_deref().and_then(|text| time::parse(text).ok());
    let (started, completed) = (
        recorded(&metadata.started_at),
        recorded(&metadata.completed_at),
    );
    let started_ms = started.or(completed).ok_or(DropReason::NoStartTime)?;
    let completed = completed.filter(|completed| *completed >= started_ms);
    let measured = started.zip(completed).map(|(start, end)| end - start);
    // Producers that did not measure write 0.
    let measured = metadata.duration_ms.filter(|ms| *ms > 0).or(measured);

    let issue = manifest.issue.unwrap_or_default();
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let issue_id = filled(issue.id.clone()).or(filled(proof.issue_id));

    let gap = manifest.job_type.is_none()
        || manifest.planner.is_none()
        || issue_id.is_none()
        || verification.is_none()
        || measured.is_none()
        || metadata.cost_usd.is_none();
    let rollout: Rollout = match gap {
        true => read_json(folder, "rollout.json").unwrap_or_else(|_| {
            *ignored.entry("rollout").or_default() += 1;
            None
        }),
        false => None,
    }
    .unwrap_or_default();
    let scores = rollout.scores.unwrap_or_default();

    let job_type = manifest
        .job_type
        .or(rollout.job_type)
        .unwrap_or_else(|| "code".to_owned());
    let planner = record(
        manifest.planner.or(rollout.planner).unwrap_or_default(),
        ignored,
    );
    let parallelism = manifest
        .control
        .and_then(|control| control.speculate_parallelism);
    let verification = verification
        .or(rollout.outcomes.unwrap_or_default().verification)
        .unwrap_or_default();
    let duration_ms = measured.or(scores.duration_ms.filter(|ms| *ms > 0));
    let written = recorded(&rollout.generated_at).filter(|written| *written >= started_ms);
    let ended_ms = duration_ms
        .map(|ms| started_ms.saturating_add(ms))
        .max(completed)
        .or(written)
        .ok_or(DropReason::NoEndTime)?;
    let of_world = planner.input.as_ref().filter(|_| job_type == FAB_WORLD);
    let summary = RunSummary {
        run_id: filled(proof.workcell_id)
            .or(filled(manifest.workcell_id))
            .unwrap_or_else(|| name.to_owned()),
        started_ms,
        domain: domain(&job_type, &issue.tags),
        job_type,
        action_executed: match &planner.executed_plan {
            Some(plan) => of_plan(plan),
            None if planner.plan_is_unreadable => ActionExecuted::default(),
            None => of_legacy(manifest.speculate_mode, parallelism),
        },
        outcome: outcome(proof.status.as_deref(), verification),
        runtime: Runtime {
            duration_ms: duration_ms.unwrap_or(0),
        },
        cost_usd_est: metadata.cost_usd.or(scores.cost_usd),
        tokens_in: metadata.tokens_used,
        tokens_out: None,
        tags: issue.tags.clone(),
        issue_id: issue_id.or(filled(rollout.issue_id)),
        universe_id: of_world.map(|input| input.universe_id.clone()),
        world_id: of_world.and_then(|input| input.issue.world_id().map(str::to_owned)),
        objective_id: of_world.and_then(|input| input.universe_defaults.objective_id.clone()),
    };
    Ok(Undecided {
        speculative: manifest.speculate_mode,
        run: ArchivedRun {
            folder: name.to_owned(),
            summary,
            decision: None,
            ended_ms,
            known_ms: ended_ms,
            issue: ArchivedIssue {
                id: issue.id,
                title: issue.title,
                description: issue.description,
                tags: issue.tags,
            },
            planner,
            toolchain: manifest.toolchain,
        },
    })
}

fn domain(job_type: &str, tags: &[String]) -> Domain {
    match job_type {
        FAB_WORLD => Domain::FabWorld,
        _ if tags.iter().any(|tag| tag.starts_with("asset:")) => Domain::FabAsset,
        _ => Domain::Code,
    }
}

fn of_plan(plan: &ExecutedPlan) -> ActionExecuted {
    ActionExecuted {
        swarm_id: Some(plan.swarm_id_executed.clone()),
        max_candidates: plan.max_candidates_executed,
        max_minutes: plan.timeout_seconds_executed.map(|seconds| seconds / 60),
        max_iterations: plan.max_iterations_executed,
    }
}

/// What ran before orchestrators recorded an executed plan.
fn of_legacy(speculative: bool, parallelism: Option<u32>) -> ActionExecuted {
    let (swarm, max_candidates) = match speculative {
        true => (SPECULATE, parallelism.filter(|count| *count > 0)),
        false => (SERIAL, Some(1)),
    };
    ActionExecuted {
        swarm_id: Some(swarm.to_owned()),
        max_candidates,
        ..ActionExecuted::default()
    }
}

fn outcome(status: Option<&str>, verification: Verification) -> Outcome {
    const CUT_OFF: &str = "status:timeout";
    let status = status.unwrap_or("failed").to_ascii_lowercase();
    let blocking = verification.blocking_failures;
    let ended = matches!(status.as_str(), "success" | "partial") && verification.all_passed;
    let status = match ended {
        _ if status == "timeout" || blocking.iter().any(|code| code == CUT_OFF) => {
            RunStatus::Timeout
        }
        true => RunStatus::Success,
        false => RunStatus::Failed,
    };
    let mut met = HashSet::new();
    let mut fail_codes = Vec::new();
    let mut gates = Vec::with_capacity(verification.gates.len());
    for (gate, codes) in verification.gates {
        fail_codes.extend(codes);
        gates.push(gate);
    }
    fail_codes.extend(blocking);
    fail_codes.retain(|code| !code.is_empty() && met.insert(code.clone()));
    Outcome {
        status,
        fail_codes,
        gates,
    }
}

fn record(values: PlannerValues, ignored: &mut Ignored) -> PlannerRecord {
    // An orchestrator without a planner writes empty objects.
    let given = |value: Option<Value>| {
        value.filter(|value| !value.is_null() && value.as_object().is_none_or(|o| !o.is_empty()))
    };
    let mut part = |name: &'static str, broken: bool| {
        if broken {
            *ignored.entry(name).or_default() += 1;
        }
    };
    let input = given(values.planner_input).map(|value| PlannerInput::from_value(&value).ok());
    part("planner_input", input == Some(None));
    let action = given(values.planner_action).map(|value| serde_json::from_value(value).ok());
    part("planner_action", action == Some(None));
    let executed_plan =
        given(values.executed_plan).map(|value| ExecutedPlan::from_value(&value).ok());
    part("executed_plan", executed_plan == Some(None));
    PlannerRecord {
        input: input.flatten(),
        action: action.flatten(),
        plan_is_unreadable: executed_plan == Some(None),
        executed_plan: executed_plan.flatten(),
    }
}
