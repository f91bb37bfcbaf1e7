//! Which archived runs one decision started.

use std::collections::BTreeMap;

use super::DecisionKey;
use super::archives::ArchivedRun;

/// A run whose decision is not known yet.
pub(super) struct Undecided {
    pub(super) run: ArchivedRun,
    /// Whether it was one of several candidates.
    pub(super) speculative: bool,
}

/// Gives every run that names an issue its decision.
///
/// A stored input says when the decision was made. Without one, candidates of one issue that overlap
/// in time are siblings, for an issue that is being worked on is not dispatched again; their decision
/// was made when the first of them started. A run that is no candidate was decided alone.
pub(super) fn assign(mut runs: Vec<Undecided>) -> Vec<ArchivedRun> {
    let mut by_issue: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, Undecided { run, .. }) in runs.iter_mut().enumerate() {
        let Some(issue_id) = run.summary.issue_id.clone() else {
            continue;
        };
        match run
            .planner
            .input
            .as_ref()
            .and_then(|input| input.created_ms().ok())
        {
            Some(started_ms) => {
                run.decision = Some(DecisionKey {
                    issue_id,
                    started_ms,
                })
            }
            None => by_issue.entry(issue_id).or_default().push(at),
        }
    }
    for (issue_id, mut places) in by_issue {
        places.sort_by_key(|at| runs[*at].run.summary.started_ms);
        // Start and latest end of the candidates under way.
        let mut candidates: Option<(u64, u64)> = None;
        for at in places {
            let Undecided { run, speculative } = &mut runs[at];
            let (start, end) = (run.summary.started_ms, run.summary.ended_ms());
            let started_ms = match candidates {
                _ if !*speculative => start,
                Some((first, latest)) if start <= latest => {
                    candidates = Some((first, latest.max(end)));
                    first
                }
                _ => {
                    candidates = Some((start, end));
                    start
                }
            };
            run.decision = Some(DecisionKey {
                issue_id: issue_id.clone(),
                started_ms,
            });
        }
    }
    runs.into_iter().map(|undecided| undecided.run).collect()
}
