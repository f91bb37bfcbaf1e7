//! The set of valid actions and what follows from it.

use super::{Action, ActionSpace, Head};

impl ActionSpace {
    /// Whether an action keeps every rule in a job of `job_type`.
    pub fn is_valid(&self, action: Action, job_type: &str) -> bool {
        self.named(action).is_some_and(|action| {
            self.validity_rules
                .iter()
                .all(|rule| rule.allows(&action, job_type))
        })
    }

    /// Every valid action for a job of `job_type`: sorted by the swarm's name, then by each bin, counts
    /// ascending and `NA` last, whatever the order of the lists.
    pub fn valid_actions(&self, job_type: &str) -> Vec<Action> {
        let [swarms, candidates, minutes, iterations] = Head::ALL.map(|head| self.sorted(head));
        let mut actions = Vec::new();
        for &swarm in &swarms {
            for &candidates in &candidates {
                for &minutes in &minutes {
                    for &iterations in &iterations {
                        let action = Action {
                            swarm,
                            candidates,
                            minutes,
                            iterations,
                        };
                        if self.is_valid(action, job_type) {
                            actions.push(action);
                        }
                    }
                }
            }
        }
        actions
    }

    /// For each class of each head, whether a valid action for a job of `job_type` has it.
    pub fn masks(&self, job_type: &str) -> [Vec<bool>; 4] {
        masks(self.widths(), &self.valid_actions(job_type))
    }

    /// The job types that the rules tell from others, sorted.
    pub fn job_types(&self) -> Vec<&str> {
        let mut found: Vec<&str> = self
            .validity_rules
            .iter()
            .filter_map(|rule| rule.condition.as_ref()?.job_type.as_deref())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The classes of `head` in the order of enumeration.
    fn sorted(&self, head: Head) -> Vec<usize> {
        let mut classes: Vec<usize> = (0..self.width(head)).collect();
        match head {
            Head::Swarm => classes.sort_by_key(|&class| &self.swarm_ids[class]),
            budget => classes.sort_by_key(|&class| self.bins(budget)[class]),
        }
        classes
    }
}

/// For each class of each head, whether one of `actions` has it.
pub fn masks(widths: [usize; 4], actions: &[Action]) -> [Vec<bool>; 4] {
    let mut masks = widths.map(|width| vec![false; width]);
    for action in actions {
        for (mask, class) in masks.iter_mut().zip(action.classes()) {
            if let Some(allowed) = mask.get_mut(class) {
                *allowed = true;
            }
        }
    }
    masks
}
