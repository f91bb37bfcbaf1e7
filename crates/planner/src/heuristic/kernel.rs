//! What an orchestrator does today: when it speculates, with how many candidates, for how long.

use serde::{Deserialize, Deserializer, Serialize};

use crate::action_space::{SERIAL, SPECULATE};
use crate::contracts::{IssueFields, Risk, Size};
use crate::decide::{Baseline, Speculation};

pub use super::pattern::Pattern;

/// How an orchestrator is configured. The default is its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kernel {
    /// Whether it may run several candidates at all.
    pub speculation: bool,
    /// Whether it always does.
    pub force_speculate: bool,
    /// Whether a risky issue on the critical path gets several candidates.
    pub speculate_on_critical_path: bool,
    /// How many candidates run when nothing else says.
    pub default_parallelism: u32,
    /// How many candidates run at most.
    pub max_parallelism: u32,
    /// The toolchains' time limit in seconds.
    pub timeout_seconds: u32,
    /// Which issues go where; the first that matches counts.
    pub routing: Vec<RoutingRule>,
    /// How often recent runs of this domain changed anything, 0 to 1, if it is measured.
    pub action_rate: Option<f64>,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            speculation: true,
            force_speculate: false,
            speculate_on_critical_path: true,
            default_parallelism: 2,
            max_parallelism: 3,
            timeout_seconds: 1800,
            routing: Vec::new(),
            action_rate: None,
        }
    }
}

/// Where some issues go: those that meet every condition. A rule without conditions matches every
/// issue; a list of one may be written as its only value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoutingRule {
    /// The issue asks for one of these toolchains.
    #[serde(deserialize_with = "one_or_many")]
    pub dk_tool_hint: Vec<String>,
    /// Its risk is one of these.
    #[serde(deserialize_with = "one_or_many")]
    pub dk_risk: Vec<Risk>,
    /// Its size is one of these.
    #[serde(deserialize_with = "one_or_many")]
    pub dk_size: Vec<Size>,
    /// It has one of these tags.
    pub tags_any: Vec<String>,
    /// It has all of these tags.
    pub tags_all: Vec<String>,
    /// This is in its title.
    pub title_pattern: Option<Pattern>,
    /// This is in its description.
    pub description_pattern: Option<Pattern>,
    /// Whether such issues get several candidates.
    pub speculate: bool,
    /// How many.
    pub parallelism: Option<u32>,
}

/// A value, or a list of them.
fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }

    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(value) => vec![value],
        OneOrMany::Many(values) => values,
    })
}

impl RoutingRule {
    fn matches(&self, issue: &IssueFields) -> bool {
        let holds = |pattern: &Option<Pattern>, text: &Option<String>| {
            let text = text.as_deref();
            let found = |pattern: &Pattern| text.is_some_and(|text| pattern.is_in(text));
            pattern.as_ref().is_none_or(found)
        };
        let hint = issue.dk_tool_hint.as_ref();
        (self.dk_tool_hint.is_empty() || hint.is_some_and(|hint| self.dk_tool_hint.contains(hint)))
            && (self.dk_risk.is_empty() || self.dk_risk.contains(&issue.dk_risk))
            && (self.dk_size.is_empty() || self.dk_size.contains(&issue.dk_size))
            && (self.tags_any.is_empty()
                || self.tags_any.iter().any(|tag| issue.tags.contains(tag)))
            && self.tags_all.iter().all(|tag| issue.tags.contains(tag))
            && holds(&self.title_pattern, &issue.title)
            && holds(&self.description_pattern, &issue.description)
    }
}

/// Below this share of runs that changed anything, more candidates are tried.
const LOW_ACTION_RATE: f64 = 0.1;
/// Above this share, fewer are.
const HIGH_ACTION_RATE: f64 = 0.5;

impl Kernel {
    /// Whether `issue`, which asks for them itself when `wanted`, gets several candidates.
    pub fn speculates(&self, issue: &IssueFields, wanted: bool, on_critical_path: bool) -> bool {
        let risky = matches!(issue.dk_risk, Risk::High | Risk::Critical);
        self.speculation
            && (wanted
                || self.force_speculate
                || self
                    .routing
                    .iter()
                    .any(|rule| rule.speculate && rule.matches(issue))
                || (self.speculate_on_critical_path && on_critical_path && risky))
    }

    /// How many candidates run when `issue` gets several.
    pub fn parallelism(&self, issue: &IssueFields) -> u32 {
        let routed = self
            .routing
            .iter()
            .find(|rule| rule.speculate && rule.matches(issue))
            .and_then(|rule| rule.parallelism)
            .filter(|parallelism| *parallelism > 0);
        let base = self.default_parallelism;
        let chosen = match (routed, self.action_rate) {
            (Some(parallelism), _) => parallelism,
            (None, Some(rate)) if rate < LOW_ACTION_RATE => base.saturating_add(1),
            (None, Some(rate)) if rate > HIGH_ACTION_RATE => base.saturating_sub(1),
            _ => base,
        };
        chosen.min(self.max_parallelism).max(1)
    }

    /// What is done for `issue`, which asks for several candidates itself when `wanted`, where
    /// `free_slots` workcells are free and `toolchains` are available (`None`: unknown).
    pub fn baseline(
        &self,
        issue: &IssueFields,
        wanted: bool,
        on_critical_path: bool,
        free_slots: u32,
        toolchains: Option<u32>,
    ) -> Baseline {
        let available = toolchains.unwrap_or(u32::MAX).max(1);
        let parallelism = self.parallelism(issue).min(available);
        let (swarm_id, candidates) = match self.speculates(issue, wanted, on_critical_path) {
            true => (SPECULATE, parallelism),
            false => (SERIAL, 1),
        };
        Baseline {
            swarm_id: swarm_id.to_owned(),
            candidates,
            timeout_seconds: self.timeout_seconds,
            iterations: None,
            speculation: Speculation {
                enabled: self.speculation,
                required: self.speculation && (wanted || self.force_speculate),
                max_candidates: self.max_parallelism,
                free_slots,
                toolchains,
            },
        }
    }
}
