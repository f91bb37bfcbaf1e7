//! Recorded trials become the archives of an orchestrator.
//!
//! A policy decides, for one issue after the other, which trials are the runs of one decision
//! ([`Policy`]); each trial is used at most once. A decision starts at the earliest start of its trials
//! and lasts as long as the replay says, until the first run passes or the last ends; the runs are stamped
//! with that start, and the manifest keeps what was recorded and how long the decision lasted. Runs are
//! cut at the action's minutes. Every manifest holds the planner's input as it would have been: the
//! history has the runs that had ended, of decisions that had ended.

mod archive;
mod decisions;
mod policy;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use amphora_error::{Error, Result};
use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{UniverseDefaults, time};
use amphora_planner::history::{
    Attempts, DecisionKey, History, InputRequest, PastRun, build_input,
};
use amphora_planner::issues::{Issue, Issues};
use amphora_planner::replay::{Recorded, Trials, wall_ms};
use serde::Serialize;

use amphora_files::durable::{publish_directory, refuse_existing};
use archive::Workcell;
use decisions::{Formed, form};

pub use policy::Policy;

/// What to import, and how.
#[derive(Debug, Clone, Copy)]
pub struct ImportRequest<'a> {
    /// The issues that the trials worked on.
    pub issues: &'a Issues,
    /// The recorded trials.
    pub trials: &'a Trials,
    /// The toolchains in the order of their priority; trials of others are left over.
    pub toolchains: &'a [String],
    /// The actions to choose from.
    pub action_space: &'a ActionSpace,
    /// Who decides.
    pub policy: &'a Policy,
    /// The seed of the policy's draws.
    pub seed: u64,
    /// How many similar runs the inputs hold.
    pub similar: usize,
    /// The universe of every decision.
    pub universe_id: &'a str,
    /// What it does by default.
    pub universe_defaults: &'a UniverseDefaults,
}

/// What was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Decisions formed.
    pub decisions: usize,
    /// Archives written, one for each trial used.
    pub archives: usize,
    /// Trials in no decision: too few left for the policy's action, or of a toolchain not asked for.
    pub left_over: usize,
    /// Lines that repeated an earlier trial.
    pub repeated: usize,
    /// Trials of issues that are not among the issues.
    pub without_issue: usize,
    /// Lines of the issues that hold no issue.
    pub lines_without_issue: usize,
    /// Decisions by action.
    pub actions: BTreeMap<String, usize>,
    /// When the first decision was made.
    pub first: Option<String>,
    /// When the last decision was made.
    pub last: Option<String>,
}

/// Forms decisions and writes their archives to the new directory `out`, whole or not at all.
///
/// # Errors
///
/// Something is already at `out` (`output-exists`); the policy names no valid action
/// (`policy-action`) or one that recorded trials cannot stand for (`import-action`); a toolchain of
/// which nothing is recorded (`toolchain-unknown`); no decision could be formed (`import-empty`); the
/// directory cannot be written.
pub fn import(request: &ImportRequest, out: &Path) -> Result<Imported> {
    refuse_existing(out)?;
    Recorded::new(request.trials, request.toolchains)?;
    let issues: HashMap<&str, &Issue> = request
        .issues
        .issues
        .iter()
        .map(|issue| (issue.id.as_str(), issue))
        .collect();
    let trials = request
        .trials
        .filtered(|trial| issues.contains_key(trial.issue_id.as_str()));
    let choose = |issue: &str, number: usize| {
        request
            .policy
            .choose(request.action_space, issues[issue], number, request.seed)
    };
    let Formed {
        decisions,
        left_over,
    } = form(&trials, request.toolchains, &choose)?;
    if decisions.is_empty() {
        return Err(Error::negative(
            "import-empty",
            "no decision could be formed: no issue has enough trials for the policy's action",
        )
        .found(format!(
            "{} trials, of which {} are of listed issues",
            request.trials.as_slice().len(),
            trials.as_slice().len()
        )));
    }
    let workcells: Vec<Vec<Workcell>> = decisions
        .iter()
        .enumerate()
        .map(|(number, decision)| {
            let issue = issues[decision.issue_id.as_str()];
            archive::workcells(number, decision, issue, request, &trials)
        })
        .collect();
    let runs = workcells
        .iter()
        .zip(&decisions)
        .flat_map(|(workcells, decision)| workcells.iter().map(move |cell| (cell, decision)))
        .map(|(cell, decision)| PastRun {
            known_ms: decision.ended_ms().max(cell.summary.ended_ms()),
            summary: cell.summary.clone(),
            decision: Some(decision.key()),
        })
        .collect();
    let history = History::of_runs(runs);
    publish_directory(out, |staging| {
        for (decision, workcells) in decisions.iter().zip(&workcells) {
            let key = decision.key();
            let input = build_input(&InputRequest {
                issue: issues[decision.issue_id.as_str()],
                history: &history,
                action_space: request.action_space,
                universe_id: request.universe_id,
                universe_defaults: request.universe_defaults,
                system_state: None,
                now_ms: decision.started_ms,
                similar: request.similar,
                attempts: Attempts::OfHistory,
                decision: Some(&key),
                world_id: None,
            })?;
            let documents = decision.documents(&input, request.policy)?;
            for workcell in workcells {
                workcell.write(staging, decision, &documents)?;
            }
        }
        Ok(())
    })?;
    let mut actions = BTreeMap::new();
    for decision in &decisions {
        *actions.entry(decision.action.to_string()).or_default() += 1;
    }
    let moment = |decision: Option<&decisions::Decision>| {
        decision
            .map(|decision| time::format(decision.started_ms))
            .transpose()
    };
    Ok(Imported {
        decisions: decisions.len(),
        archives: workcells.iter().map(Vec::len).sum(),
        left_over,
        repeated: request.trials.duplicates(),
        without_issue: request.trials.as_slice().len() - trials.as_slice().len(),
        lines_without_issue: usize::try_from(request.issues.skipped).unwrap_or(usize::MAX),
        actions,
        first: moment(decisions.first())?,
        last: moment(decisions.last())?,
    })
}

impl decisions::Decision {
    fn key(&self) -> DecisionKey {
        DecisionKey {
            issue_id: self.issue_id.clone(),
            started_ms: self.started_ms,
        }
    }

    fn ended_ms(&self) -> u64 {
        self.started_ms.saturating_add(wall_ms(&self.runs))
    }
}
