//! What an action must keep.

use std::fmt::Display;

use amphora_error::quoted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ActionSpace, Head, NamedAction, SERIAL};
use crate::contracts::Bin;

/// If every condition of `if` holds, every demand of `then` and `then_in` must; a closed object.
///
/// A rule without demands is a remark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidityRule {
    /// The rule in words.
    pub description: String,
    /// When it applies; always, if absent.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// What each field must be.
    #[serde(default, rename = "then", skip_serializing_if = "Option::is_none")]
    pub demand: Option<Demand>,
    /// What each field must be one of.
    #[serde(default, rename = "then_in", skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Allowed>,
}

/// What fields are; a field that is absent may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_type: Option<String>,
    /// The action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm_id: Option<String>,
    /// Its candidates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_candidates_bin: Option<Bin>,
    /// Its minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_minutes_bin: Option<Bin>,
    /// Its iterations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_iterations_bin: Option<Bin>,
}

/// What each field of an action must be; a field that is absent may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    /// The swarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm_id: Option<String>,
    /// The candidates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_candidates_bin: Option<Bin>,
    /// The minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_minutes_bin: Option<Bin>,
    /// The iterations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_iterations_bin: Option<Bin>,
}

/// What each field of an action must be one of; a field that is absent may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// The swarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm_id: Option<Vec<String>>,
    /// The candidates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_candidates_bin: Option<Vec<Bin>>,
    /// The minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_minutes_bin: Option<Vec<Bin>>,
    /// The iterations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_iterations_bin: Option<Vec<Bin>>,
}

impl ValidityRule {
    /// Whether the rule demands anything.
    pub fn demands(&self) -> bool {
        self.demand
            .as_ref()
            .is_some_and(|d| *d != Demand::default())
            || self
                .allowed
                .as_ref()
                .is_some_and(|a| *a != Allowed::default())
    }

    /// Whether `action` keeps the rule in a job of `job_type`.
    pub fn allows(&self, action: &NamedAction, job_type: &str) -> bool {
        let applies = self
            .condition
            .as_ref()
            .is_none_or(|condition| condition.holds(action, job_type));
        !applies
            || (self
                .demand
                .as_ref()
                .is_none_or(|demand| demand.is_met(action))
                && self
                    .allowed
                    .as_ref()
                    .is_none_or(|allowed| allowed.is_met(action)))
    }
}

impl Condition {
    fn holds(&self, action: &NamedAction, job_type: &str) -> bool {
        is(self.job_type.as_deref(), job_type)
            && is(self.swarm_id.as_deref(), &action.swarm_id)
            && is(self.max_candidates_bin, action.max_candidates_bin)
            && is(self.max_minutes_bin, action.max_minutes_bin)
            && is(self.max_iterations_bin, action.max_iterations_bin)
    }
}

impl Demand {
    fn is_met(&self, action: &NamedAction) -> bool {
        is(self.swarm_id.as_deref(), &action.swarm_id)
            && is(self.max_candidates_bin, action.max_candidates_bin)
            && is(self.max_minutes_bin, action.max_minutes_bin)
            && is(self.max_iterations_bin, action.max_iterations_bin)
    }
}

impl Allowed {
    fn is_met(&self, action: &NamedAction) -> bool {
        among(self.swarm_id.as_deref(), &action.swarm_id)
            && among(
                self.max_candidates_bin.as_deref(),
                &action.max_candidates_bin,
            )
            && among(self.max_minutes_bin.as_deref(), &action.max_minutes_bin)
            && among(
                self.max_iterations_bin.as_deref(),
                &action.max_iterations_bin,
            )
    }
}

/// What one part of a rule names.
struct Named<'a> {
    part: &'static str,
    swarms: Vec<&'a str>,
    /// For each head that is a limit.
    bins: [&'a [Bin]; 3],
}

impl ValidityRule {
    fn named(&self) -> Vec<Named<'_>> {
        let condition = self.condition.as_ref().map(|part| Named {
            part: "if",
            swarms: part.swarm_id.as_deref().into_iter().collect(),
            bins: [
                part.max_candidates_bin.as_slice(),
                part.max_minutes_bin.as_slice(),
                part.max_iterations_bin.as_slice(),
            ],
        });
        let demand = self.demand.as_ref().map(|part| Named {
            part: "then",
            swarms: part.swarm_id.as_deref().into_iter().collect(),
            bins: [
                part.max_candidates_bin.as_slice(),
                part.max_minutes_bin.as_slice(),
                part.max_iterations_bin.as_slice(),
            ],
        });
        let allowed = self.allowed.as_ref().map(|part| Named {
            part: "then_in",
            swarms: part.swarm_id.iter().flatten().map(String::as_str).collect(),
            bins: [
                part.max_candidates_bin.as_deref().unwrap_or_default(),
                part.max_minutes_bin.as_deref().unwrap_or_default(),
                part.max_iterations_bin.as_deref().unwrap_or_default(),
            ],
        });
        [condition, demand, allowed].into_iter().flatten().collect()
    }
}

impl ActionSpace {
    /// What the rules name that is in no list, with the place of each; see [`Self::check_rules`].
    pub(super) fn strangers(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (place, rule) in self.validity_rules.iter().enumerate() {
            for Named { part, swarms, bins } in rule.named() {
                let mut add = |name: &dyn Display, head: Head| {
                    let list = head.list_name();
                    found.push(format!(
                        "validity_rules[{place}].{part} names {name}, which is not in {list}"
                    ));
                };
                for swarm in swarms {
                    if self.swarm_class(swarm).is_none() {
                        add(&quoted(swarm), Head::Swarm);
                    }
                }
                for (head, bins) in Head::BUDGETS.into_iter().zip(bins) {
                    for bin in bins.iter().filter(|bin| !self.bins(head).contains(bin)) {
                        add(bin, head);
                    }
                }
            }
        }
        found
    }
}

fn is<T: PartialEq>(wanted: Option<T>, found: T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

fn among<T: PartialEq>(wanted: Option<&[T]>, found: &T) -> bool {
    wanted.is_none_or(|wanted| wanted.contains(found))
}

/// The three rules of the documents, for a list with these numbers of candidates.
pub(super) fn of_the_documents(candidates: &[Bin]) -> Vec<ValidityRule> {
    let job = |job_type: &str| {
        Some(Condition {
            job_type: Some(job_type.to_owned()),
            ..Condition::default()
        })
    };
    vec![
        ValidityRule {
            description: "A serial handoff runs one candidate.".to_owned(),
            condition: Some(Condition {
                swarm_id: Some(SERIAL.to_owned()),
                ..Condition::default()
            }),
            demand: Some(Demand {
                max_candidates_bin: Some(Bin::Count(1)),
                ..Demand::default()
            }),
            allowed: None,
        },
        ValidityRule {
            description: "A code job has no iterations.".to_owned(),
            condition: job("code"),
            demand: Some(Demand {
                max_iterations_bin: Some(Bin::NotApplicable),
                ..Demand::default()
            }),
            allowed: None,
        },
        ValidityRule {
            description: "A world needs a population.".to_owned(),
            condition: job("fab-world"),
            demand: None,
            allowed: Some(Allowed {
                max_candidates_bin: Some(candidates.to_vec()),
                ..Allowed::default()
            }),
        },
    ]
}
