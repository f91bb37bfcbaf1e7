//! What follows from an action space, kept between decisions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use amphora_error::Result;

use crate::action_space::{Action, ActionSpace, masks};

/// The valid actions of one job type, and which classes they have.
#[derive(Debug)]
pub(super) struct ValidSet {
    pub(super) actions: Vec<Action>,
    pub(super) masks: [Vec<bool>; 4],
}

/// A checked action space and its valid sets, each made when it is asked for: a space may name many
/// job types.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) space: ActionSpace,
    pub(super) digest: String,
    /// For each job type that a rule names.
    named: BTreeMap<String, OnceLock<ValidSet>>,
    /// For every other.
    other: OnceLock<ValidSet>,
}

impl Prepared {
    fn new(space: &ActionSpace) -> Result<Self> {
        space.check()?;
        let named = space.job_types().into_iter();
        Ok(Self {
            digest: space.digest()?,
            named: named
                .map(|name| (name.to_owned(), OnceLock::new()))
                .collect(),
            other: OnceLock::new(),
            space: space.clone(),
        })
    }

    pub(super) fn valid(&self, job_type: &str) -> &ValidSet {
        let place = self.named.get(job_type).unwrap_or(&self.other);
        place.get_or_init(|| {
            let actions = self.space.valid_actions(job_type);
            let masks = masks(self.space.widths(), &actions);
            ValidSet { actions, masks }
        })
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
