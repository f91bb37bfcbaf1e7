//! What a model's answer says.

use std::collections::BTreeMap;

use super::judge::Proposal;
use super::prepared::{Prepared, ValidSet};
use crate::action_space::{HeadLogits, NamedAction};
use crate::contracts::{PlannerAction, RankedAction};
use crate::decode::{Distribution, Temperatures};

/// How many actions the trace ranks.
const RANKED: usize = 5;

/// What is known of a prediction.
pub(super) struct Predicted {
    pub(super) proposal: Proposal,
    pub(super) probabilities: BTreeMap<String, Vec<f64>>,
    pub(super) ranking: Vec<RankedAction>,
}

impl Predicted {
    /// What a rule or another process answered.
    pub(super) fn of_action(action: PlannerAction) -> Self {
        Self {
            proposal: Proposal {
                action: NamedAction::new(action.swarm_id, &action.budgets),
                confidence: action.confidence,
            },
            probabilities: action.probs.unwrap_or_default(),
            ranking: Vec::new(),
        }
    }

    /// What logits over the classes of a space say; where no action is valid, what each head wants by
    /// itself. The error is what is wrong with them, in words.
    pub(super) fn of_logits(
        logits: &HeadLogits,
        temperatures: &Temperatures,
        prepared: &Prepared,
        valid: &ValidSet,
    ) -> Result<Self, Option<String>> {
        let distribution = Distribution::new(logits, &valid.masks, temperatures)
            .map_err(|error| Some(error.to_string()))?;
        let best = distribution
            .best(&valid.actions)
            .unwrap_or_else(|| distribution.independent());
        let ranked = distribution.ranked(&valid.actions, RANKED);
        Ok(Self {
            proposal: Proposal {
                action: prepared.space.named(best.action).ok_or(None)?,
                confidence: Some(best.confidence.clamp(0.0, 1.0)),
            },
            probabilities: distribution.by_field(),
            ranking: ranked
                .into_iter()
                .filter_map(|decoded| {
                    Some(RankedAction {
                        action: prepared.space.named(decoded.action)?,
                        log_probability: decoded.log_probability,
                    })
                })
                .collect(),
        })
    }
}
