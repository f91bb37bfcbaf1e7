//! The files of one archived run.

use amphora_error::{Error, Result};
use amphora_files::RelativePath;
use amphora_files::durable::StagingDirectory;
use amphora_planner::action_space::SERIAL;
use amphora_planner::contracts::{
    ActionExecuted, ActionVersion, Domain, ExecutedPlan, ModelReference, Outcome, PlanVersion,
    PlannerAction, PlannerInput, RunStatus, RunSummary, Runtime, time,
};
use amphora_planner::issues::Issue;
use amphora_planner::replay::{Run, Trial, Trials, wall_ms};
use serde_json::{Map, Value, json};

use super::ImportRequest;
use super::decisions::Decision;
use super::policy::Policy;

/// The fail code by which a timeout is visible in a proof.
const CUT_OFF: &str = "status:timeout";
/// Most characters of an issue's id in the name of a workcell.
const MAX_SLUG: usize = 64;

/// One run of a decision: a recorded trial under its new start.
pub(crate) struct Workcell<'a> {
    pub(crate) summary: RunSummary,
    issue: &'a Issue,
    trial: &'a Trial,
}

/// The runs of a decision.
pub(crate) fn workcells<'a>(
    number: usize,
    decision: &Decision,
    issue: &'a Issue,
    request: &ImportRequest,
    trials: &'a Trials,
) -> Vec<Workcell<'a>> {
    let pairs = decision.runs.iter().enumerate();
    pairs
        .map(|(slot, run)| {
            let trial = &trials.as_slice()[run.trial];
            let mut summary = summary(name(number, slot, &issue.id), decision, run, issue, trial);
            if summary.domain == Domain::FabWorld {
                summary.universe_id = Some(request.universe_id.to_owned());
                let objective_id = &request.universe_defaults.objective_id;
                summary.objective_id.clone_from(objective_id);
            }
            Workcell {
                summary,
                issue,
                trial,
            }
        })
        .collect()
}

/// `wc-<issue>-<decision>-<slot>`, the slots a, b, ...; the decision's number makes it unique.
fn name(number: usize, slot: usize, issue: &str) -> String {
    let slug: String = issue
        .chars()
        .take(MAX_SLUG)
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => character,
            _ => '-',
        })
        .collect();
    let letter = u8::try_from(slot)
        .ok()
        .filter(|slot| *slot < 26)
        .map_or_else(
            || slot.to_string(),
            |slot| char::from(b'a' + slot).to_string(),
        );
    format!("wc-{slug}-{number:05}-{letter}")
}

fn summary(
    run_id: String,
    decision: &Decision,
    run: &Run,
    issue: &Issue,
    trial: &Trial,
) -> RunSummary {
    let cut = run.duration_ms < trial.duration_ms;
    let mut fail_codes = match cut {
        true => Vec::new(),
        false => trial.fail_codes.clone(),
    };
    if run.status == RunStatus::Timeout {
        fail_codes.push(CUT_OFF.to_owned());
    }
    let mut met = std::collections::HashSet::new();
    fail_codes.retain(|code| !code.is_empty() && met.insert(code.clone()));
    let plan = executed_plan(decision);
    let tokens = trial.tokens_in.into_iter().chain(trial.tokens_out);
    RunSummary {
        run_id,
        started_ms: decision.started_ms,
        job_type: issue.job_type().to_owned(),
        domain: match issue.tags.iter().any(|tag| tag.starts_with("asset:")) {
            _ if issue.job_type() == "fab-world" => Domain::FabWorld,
            true => Domain::FabAsset,
            false => Domain::Code,
        },
        action_executed: ActionExecuted {
            swarm_id: Some(plan.swarm_id_executed),
            max_candidates: plan.max_candidates_executed,
            max_minutes: plan.timeout_seconds_executed.map(|seconds| seconds / 60),
            max_iterations: plan.max_iterations_executed,
        },
        outcome: Outcome {
            status: run.status,
            fail_codes,
            // A run that is cut never comes to its gates.
            gates: match cut {
                true => Vec::new(),
                false => trial.gates.clone(),
            },
        },
        runtime: Runtime {
            duration_ms: run.duration_ms,
        },
        cost_usd_est: trial.cost_usd.filter(|_| !cut),
        tokens_in: tokens.filter(|_| !cut).reduce(u64::saturating_add),
        tokens_out: None,
        tags: issue.tags.clone(),
        issue_id: Some(issue.id.clone()),
        universe_id: None,
        world_id: None,
        objective_id: None,
    }
}

fn executed_plan(decision: &Decision) -> ExecutedPlan {
    ExecutedPlan {
        schema_version: PlanVersion,
        swarm_id_executed: decision.action.swarm_id.clone(),
        max_candidates_executed: decision.action.max_candidates_bin.count(),
        timeout_seconds_executed: decision
            .action
            .max_minutes_bin
            .count()
            .map(|minutes| minutes.saturating_mul(60)),
        max_iterations_executed: decision.action.max_iterations_bin.count(),
        fallback_applied: false,
        fallback_reason: None,
        fallback_detail: None,
    }
}

