//! A comparison for people.

use amphora_error::printable;
use serde_json::Value;

use super::{Change, Comparison, Direction, MetricChange};

/// Most tensors of one kind that are named one by one.
const NAMED_TENSORS: usize = 50;

pub(super) fn render(comparison: &Comparison) -> String {
    let (one, two) = (&comparison.bundles.bundle1, &comparison.bundles.bundle2);
    let mut text = format!(
        "# {} {} and {} {}\n\n",
        one.name, one.hash, two.name, two.hash
    );
    text.push_str(match comparison.identical {
        true => "The bundles are identical: they have the same id.\n\n",
        false => "The bundles differ.\n\n",
    });
    table(
        &mut text,
        ["", "bundle 1", "bundle 2"],
        [
            [
                "name".to_owned(),
                cell(one.name.as_str()),
                cell(two.name.as_str()),
            ],
            [
                "version".to_owned(),
                cell(one.version.as_str()),
                cell(two.version.as_str()),
            ],
            ["id".to_owned(), one.id.to_string(), two.id.to_string()],
        ],
    );
    section(&mut text, "Metrics", comparison.metrics.is_empty());
    if !comparison.metrics.is_empty() {
        let rows = comparison
            .metrics
            .iter()
            .map(|(name, change)| metric(name, change));
        table(
            &mut text,
            ["metric", "bundle 1", "bundle 2", "change", ""],
            rows,
        );
    }
    changes(&mut text, "Configuration", &comparison.config);
    changes(&mut text, "Contract", &comparison.contract);
    formats(&mut text, comparison);
    weights(&mut text, comparison);
    files(&mut text, comparison);
    text
}

fn section(text: &mut String, title: &str, same: bool) {
    text.push_str(&format!("\n## {title}\n\n"));
    if same {
        text.push_str("No difference.\n");
    }
}

fn table<const N: usize>(
    text: &mut String,
    heads: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) {
    text.push_str(&format!(
        "| {} |\n|{}\n",
        heads.join(" | "),
        "---|".repeat(N)
    ));
    for row in rows {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
}

/// Text that cannot end its cell or start markup.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for c in printable(text).chars() {
        if matches!(c, '|' | '`' | '*' | '<' | '>' | '[' | ']' | '\\') {
            cell.push('\\');
        }
        cell.push(c);
    }
    cell
}

fn value(value: &Option<Value>) -> String {
    match value {
        None => "absent".to_owned(),
        Some(Value::String(text)) => cell(text),
        Some(value) => cell(&value.to_string()),
    }
}

fn metric(name: &str, change: &MetricChange) -> [String; 5] {
    let number = |number: Option<f64>| number.map_or("absent".to_owned(), |n| n.to_string());
    let verdict = match (change.improvement, change.delta) {
        (Some(true), _) => "better",
        (Some(false), Some(0.0)) => "equal",
        (Some(false), _) => "worse",
        (None, _) => "",
    };
    let better = match change.better {
        Direction::Higher => "",
        Direction::Lower => " (less is better)",
    };
    [
        format!("{}{better}", cell(name)),
        number(change.bundle1),
        number(change.bundle2),
        change.delta.map_or(String::new(), signed),
        verdict.to_owned(),
    ]
}

/// A difference with its sign, to six significant digits: more are noise of the subtraction.
fn signed(delta: f64) -> String {
    let rounded = format!("{delta:.5e}").parse().unwrap_or(delta);
    format!("{rounded:+}")
}

fn changes(text: &mut String, title: &str, changes: &std::collections::BTreeMap<String, Change>) {
    section(text, title, changes.is_empty());
    if changes.is_empty() {
        return;
    }
    let rows = changes
        .iter()
        .map(|(key, change)| [cell(key), value(&change.bundle1), value(&change.bundle2)]);
    table(text, ["key", "bundle 1", "bundle 2"], rows);
}

fn formats(text: &mut String, comparison: &Comparison) {
    let formats = &comparison.formats;
    section(text, "Formats", false);
    let list = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => cell(&names.join(", ")),
    };
    text.push_str(&format!(
        "- both: {}\n- only bundle 1: {}\n- only bundle 2: {}\n",
        list(&formats.common),
        list(&formats.bundle1_only),
        list(&formats.bundle2_only)
    ));
}

fn weights(text: &mut String, comparison: &Comparison) {
    let same = comparison
        .weights
        .values()
        .all(super::WeightChanges::is_empty);
    section(text, "Weights", same);
    for (graph, changes) in &comparison.weights {
        if changes.is_empty() {
            continue;
        }
        text.push_str(&format!(
            "Graph {}: {} unchanged\n\n",
            cell(graph),
            changes.unchanged
        ));
        list(text, "changed", &changes.changed);
        list(text, "only in bundle 2", &changes.added);
        list(text, "only in bundle 1", &changes.removed);
    }
}

fn files(text: &mut String, comparison: &Comparison) {
    let files = &comparison.files;
    let lists = [
        ("changed", &files.changed),
        ("only in bundle 1", &files.bundle1_only),
        ("only in bundle 2", &files.bundle2_only),
    ];
    section(text, "Files", lists.iter().all(|(_, list)| list.is_empty()));
    for (title, paths) in lists {
        list(text, title, paths);
    }
}

fn list(text: &mut String, title: &str, names: &[String]) {
    for name in names.iter().take(NAMED_TENSORS) {
        text.push_str(&format!("- {title}: {}\n", cell(name)));
    }
    if let Some(more) = names
        .len()
        .checked_sub(NAMED_TENSORS)
        .filter(|more| *more > 0)
    {
        text.push_str(&format!("- {title}: {more} more\n"));
    }
}

#[test]
fn differences_keep_six_significant_digits_and_their_sign() {
    let rows = [(1.1 - 1.0, "+0.1"), (-1234.5678, "-1234.57"), (0.0, "+0")];
    amphora_testing::each(&rows, |(delta, text)| match signed(*delta) {
        found if found == *text => Ok(()),
        found => Err(found),
    });
}
