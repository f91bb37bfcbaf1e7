//! Which archived runs one decision started, and from when on their outcomes are known.

use std::collections::{BTreeMap, VecDeque};

use super::DecisionKey;
use super::archives::ArchivedRun;
use crate::contracts::RunStatus;

/// A run whose decision is not known yet.
pub(super) struct Undecided {
    pub(super) run: ArchivedRun,
    /// Whether it was one of several candidates.
    pub(super) speculative: bool,
}

/// The candidates of one decision, under way from the first moment to the last.
struct Group {
    decided_ms: u64,
    first_ms: u64,
    last_ms: u64,
}

impl Group {
    /// The candidates of the decision made at `decided_ms`, of which `run` is one.
    fn new(decided_ms: u64, run: &ArchivedRun) -> Self {
        Self {
            decided_ms,
            first_ms: decided_ms.min(run.summary.started_ms),
            last_ms: run.ended_ms,
        }
    }

    /// Makes `run` one of the candidates.
    fn add(&mut self, run: &ArchivedRun) {
        self.first_ms = self.first_ms.min(run.summary.started_ms);
        self.last_ms = self.last_ms.max(run.ended_ms);
    }

    fn overlaps(&self, run: &ArchivedRun) -> bool {
        self.first_ms <= run.ended_ms && run.summary.started_ms <= self.last_ms
    }
}

/// Gives every run that names an issue its decision.
///
/// A stored input says when the decision was made. Candidates of one issue that overlap in time are
/// siblings, for an issue that is being worked on is not dispatched again: one without a readable
/// input joins those that it overlaps, and where none of them has one, their decision was made when the
/// first of them started. A run that is no candidate and has no input was decided alone.
pub(super) fn assign(mut runs: Vec<Undecided>) -> Vec<ArchivedRun> {
    let mut groups: BTreeMap<String, BTreeMap<u64, Group>> = BTreeMap::new();
    let mut left: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, Undecided { run, .. }) in runs.iter_mut().enumerate() {
        let Some(issue_id) = run.summary.issue_id.clone() else {
            continue;
        };
        let input = run.planner.input.as_ref();
        let Some(decided_ms) = input.and_then(|input| input.created_ms().ok()) else {
            left.entry(issue_id).or_default().push(at);
            continue;
        };
        groups
            .entry(issue_id.clone())
            .or_default()
            .entry(decided_ms)
            .or_insert_with(|| Group::new(decided_ms, run))
            .add(run);
        run.decision = Some(DecisionKey {
            issue_id,
            started_ms: decided_ms,
        });
    }
    for (issue_id, mut places) in left {
        places.sort_by_key(|at| runs[*at].run.summary.started_ms);
        let decided = groups.remove(&issue_id).unwrap_or_default();
        let mut decided: Vec<Group> = decided.into_values().collect();
        decided.sort_by_key(|group| group.first_ms);
        let mut decided = VecDeque::from(decided);
        let mut candidates: Option<Group> = None;
        for at in places {
            let Undecided { run, speculative } = &mut runs[at];
            let mut decided_ms = run.summary.started_ms;
            if *speculative {
                // Later runs start later: what this one does not reach is over for them too.
                while decided
                    .front()
                    .is_some_and(|group| group.last_ms < decided_ms)
                {
                    decided.pop_front();
                }
                let started = decided.front_mut().filter(|group| group.overlaps(run));
                let group = match started {
                    Some(group) => group,
                    None => {
                        candidates = candidates.filter(|group| group.overlaps(run));
                        candidates.get_or_insert_with(|| Group::new(decided_ms, run))
                    }
                };
                group.add(run);
                decided_ms = group.decided_ms;
            }
            run.decision = Some(DecisionKey {
                issue_id: issue_id.clone(),
                started_ms: decided_ms,
            });
        }
    }
    let mut runs: Vec<_> = runs.into_iter().map(|undecided| undecided.run).collect();
    learn(&mut runs);
    runs
}

/// Says from when on each run is known: once it has ended, and its decision too. A decision ends when the
/// first of its runs passes, else with the last.
fn learn(runs: &mut [ArchivedRun]) {
    let mut ends: BTreeMap<DecisionKey, (Option<u64>, u64)> = BTreeMap::new();
    for run in &*runs {
        if let Some(key) = &run.decision {
            let (passed, last) = ends.entry(key.clone()).or_default();
            *last = (*last).max(run.ended_ms);
            if run.summary.outcome.status == RunStatus::Success {
                *passed = Some(passed.map_or(run.ended_ms, |ms| ms.min(run.ended_ms)));
            }
        }
    }
    for run in runs {
        let end = run.decision.as_ref().and_then(|key| ends.get(key));
        if let Some((passed, last)) = end {
            run.known_ms = run.ended_ms.max(passed.unwrap_or(*last));
        }
    }
}
