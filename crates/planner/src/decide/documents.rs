//! The documents of a decision.

use std::collections::BTreeMap;
use std::time::Instant;

use super::judge::Refusal;
use super::predicted::Predicted;
use super::{Baseline, Decision, Planner, Reason, plan, policy};
use crate::contracts::{
    ActionVersion, ExecutedPlan, PlannerAction, PlannerInput, PolicyTrace, TraceVersion,
};

impl Planner {
    /// The documents of a decision.
    pub(super) fn decision(
        &self,
        input: &PlannerInput,
        input_hash: Option<String>,
        baseline: &Baseline,
        predicted: Option<Predicted>,
        refusal: Option<Refusal>,
        start: Instant,
    ) -> Decision {
        let fallback = baseline.binned(&input.action_space);
        let (reason, detail) = match refusal {
            Some((reason, detail)) => (Some(reason), detail),
            None => (None, None),
        };
        let code = reason.map(|reason| reason.code().to_owned());
        let (proposal, probabilities, ranking) = match predicted {
            Some(found) => (Some(found.proposal), found.probabilities, found.ranking),
            None => (None, BTreeMap::new(), Vec::new()),
        };
        let confidence = proposal.as_ref().and_then(|proposal| proposal.confidence);
        let shown = confidence.filter(|confidence| (0.0..=1.0).contains(confidence));
        let answered = proposal.as_ref().map(|proposal| &proposal.action);
        let executed = match (reason, answered) {
            (None, Some(action)) => action,
            _ => &fallback,
        };
        let (executed_plan, timeout_seconds_override) = match reason {
            None => plan::enforced(executed, baseline),
            Some(_) => (plan::unchanged(baseline), None),
        };
        let answer = answered.unwrap_or(&fallback);
        let action = PlannerAction {
            schema_version: ActionVersion,
            created_at: input.created_at.clone(),
            swarm_id: answer.swarm_id.clone(),
            budgets: answer.budgets(),
            probs: (!probabilities.is_empty()).then(|| probabilities.clone()),
            confidence: match answered {
                Some(_) => shown,
                None => Some(0.0),
            },
            abstain_to_default: reason.is_some(),
            reason: code.clone(),
            model: Some(match answered {
                Some(_) => self.policy.model.clone(),
                None => policy::unavailable(),
            }),
            input_hash: input_hash.clone(),
        };
        // Without a planner nothing fell back.
        let fell_back = reason.is_some_and(|reason| reason != Reason::PlannerOff);
        let trace = PolicyTrace {
            schema_version: TraceVersion,
            created_at: input.created_at.clone(),
            input_hash: input_hash.unwrap_or_default(),
            mode: self.settings.mode,
            model: self.policy.model.clone(),
            threshold: self.settings.threshold,
            executed: executed.clone(),
            predicted: answered.cloned(),
            confidence: shown,
            probs: probabilities,
            ranking,
            similar_run_ids: input
                .history
                .last_n_similar_runs
                .iter()
                .map(|run| run.run_id.clone())
                .collect(),
            reason: code.clone(),
            detail: detail.clone(),
            duration_us: u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
            baseline: fallback,
        };
        Decision {
            action,
            executed_plan: ExecutedPlan {
                fallback_applied: fell_back,
                fallback_reason: code.filter(|_| fell_back),
                fallback_detail: detail.filter(|_| fell_back),
                ..executed_plan
            },
            timeout_seconds_override,
            reason,
            trace,
        }
    }
}
