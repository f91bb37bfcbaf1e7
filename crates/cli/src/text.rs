//! Aligned plain text.

use amphora::{TensorSpec, printable};

/// Rows as left-aligned columns, two spaces apart, each line indented by `indent` spaces.
///
/// Every cell is escaped: names come from inside files.
pub(crate) fn table(indent: usize, rows: &[Vec<String>]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|cell| printable(cell).into_owned())
                .collect()
        })
        .collect();
    let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
    // The last cell of a row may be as long as it likes.
    let width = |column: usize| {
        let lengths = cells
            .iter()
            .filter(|row| column + 1 < row.len())
            .filter_map(|row| row.get(column));
        lengths.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &cells {
        let mut line = " ".repeat(indent);
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A row of a [`table`].
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// One escaped line.
pub(crate) fn line(text: &str) -> String {
    format!("{}\n", printable(text))
}

/// Rows that describe inputs or outputs: what, name, element type and shape.
pub(crate) fn specs(what: &str, specs: &[TensorSpec]) -> Vec<Vec<String>> {
    let described = specs
        .iter()
        .map(|spec| row([what, &spec.name, &form(spec)]));
    described.collect()
}

/// Element type and shape of an input or output.
pub(crate) fn form(spec: &TensorSpec) -> String {
    let shape = match &spec.shape {
        None => "any shape".to_owned(),
        Some(dims) => {
            let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
            format!("[{}]", dims.join(", "))
        }
    };
    format!("{} {shape}", spec.dtype)
}

/// A count and what is counted, in the singular or the plural.
pub(crate) fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// A size in bytes, as people read it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_are_escaped() {
        let rows = [row(["a", "1"]), row(["long\u{1b}[0m", "2"])];
        assert_eq!(table(2, &rows), "  a              1\n  long\\u{1b}[0m  2\n");
    }

    #[test]
    fn sizes_keep_one_decimal() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(8_420_150), "8.4 MB");
    }
}
