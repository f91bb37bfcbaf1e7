//! Which trials form one decision.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amphora_error::{Error, Result, quoted};
use amphora_planner::action_space::NamedAction;
use amphora_planner::replay::{Plan, Run, Trials};

/// Recorded trials as the runs of one decision.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) issue_id: String,
    /// The earliest start of its runs; a later millisecond where an earlier decision of the same issue
    /// began in that one.
    pub(crate) started_ms: u64,
    pub(crate) action: NamedAction,
    pub(crate) runs: Vec<Run>,
}

/// Decisions in the order (start, issue), and how many trials are in none.
pub(crate) struct Formed {
    pub(crate) decisions: Vec<Decision>,
    pub(crate) left_over: usize,
}

/// Forms decisions: for each issue, `choose` (given the issue and how many decisions it has so far)
/// names an action; its runs are the earliest unused trials, going round the toolchains in their order;
/// until too few are left for the action.
pub(crate) fn form(
    trials: &Trials,
    toolchains: &[String],
    choose: &dyn Fn(&str, usize) -> Result<NamedAction>,
) -> Result<Formed> {
    let mut pools: BTreeMap<&str, Vec<VecDeque<usize>>> = BTreeMap::new();
    let mut left_over = 0;
    for (index, trial) in trials.as_slice().iter().enumerate() {
        let Some(rank) = toolchains.iter().position(|name| *name == trial.toolchain) else {
            left_over += 1;
            continue;
        };
        pools
            .entry(&trial.issue_id)
            .or_insert_with(|| vec![VecDeque::new(); toolchains.len()])[rank]
            .push_back(index);
    }
    let mut decisions = Vec::new();
    for (issue, mut pools) in pools {
        let mut starts = BTreeSet::new();
        loop {
            let left: usize = pools.iter().map(VecDeque::len).sum();
            if left == 0 {
                break;
            }
            let action = choose(issue, starts.len())?;
            let Some(plan) = Plan::of(&action) else {
                return Err(Error::usage(
                    "import-action",
                    "the policy chose an action that recorded trials cannot stand for",
                )
                .expected("serial_handoff or speculate_vote without iterations")
                .found(quoted(&action.swarm_id).to_string()));
            };
            if left < plan.runs {
                left_over += left;
                break;
            }
            let runs: Vec<Run> = take(&mut pools, plan.runs)
                .into_iter()
                .filter_map(|index| Run::cut(trials, index, plan.cap_ms))
                .collect();
            let start = |run: &Run| trials.as_slice()[run.trial].started_ms;
            let mut started_ms = runs.iter().map(start).min().unwrap_or(0);
            while !starts.insert(started_ms) {
                started_ms += 1;
            }
            decisions.push(Decision {
                issue_id: issue.to_owned(),
                started_ms,
                action,
                runs,
            });
        }
    }
    decisions.sort_by(|a, b| (a.started_ms, &a.issue_id).cmp(&(b.started_ms, &b.issue_id)));
    Ok(Formed {
        decisions,
        left_over,
    })
}

/// The first `count` unused trials, one of each toolchain in turn.
fn take(pools: &mut [VecDeque<usize>], count: usize) -> Vec<usize> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        let before = taken.len();
        for pool in &mut *pools {
            if taken.len() < count {
                taken.extend(pool.pop_front());
            }
        }
        if taken.len() == before {
            break;
        }
    }
    taken
}
