//! Dealing tasks into folds, and decisions by time.

use std::collections::{BTreeSet, HashMap};

use amphora_error::{Error, Result};
use amphora_files::sha256;
use amphora_planner::contracts::DatasetRow;

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
        .hint(match count < 3 {
            true => "take at least three folds",
            false => "take fewer folds, or collect runs of more tasks",
        }));
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

/// Rows, which are in the order of time, in three parts that end after these shares of all rows.
///
/// Decisions of one issue with equal inputs, whatever their date, go where the last of them is, as in
/// the split of a dataset: nobody shall be judged on an input that was learned.
///
/// # Errors
///
/// An input cannot be written as JSON.
pub fn parts_by_time<'a>(
    rows: &[&'a DatasetRow],
    [trained, validated]: [f64; 2],
) -> Result<[Vec<&'a DatasetRow>; 3]> {
    let end = |share: f64| (share * rows.len() as f64) as usize;
    let hashes = rows.iter().map(|row| row.planner_input.input_hash());
    let hashes = hashes.collect::<Result<Vec<_>>>()?;
    let last: HashMap<&String, usize> = hashes
        .iter()
        .enumerate()
        .map(|(place, hash)| (hash, place))
        .collect();
    let mut parts = [const { Vec::new() }; 3];
    for (row, hash) in rows.iter().zip(&hashes) {
        let place = last.get(hash).copied().unwrap_or(0);
        let part = usize::from(place >= end(trained)) + usize::from(place >= end(validated));
        parts[part].push(*row);
    }
    Ok(parts)
}
