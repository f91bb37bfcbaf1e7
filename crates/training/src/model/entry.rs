//! The sparse entry of every model: rows of a table, gathered and summed.
//!
//! A feature model sums the rows of its first layer that the nonzero features name, each times the
//! feature's value; a token model takes one row of its embedding per position. Forward and gradient
//! touch no other row.

use amphora_error::{Error, Result};
use rayon::prelude::*;

use super::op::vectorized;
use super::real::Real;

/// What one example shows to a model.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// The nonzero features: indices and as many values.
    Features {
        /// Positions in the feature vector.
        indices: Vec<u32>,
        /// Their values.
        values: Vec<f32>,
    },
    /// Token ids without padding.
    Tokens(Vec<u32>),
}

impl Entry {
    /// The number of positions in time: tokens, or 1 for features.
    pub(crate) fn time(&self) -> usize {
        match self {
            Self::Features { .. } => 1,
            Self::Tokens(ids) => ids.len(),
        }
    }

    /// Refuses an entry that a table of `rows` rows and `positions` positions in time cannot read.
    pub(crate) fn check(&self, rows: usize, positions: Option<usize>) -> Result<()> {
        let invalid = |message: &str| Err(Error::incompatible("training-entry", message));
        let indices = match (self, positions) {
            (Self::Features { indices, values }, None) => {
                if indices.len() != values.len() {
                    return invalid("an example has other numbers of indices and of values");
                }
                if !values.iter().all(|value| value.is_finite()) {
                    return invalid("an example has a feature that is no finite number");
                }
                indices
            }
            (Self::Tokens(ids), Some(positions)) => {
                if ids.is_empty() || ids.len() > positions {
                    return invalid(
                        "an example has no tokens, or more than the model has positions",
                    );
                }
                ids
            }
            _ => return invalid("the examples are of another kind than the model reads"),
        };
        match indices.iter().find(|index| **index as usize >= rows) {
            Some(index) => Err(Error::incompatible(
                "training-entry",
                "an example names a feature or token that the model does not have",
            )
            .expected(format!("below {rows}"))
            .found(index.to_string())),
            None => Ok(()),
        }
    }
}

/// The entries of a batch: for every position in time the table rows to sum, as compressed rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gather {
    /// Where each position's terms start; one more than positions.
    starts: Vec<usize>,
    rows: Vec<u32>,
    factors: Vec<f32>,
    /// Positions of every example, padding included.
    pub(crate) time: usize,
    /// Real positions of each example.
    pub(crate) lengths: Vec<usize>,
}

impl Gather {
    pub(crate) fn new<'a>(entries: impl Iterator<Item = &'a Entry> + Clone) -> Self {
        let time = entries.clone().map(Entry::time).max().unwrap_or(0);
        let mut gather = Self {
            time,
            starts: vec![0],
            ..Self::default()
        };
        for entry in entries {
            gather.lengths.push(entry.time());
            match entry {
                Entry::Features { indices, values } => {
                    gather.rows.extend(indices);
                    gather.factors.extend(values);
                    gather.starts.push(gather.rows.len());
                }
                Entry::Tokens(ids) => {
                    for id in ids {
                        gather.rows.push(*id);
                        gather.starts.push(gather.rows.len());
                    }
                    gather.factors.resize(gather.rows.len(), 1.0);
                    let end = gather.starts.len() + time - ids.len();
                    gather.starts.resize(end, gather.rows.len());
                }
            }
        }
        gather
    }

    pub(crate) fn examples(&self) -> usize {
        self.lengths.len()
    }

    /// The rows that the batch reads, ascending.
    pub(crate) fn distinct_rows(&self) -> Vec<u32> {
        let mut rows = self.rows.clone();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    fn terms(&self, position: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let range = self.starts[position]..self.starts[position + 1];
        let rows = &self.rows[range.clone()];
        rows.iter()
            .map(|row| *row as usize)
            .zip(self.factors[range].iter().copied())
    }

    /// `[examples * time, width]`: the sums of the named rows of `table`.
    pub(crate) fn forward<T: Real>(&self, table: &[T], width: usize) -> Vec<T> {
        let mut out = vec![T::default(); (self.starts.len() - 1) * width];
        out.par_chunks_mut(width.max(1))
            .with_min_len(16)
            .enumerate()
            .for_each(|(position, sum)| {
                vectorized(|| {
                    for (row, factor) in self.terms(position) {
                        axpy(sum, &table[row * width..][..width], factor);
                    }
                });
            });
        out
    }

    /// The gradient of the table for the gradient `grad` of [`Self::forward`]'s result: the touched
    /// rows in ascending order and, row-major, their gradients.
    pub(crate) fn backward<T: Real>(&self, grad: &[T], width: usize) -> (Vec<u32>, Vec<T>) {
        let mut terms: Vec<(u32, u32, f32)> = Vec::with_capacity(self.rows.len());
        for position in 0..self.starts.len() - 1 {
            let found = self.terms(position);
            terms.extend(found.map(|(row, factor)| (row as u32, position as u32, factor)));
        }
        // Stable: within a row the terms stay in the order of the batch, and so does their sum.
        terms.sort_by_key(|(row, ..)| *row);
        let groups: Vec<&[(u32, u32, f32)]> = terms.chunk_by(|a, b| a.0 == b.0).collect();
        let mut out = vec![T::default(); groups.len() * width];
        out.par_chunks_mut(width.max(1))
            .zip(&groups)
            .with_min_len(16)
            .for_each(|(sum, group)| {
                vectorized(|| {
                    for (_, position, factor) in *group {
                        axpy(sum, &grad[*position as usize * width..][..width], *factor);
                    }
                });
            });
        (groups.iter().map(|group| group[0].0).collect(), out)
    }
}

/// `sum += factor * row`.
#[inline(always)]
fn axpy<T: Real>(sum: &mut [T], row: &[T], factor: f32) {
    let factor = T::from_f64(f64::from(factor));
    for (sum, x) in sum.iter_mut().zip(row) {
        *sum += *x * factor;
    }
}
