//! What follows from an action space, kept between decisions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use amphora_error::Result;

use crate::action_space::{Action, ActionSpace, masks};

/// The valid actions of one job type, and which classes they have.
#[derive(Debug)]
pub(super) struct ValidSet {
    pub(super) actions: Vec<Action>,
    pub(super) masks: [Vec<bool>; 4],
}

/// A checked action space and its valid sets.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) space: ActionSpace,
    pub(super) digest: String,
    /// For each job type that a rule names.
    named: BTreeMap<String, ValidSet>,
    /// For every other.
    other: ValidSet,
}

impl Prepared {
    fn new(space: &ActionSpace) -> Result<Self> {
        space.check()?;
        let valid = |job_type: &str| {
            let actions = space.valid_actions(job_type);
            let masks = masks(space.widths(), &actions);
            ValidSet { actions, masks }
        };
        let job_types = space.job_types();
        // No rule names the longest name and one more letter.
        let longest = job_types.iter().max_by_key(|name| name.len());
        let unnamed = format!("{}x", longest.unwrap_or(&""));
        let named = job_types
            .into_iter()
            .map(|job_type| (job_type.to_owned(), valid(job_type)))
            .collect();
        Ok(Self {
            digest: space.digest()?,
            other: valid(&unnamed),
            named,
            space: space.clone(),
        })
    }

    pub(super) fn valid(&self, job_type: &str) -> &ValidSet {
        self.named.get(job_type).unwrap_or(&self.other)
    }
}

/// The space of the last decision; orchestrators ask with the same one again and again.
#[derive(Debug, Default)]
pub(super) struct Latest(Mutex<Option<Arc<Prepared>>>);

impl Latest {
    pub(super) fn get(&self, space: &ActionSpace) -> Result<Arc<Prepared>> {
        let latest = |this: &Self| {
            let latest = this.0.lock().unwrap_or_else(PoisonError::into_inner);
            latest
                .as_ref()
                .filter(|prepared| prepared.space == *space)
                .cloned()
        };
        if let Some(prepared) = latest(self) {
            return Ok(prepared);
        }
        let prepared = Arc::new(Prepared::new(space)?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&prepared));
        Ok(prepared)
    }
}
