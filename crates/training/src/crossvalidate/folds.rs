//! Dealing tasks into folds.

use std::collections::BTreeSet;

use amphora_error::{Error, Result};
use amphora_files::sha256;

/// One fold: disjoint sets of tasks that together are all tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Tasks to fit on.
    pub train: BTreeSet<String>,
    /// Tasks for early stopping, temperatures and the abstention threshold.
    pub validation: BTreeSet<String>,
    /// Tasks held out.
    pub test: BTreeSet<String>,
}

/// `count` folds over `tasks`: tasks ordered by SHA-256 of `"<seed>:<task>"`, dealt round-robin into
/// `count` hands; fold `f` tests on hand `f` and validates on hand `f + 1`.
pub fn grouped_folds(tasks: &BTreeSet<String>, count: usize, seed: u64) -> Result<Vec<Fold>> {
    if count < 3 || tasks.len() < count {
        return Err(Error::usage(
            "fold-count",
            "cross-validation needs at least three folds, and a task for each",
        )
        .found(format!("{count} folds, {} tasks", tasks.len()))
        .hint("lower --folds, or collect runs of more tasks"));
    }
    let mut order: Vec<&String> = tasks.iter().collect();
    order.sort_by_cached_key(|task| sha256(format!("{seed}:{task}").as_bytes()).to_string());
    let hand = |number: usize| -> BTreeSet<String> {
        order
            .iter()
            .skip(number % count)
            .step_by(count)
            .map(|task| (*task).clone())
            .collect()
    };
    Ok((0..count)
        .map(|fold| {
            let (test, validation) = (hand(fold), hand(fold + 1));
            let train = tasks
                .iter()
                .filter(|task| !test.contains(*task) && !validation.contains(*task))
                .cloned()
                .collect();
            Fold {
                train,
                validation,
                test,
            }
        })
        .collect())
}
