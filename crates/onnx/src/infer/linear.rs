//! Products of matrices.

use std::collections::HashMap;

use super::call::{Call, Outcome, shaped, unknown};
use super::value::{Fault, Size, broadcast, show};

/// `MatMul` and its relatives: the operands are at these positions.
pub(super) fn matmul(call: &Call<'_>, left: usize, right: usize) -> Outcome {
    let (Some(a), Some(b)) = (call.shape(left), call.shape(right)) else {
        return unknown();
    };
    product(a, b).and_then(shaped)
}

fn product(a: &[Size], b: &[Size]) -> Result<Vec<Size>, Fault> {
    let scalar = || "a scalar is no matrix".to_owned();
    let differ = || format!("{} and {} cannot be multiplied", show(a), show(b));
    let (a_columns, a_rest) = a.split_last().ok_or_else(scalar)?;
    let (b_rows, b_columns, b_batch) = match b {
        [] => return Err(scalar()),
        [rows] => (rows, None, &b[..0]),
        [batch @ .., rows, columns] => (rows, Some(columns), batch),
    };
    a_columns.unify(b_rows).ok_or_else(differ)?;
    let (a_rows, a_batch) = match a_rest.split_last() {
        Some((rows, batch)) => (Some(rows), batch),
        None => (None, a_rest),
    };
    let mut shape = broadcast(a_batch, b_batch)?;
    shape.extend(a_rows.cloned());
    shape.extend(b_columns.cloned());
    Ok(shape)
}

pub(super) fn gemm(call: &Call<'_>) -> Outcome {
    let matrix = |index: usize, transposed: &str| -> Result<Option<(Size, Size)>, Fault> {
        match call.shape(index) {
            Some([rows, columns]) if call.int(transposed).unwrap_or(0) != 0 => {
                Ok(Some((columns.clone(), rows.clone())))
            }
            Some([rows, columns]) => Ok(Some((rows.clone(), columns.clone()))),
            Some(shape) => Err(format!("{} is no matrix", show(shape))),
            None => Ok(None),
        }
    };
    let (a, b) = (matrix(0, "transA")?, matrix(1, "transB")?);
    if let (Some((_, columns)), Some((rows, _))) = (&a, &b)
        && columns.unify(rows).is_none()
    {
        return Err(format!("the inner dimensions differ: {columns} and {rows}"));
    }
    let rows = a.map_or(Size::Unknown, |matrix| matrix.0);
    let columns = b.map_or(Size::Unknown, |matrix| matrix.1);
    shaped(vec![rows, columns])
}

/// `Einsum` whose equation has no ellipsis.
pub(super) fn einsum(call: &Call<'_>) -> Outcome {
    let Some(equation) = call
        .text("equation")
        .and_then(|text| std::str::from_utf8(text).ok())
    else {
        return unknown();
    };
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    if equation.contains('.') || equation.len() > super::MOST_ELEMENTS {
        return unknown();
    }
    let (operands, result) = match equation.split_once("->") {
        Some((operands, result)) => (operands, Some(result)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = operands.split(',').collect();
    if terms.len() != call.inputs.len() {
        return Err(format!("the equation has {} operands", terms.len()));
    }
    let mut sizes: HashMap<char, Size> = HashMap::new();
    for (index, term) in terms.iter().enumerate() {
        let Some(shape) = call.shape(index) else {
            continue;
        };
        if term.chars().count() != shape.len() {
            return Err(format!("operand {index} of the equation has another rank"));
        }
        for (label, size) in term.chars().zip(shape) {
            let known = sizes.entry(label).or_insert(Size::Unknown);
            *known = match (&*known, size) {
                // An operand of size one is broadcast.
                (Size::Fixed(1), size) => size.clone(),
                (known, Size::Fixed(1)) => known.clone(),
                (known, size) => known
                    .unify(size)
                    .ok_or_else(|| format!("'{label}' is both {known} and {size}"))?,
            };
        }
    }
    let labels: Vec<char> = match result {
        Some(result) => result.chars().collect(),
        None => {
            let mut once: Vec<char> = operands.chars().filter(|c| *c != ',').collect();
            once.retain(|label| operands.matches(*label).count() == 1);
            once.sort_unstable();
            once
        }
    };
    let size = |label: char| sizes.get(&label).cloned().unwrap_or(Size::Unknown);
    shaped(labels.into_iter().map(size).collect())
}