impl Decision {
    /// The `planner` section that the manifests of all its runs hold.
    pub(crate) fn documents(&self, input: &PlannerInput, policy: &Policy) -> Result<Value> {
        let input = input.to_value()?;
        let action = PlannerAction {
            schema_version: ActionVersion,
            created_at: time::format(self.started_ms)?,
            swarm_id: self.action.swarm_id.clone(),
            budgets: self.action.budgets(),
            probs: None,
            confidence: None,
            abstain_to_default: false,
            reason: None,
            model: Some(ModelReference {
                checkpoint_id: policy.checkpoint_id().to_owned(),
                version: None,
                git_sha: None,
            }),
            input_hash: Some(amphora_planner::contracts::input_hash(&input)),
        };
        let plan = executed_plan(self);
        let unwritable = |source: serde_json::Error| {
            Error::internal("json-encoding", "a decision cannot be written as JSON")
                .caused_by(source)
        };
        Ok(json!({
            "planner_input": input,
            "planner_action": serde_json::to_value(&action).map_err(unwritable)?,
            "executed_plan": serde_json::to_value(&plan).map_err(unwritable)?,
            "timeout_seconds_override": plan.timeout_seconds_executed,
        }))
    }
}

impl Workcell<'_> {
    /// Writes the three files.
    pub(crate) fn write(
        &self,
        staging: &StagingDirectory,
        decision: &Decision,
        planner: &Value,
    ) -> Result<()> {
        let completed = time::format(self.summary.ended_ms())?;
        for (name, document) in [
            ("manifest.json", self.manifest(decision, planner)),
            ("proof.json", self.proof(&completed)?),
            ("rollout.json", self.rollout(decision, planner, &completed)),
        ] {
            let path = RelativePath::parse(&format!("{}/{name}", self.summary.run_id))?;
            staging.write(&path, format!("{document}\n").as_bytes())?;
        }
        Ok(())
    }

    fn manifest(&self, decision: &Decision, planner: &Value) -> Value {
        let id = &self.summary.run_id;
        let speculates = decision.action.swarm_id != SERIAL;
        let parallelism = speculates.then_some(decision.runs.len());
        json!({
            "schema_version": "1.0.0",
            "workcell_id": id,
            "branch_name": format!("wc/{}/{id}", self.issue.id),
            "apply_patch": self.issue.dk_apply_patch,
            "issue": {
                "id": self.issue.id,
                "title": self.issue.title,
                "description": self.issue.description,
                "acceptance_criteria": self.issue.acceptance_criteria,
                "context_files": self.issue.context_files,
                "forbidden_paths": self.issue.dk_forbidden_paths,
                "dk_estimated_tokens": self.issue.dk_estimated_tokens,
                "tags": self.issue.tags,
            },
            "job_type": self.summary.job_type,
            "toolchain": self.trial.toolchain,
            "toolchain_config": {"model": null},
            "quality_gates": self.issue.dk_quality_gates,
            "speculate_mode": speculates,
            "speculate_tag": speculates.then(|| format!("spec-{}", self.trial.toolchain)),
            "control": {
                "mode": "disabled",
                "reason": "no_dynamics_report",
                "action_rate": null,
                "speculate_parallelism": parallelism,
                "sampling": null,
            },
            "planner": planner,
            "recorded": {
                "trial": self.trial.trial,
                "started_ms": self.trial.started_ms,
                "duration_ms": self.trial.duration_ms,
                "status": self.trial.status,
                "decision_wall_ms": wall_ms(&decision.runs),
            },
        })
    }

    fn proof(&self, completed: &str) -> Result<Value> {
        let outcome = &self.summary.outcome;
        let gates: Map<String, Value> = outcome
            .gates
            .iter()
            .map(|gate| {
                let verdict = json!({
                    "passed": gate.passed, "exit_code": null, "duration_ms": null, "score": gate.score,
                });
                (gate.name.clone(), verdict)
            })
            .collect();
        Ok(json!({
            "schema_version": "1",
            "workcell_id": self.summary.run_id,
            "issue_id": self.issue.id,
            "status": outcome.status,
            "patch": {},
            "verification": {
                "gates": gates,
                "all_passed": outcome.status == RunStatus::Success,
                "blocking_failures": outcome.fail_codes,
            },
            "metadata": {
                "started_at": time::format(self.summary.started_ms)?,
                "completed_at": completed,
                "duration_ms": self.summary.runtime.duration_ms,
                "cost_usd": self.summary.cost_usd_est,
                "tokens_used": self.summary.tokens_in,
                "toolchain": self.trial.toolchain,
                "model": null,
            },
            "confidence": 0.5,
            "risk_classification": self.issue.dk_risk,
        }))
    }

    fn rollout(&self, decision: &Decision, planner: &Value, completed: &str) -> Value {
        let outcome = &self.summary.outcome;
        let speculates = decision.action.swarm_id != SERIAL;
        json!({
            "schema_version": "cyntra.rollout.v1",
            "rollout_id": format!("ro_{}", self.summary.run_id),
            "workcell_id": self.summary.run_id,
            "issue_id": self.issue.id,
            "job_type": self.summary.job_type,
            "policy": {
                "toolchain": self.trial.toolchain,
                "prompt_genome_id": null,
                "sampling": {"temperature": null, "top_p": null},
                "speculate": {
                    "enabled": speculates,
                    "parallelism": null,
                    "tag": speculates.then(|| format!("spec-{}", self.trial.toolchain)),
                },
            },
            "inputs": {"manifest_path": "manifest.json", "repo_commit_base": null},
            "trajectory": {
                "telemetry_path": "telemetry.jsonl",
                "tool_summary": {"Read": 0, "Write": 0, "Bash": 0, "Blender": 0},
                "file_changes": [],
                "telemetry_missing_reason": "missing",
            },
            "outcomes": {"verification": {
                "all_passed": outcome.status == RunStatus::Success,
                "blocking_failures": outcome.fail_codes,
            }},
            "scores": {
                "risk": self.issue.dk_risk,
                "diff_lines": 0,
                "cost_usd": self.summary.cost_usd_est,
                "duration_ms": self.summary.runtime.duration_ms,
            },
            "planner": planner,
            "generated_at": completed,
        })
    }
}
