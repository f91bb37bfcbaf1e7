//! What a finished dataset is checked for.

use std::collections::{BTreeMap, BTreeSet};

use amphora_planner::action_space::Head;
use amphora_planner::contracts::{DatasetRow, Split};

/// A difference of label distributions between training and test that is worth a word.
pub const NOTABLE_SHIFT: f64 = 0.25;

/// The part of labels that would have to change for the test to be distributed as the training: the
/// total variation distance, 0 to 1, for each head and for the whole action. Empty where either part is.
pub(super) fn label_shift(rows: &[DatasetRow]) -> BTreeMap<String, f64> {
    let part = |split| rows.iter().filter(move |row| row.split == split);
    if part(Split::Train).next().is_none() || part(Split::Test).next().is_none() {
        return BTreeMap::new();
    }
    let mut shifts = BTreeMap::new();
    for head in Head::ALL {
        let of = |row: &DatasetRow| class(row, head);
        shifts.insert(
            head.field_name().to_owned(),
            distance(part(Split::Train).map(of), part(Split::Test).map(of)),
        );
    }
    let of = |row: &DatasetRow| Head::ALL.map(|head| class(row, head)).join("/");
    shifts.insert(
        "action".to_owned(),
        distance(part(Split::Train).map(of), part(Split::Test).map(of)),
    );
    shifts
}

/// How many issues have rows in more than one part.
pub(super) fn issues_in_several_parts(rows: &[DatasetRow]) -> u64 {
    let mut parts: BTreeMap<&str, BTreeSet<Split>> = BTreeMap::new();
    for row in rows {
        let issue_id = row.planner_input.issue.issue_id.as_str();
        parts.entry(issue_id).or_default().insert(row.split);
    }
    parts.values().filter(|parts| parts.len() > 1).count() as u64
}

/// The label of a row at one head, as text.
pub(crate) fn class(row: &DatasetRow, head: Head) -> String {
    let label = &row.label_action;
    match head {
        Head::Swarm => label.swarm_id.clone(),
        Head::Candidates => label.budgets.max_candidates_bin.to_string(),
        Head::Minutes => label.budgets.max_minutes_bin.to_string(),
        Head::Iterations => label.budgets.max_iterations_bin.to_string(),
    }
}

fn distance(a: impl Iterator<Item = String>, b: impl Iterator<Item = String>) -> f64 {
    let mut counts: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    for label in a {
        counts.entry(label).or_default()[0] += 1;
    }
    for label in b {
        counts.entry(label).or_default()[1] += 1;
    }
    let total = |side: usize| f64::from(counts.values().map(|count| count[side]).sum::<u32>());
    let (a, b) = (total(0), total(1));
    let differences = counts
        .values()
        .map(|count| (f64::from(count[0]) / a - f64::from(count[1]) / b).abs());
    differences.sum::<f64>() / 2.0
}
