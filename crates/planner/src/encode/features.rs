//! The feature vector: 0 or 1 in every place, and nearly everywhere 0.

mod schema;
mod writer;

use std::cmp::Reverse;

use super::MAX_TAGS;
use super::bins::{self, COUNTS, TOOLCHAINS};
use super::hash::feature_bucket;
use crate::action_space::{ActionSpace, Head};
use crate::contracts::{Domain, Gate, IssueFields, PlannerInput, RunSummary, SystemState};
use writer::Writer;

pub(super) use schema::TAG_BUCKETS;
use schema::{BUDGETS, CODES, GATES, HINTS, JOB_TYPES, KNOWN_GATES, OTHER_GATES, TAGS};
pub use schema::{FeatureSchema, Field, FieldKind};

/// Tags that count, the first ones by name.
const FIRST_TAGS: usize = 8;
/// Fail codes of a run that count, the first ones.
const FIRST_CODES: usize = 5;

/// A vector of which only the places that are not 0 are kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SparseVector {
    /// The places, ascending.
    pub indices: Vec<u32>,
    /// What is at each of them.
    pub values: Vec<f32>,
}

impl SparseVector {
    /// All `width` places.
    pub fn to_dense(&self, width: usize) -> Vec<f32> {
        let mut dense = vec![0.0; width];
        for (index, value) in self.indices.iter().zip(&self.values) {
            if let Some(place) = dense.get_mut(*index as usize) {
                *place = *value;
            }
        }
        dense
    }
}

impl FeatureSchema {
    /// The vector of `input`.
    ///
    /// A word outside its set leaves its field 0. A number between bins counts as the nearest one.
    /// History beyond the slots is dropped, the oldest first; a slot without a run is all 0.
    pub fn encode(&self, input: &PlannerInput) -> SparseVector {
        let mut writer = Writer::new(self.fields());
        issue(&mut writer, &input.issue);
        let now_ms = input.created_ms().ok();
        let mut runs: Vec<&RunSummary> = input.history.last_n_similar_runs.iter().collect();
        runs.sort_by_key(|run| (Reverse(run.started_ms), run.run_id.as_str()));
        for slot in 0..self.history_slots() {
            match runs.get(slot) {
                Some(run) => self.run(&mut writer, run, now_ms),
                None => writer.skip(self.fields_in_slot()),
            }
        }
        for head in Head::ALL {
            writer.many(0..input.action_space.width(head) as u32);
        }
        let defaults = &input.universe_defaults;
        let swarms = self.action_space();
        writer.one_or_null(defaults.swarm_id.as_deref(), |name| {
            swarms.swarm_class(name)
        });
        writer.one_or_null(defaults.objective_id.as_deref(), |name| Some(hint(name)));
        system_state(&mut writer, input.system_state.as_ref());
        writer.finish()
    }

    fn run(&self, writer: &mut Writer, run: &RunSummary, now_ms: Option<u64>) {
        let space: &ActionSpace = self.action_space();
        let action = &run.action_executed;
        writer.one(JOB_TYPES.iter().position(|name| *name == run.job_type));
        writer.one(Some(match run.domain {
            Domain::Code => 0,
            Domain::FabWorld => 1,
            Domain::FabAsset => 2,
        }));
        writer.one_or_null(action.swarm_id.as_deref(), |name| space.swarm_class(name));
        let limits = [
            action.max_candidates,
            action.max_minutes,
            action.max_iterations,
        ];
        for (head, limit) in Head::BUDGETS.into_iter().zip(limits) {
            writer.one(Some(space.nearest(head, limit)));
        }
        writer.one(Some(run.outcome.status as usize));
        let codes = run.outcome.fail_codes.iter().take(FIRST_CODES);
        writer.many(codes.map(|code| feature_bucket(code, CODES)));
        writer.many(gates(&run.outcome.gates));
        writer.one(Some(bins::duration_feature(run.runtime.duration_ms)));
        writer.one_or_null(run.cost_usd_est, |cost| Some(bins::cost(cost)));
        writer.one(now_ms.map(|now| bins::recency(now.saturating_sub(run.started_ms))));
        writer.one(Some(0));
    }
}

fn issue(writer: &mut Writer, issue: &IssueFields) {
    writer.one(Some(issue.dk_priority as usize));
    writer.one(Some(issue.dk_risk as usize));
    writer.one(Some(issue.dk_size as usize));
    writer.one(Some(bins::attempts(issue.dk_attempts)));
    writer.one_or_null(issue.dk_tool_hint.as_deref(), |name| Some(hint(name)));
    let kept = issue.tags.iter().take(MAX_TAGS);
    let mut tags: Vec<&str> = kept.map(String::as_str).collect();
    tags.sort_unstable();
    tags.dedup();
    writer.many(
        tags.into_iter()
            .take(FIRST_TAGS)
            .map(|tag| feature_bucket(tag, TAGS)),
    );
}

/// An orchestrator's state that is not known is all 0; one that is known says so in its last place.
fn system_state(writer: &mut Writer, state: Option<&SystemState>) {
    let Some(state) = state else {
        return writer.skip(6);
    };
    let of = |words: &'static [&str]| move |word: &str| words.iter().position(|own| *own == word);
    writer.one_or_null(state.active_workcells_bin.as_deref(), of(&COUNTS));
    match state.queue_depth {
        Some(waiting) => writer.one(Some(bins::queue_count(waiting))),
        None => writer.one_or_null(state.queue_depth_bin.as_deref(), bins::queue_bin),
    }
    writer.one_or_null(state.hour_bucket.as_deref(), bins::part_of_day);
    writer.one_or_null(state.budget_remaining_bin.as_deref(), of(&BUDGETS));
    let available = state.available_toolchains.iter().flatten();
    writer.many(available.filter_map(|name| {
        TOOLCHAINS
            .iter()
            .position(|own| own == name)
            .map(|place| place as u32)
    }));
    writer.one(Some(0));
}

fn hint(name: &str) -> usize {
    feature_bucket(name, HINTS) as usize
}

/// The places of the gates that ran and of those that passed. Where two gates share a pair, it passed
/// if all of them did.
fn gates(gates: &[Gate]) -> impl Iterator<Item = u32> {
    let mut pairs = [(false, true); GATES];
    for gate in gates {
        let known = KNOWN_GATES.iter().position(|name| *name == gate.name);
        let place = known.unwrap_or_else(|| {
            KNOWN_GATES.len() + feature_bucket(&gate.name, OTHER_GATES) as usize
        });
        let (present, passed) = &mut pairs[place];
        *present = true;
        *passed &= gate.passed;
    }
    (0_u32..)
        .step_by(2)
        .zip(pairs)
        .flat_map(|(place, (present, passed))| {
            let ran = present.then_some(place);
            ran.into_iter()
                .chain((present && passed).then_some(place + 1))
        })
}
