//! Whether a model was made for what it is asked about.

use std::sync::Arc;

use amphora_error::Error;

use super::judge::Refusal;
use super::prepared::Prepared;
use super::{Planner, Reason};
use crate::bundle::toolchains_digest;
use crate::contracts::PlannerInput;

impl Planner {
    /// The input's action space, which must be the model's; so must the toolchains. An input whose
    /// rules are words alone, or absent, takes those of the model.
    pub(super) fn prepare(&self, input: &PlannerInput) -> Result<Arc<Prepared>, Refusal> {
        let broken = |error: Error| mismatch(error.to_string());
        let asked = &input.action_space;
        let prepared = match &self.policy.action_space {
            Some(space) if space.has_classes_of(asked) && !asked.demands() => {
                self.latest.get(space)
            }
            _ => self.latest.get(asked),
        }
        .map_err(broken)?;
        if let Some(space) = &self.policy.action_space
            && *space != prepared.space
        {
            let expected = space.digest().map_err(broken)?;
            if expected != prepared.digest {
                return Err(mismatch(format!(
                    "the action space is {}, the model's is {expected}",
                    prepared.digest
                )));
            }
        }
        self.toolchains()?;
        Ok(prepared)
    }

    /// Refuses other toolchains than those that the model was made for, by their digest; who states
    /// none cannot be known to have them.
    fn toolchains(&self) -> Result<(), Refusal> {
        let Some(pinned) = &self.policy.toolchains else {
            return Ok(());
        };
        let stated = self.settings.toolchains.as_deref();
        if stated.is_some_and(|stated| toolchains_digest(stated) == pinned.digest) {
            return Ok(());
        }
        let here = stated.map_or("not stated".to_owned(), |list| list.join(", "));
        let there = match &pinned.names {
            Some(names) => names.join(", "),
            None => format!("those of digest {}", pinned.digest),
        };
        Err(mismatch(format!(
            "the toolchains are {here}, the model's are {there}"
        )))
    }
}

fn mismatch(detail: String) -> Refusal {
    (Reason::SchemaMismatch, Some(detail))
}
