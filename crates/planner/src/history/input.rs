//! The input of a decision, out of an issue and a history.

use amphora_error::Result;

use super::{DecisionKey, History, Query, keywords};
use crate::action_space::ActionSpace;
use crate::contracts::{
    HistoryBlock, InputVersion, PlannerInput, SystemState, UniverseDefaults, WORLD_ID, time,
};
use crate::issues::Issue;

/// How many similar runs an input has unless asked otherwise.
pub const SIMILAR_RUNS: usize = 8;
/// Most tags kept, in the order of the issue.
const MAX_TAGS: usize = 32;

/// What an input is built from.
#[derive(Debug, Clone, Copy)]
pub struct InputRequest<'a> {
    /// The issue to be solved.
    pub issue: &'a Issue,
    /// Earlier runs.
    pub history: &'a History,
    /// The actions to choose from.
    pub action_space: &'a ActionSpace,
    /// The universe; `unknown` if there is none.
    pub universe_id: &'a str,
    /// What the universe does by default.
    pub universe_defaults: &'a UniverseDefaults,
    /// The state of the orchestrator, if known.
    pub system_state: Option<&'a SystemState>,
    /// When the decision is made, in milliseconds since 1970.
    pub now_ms: u64,
    /// How many similar runs are looked for; [`SIMILAR_RUNS`] unless there is a reason.
    pub similar: usize,
    /// Where attempts come from.
    pub attempts: Attempts,
    /// The decision, when it was made in the past: its own runs do not count.
    pub decision: Option<&'a DecisionKey>,
    /// For `fab-world`: the world, of which alone runs count; the issue then names it.
    pub world_id: Option<&'a str>,
}

/// Where an input's count of attempts comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// From the issue, which is as it was when the decision is made.
    OfIssue,
    /// From the history, because the issue's own count was written after the decision.
    OfHistory,
}

/// The input of a decision.
///
/// The job type is `fab-world` for an issue tagged `asset:world`, else `code`. Keywords come from
/// title and description. The same request gives the same bytes.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Malformed`] for a moment after the year 9999.
pub fn build_input(request: &InputRequest) -> Result<PlannerInput> {
    let mut issue = request.issue.fields();
    issue.tags.truncate(MAX_TAGS);
    issue.keywords = Some(keywords(&format!(
        "{}\n{}",
        request.issue.title,
        request.issue.description.as_deref().unwrap_or_default()
    )));
    let job_type = request.issue.job_type();
    if let Some(world_id) = request.world_id {
        issue.extra.insert(WORLD_ID.to_owned(), world_id.into());
    }
    if request.attempts == Attempts::OfHistory {
        issue.dk_attempts =
            request
                .history
                .attempts(&issue.issue_id, request.now_ms, request.decision);
    }
    let query = Query {
        job_type,
        started_ms: request.now_ms,
        tags: &issue.tags,
        world_id: request.world_id,
        objective_id: request.universe_defaults.objective_id.as_deref(),
        issue_id: Some(&issue.issue_id),
        decision: request.decision,
    };
    let similar = request.history.similar(&query, request.similar);
    Ok(PlannerInput {
        schema_version: InputVersion,
        created_at: time::format(request.now_ms)?,
        universe_id: request.universe_id.to_owned(),
        job_type: job_type.to_owned(),
        universe_defaults: request.universe_defaults.clone(),
        history: HistoryBlock {
            last_n_similar_runs: similar.into_iter().cloned().collect(),
        },
        issue,
        action_space: request.action_space.clone(),
        system_state: request.system_state.cloned(),
    })
}
