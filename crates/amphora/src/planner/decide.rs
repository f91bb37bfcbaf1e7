//! One decision.

use amphora_error::{Error, Result};
use amphora_planner::contracts::{ActionVersion, ModelReference, PlannerAction, PlannerInput};
use amphora_planner::heuristic;

/// What to decide.
#[derive(Debug, Clone)]
pub struct DecideRequest {
    /// Everything that the decision is made from.
    pub input: PlannerInput,
    /// When it is made: RFC 3339.
    pub now: String,
}

/// Decides by the rule that stands in for a model.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Malformed`] when the action space allows no action.
pub fn decide(request: &DecideRequest) -> Result<PlannerAction> {
    let input = &request.input;
    let action = heuristic::action(input)
        .and_then(|action| input.action_space.named(action))
        .ok_or_else(|| {
            Error::malformed(
                "action-space-no-action",
                "the rules of the action space allow no action for this job",
            )
        })?;
    Ok(PlannerAction {
        schema_version: ActionVersion,
        created_at: request.now.clone(),
        budgets: action.budgets(),
        swarm_id: action.swarm_id,
        probs: None,
        confidence: None,
        abstain_to_default: false,
        reason: None,
        model: Some(ModelReference {
            checkpoint_id: heuristic::CHECKPOINT_ID.to_owned(),
            version: None,
            git_sha: None,
        }),
        input_hash: Some(input.input_hash()?),
    })
}
