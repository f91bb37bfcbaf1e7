//! Which rows are for training, for validation, and for the test.

use std::collections::HashMap;

use amphora_error::Result;
use amphora_planner::contracts::{DatasetRow, Split};

/// Splits rows, which are in order, and says how many went to another part than their place alone would
/// have given them.
///
/// # Errors
///
/// An input cannot be written as JSON.
pub(super) fn split(rows: &mut [DatasetRow]) -> Result<u64> {
    let count = rows.len();
    let train = count / 10 * 8 + count % 10 * 8 / 10;
    let val = count / 10;
    let by_place = |place: usize| match place {
        place if place < train => Split::Train,
        place if place < train + val => Split::Val,
        _ => Split::Test,
    };
    let mut last: HashMap<String, usize> = HashMap::with_capacity(count);
    let mut groups = Vec::with_capacity(count);
    for (place, row) in rows.iter().enumerate() {
        let group = row.planner_input.input_hash()?;
        last.insert(group.clone(), place);
        groups.push(group);
    }
    let mut moved = 0;
    for (place, (row, group)) in rows.iter_mut().zip(&groups).enumerate() {
        row.split = by_place(last.get(group).copied().unwrap_or(place));
        moved += u64::from(row.split != by_place(place));
    }
    Ok(moved)
}
