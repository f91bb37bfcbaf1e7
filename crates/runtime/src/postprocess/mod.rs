//! From an output of the graph to an answer, by the steps that a manifest lists.
//!
//! * [`postprocess`]: applies the steps to one output.
//! * [`Answered`]: what is left: a tensor, the names of classes, an embedding.
//! * [`sentence_transformers`]: the steps of a directory that `sentence-transformers` wrote.
//!
//! ```
//! use amphora_bundle::manifest::{Pooling, Postprocessing};
//! use amphora_runtime::Tensor;
//! use amphora_runtime::postprocess::{Context, postprocess};
//!
//! // Two tokens of width 2; the second is padding.
//! let hidden = Tensor::new([1, 2, 2], vec![3.0_f32, 4.0, 9.0, 9.0])?;
//! let mask = Tensor::new([1, 2], vec![1_i64, 0])?;
//! let context = Context { output: "last_hidden_state", mask: Some(&mask), labels: None };
//! let steps = [Postprocessing::Pooling { mode: Pooling::Mean }, Postprocessing::Normalize];
//! let answer = postprocess(&hidden, &steps, &context)?;
//! assert_eq!(answer.tensor.as_slice::<f32>(), Some(&[0.6, 0.8][..]));
//! # Ok::<(), amphora_error::Error>(())
//! ```

mod classes;
mod modules;
mod pooling;

use std::collections::BTreeMap;

use amphora_bundle::manifest::Postprocessing;
use amphora_error::{Error, Result, quoted};
use amphora_onnx::Dtype;

pub use classes::Label;
pub use modules::sentence_transformers;

use crate::Tensor;

/// How many classes are named unless the step says otherwise.
pub const DEFAULT_TOP_K: usize = 5;
/// Smallest length that a vector is divided by, as in PyTorch's `functional.normalize`.
const SMALLEST_LENGTH: f64 = 1e-12;

/// What the steps may need beside the output itself.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The name of the output, for messages.
    pub output: &'a str,
    /// Which tokens count, `[batch, time]`: 1 for a token and 0 for padding, as the input
    /// `attention_mask`; without one every token does.
    pub mask: Option<&'a Tensor>,
    /// The names of the classes 0, 1, 2, ...
    pub labels: Option<&'a BTreeMap<u64, String>>,
}

/// What an output became.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The values after the last step: `float32`, or `int64` after an argmax.
    pub tensor: Tensor,
    /// One list for each row along the last axis, the most probable class first, where the steps name
    /// classes.
    pub labels: Option<Vec<Vec<Label>>>,
    /// Whether the tensor holds one vector for each sequence, of which nothing else was made.
    pub is_embedding: bool,
}

/// Real numbers on their way.
struct Values {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Values {
    /// The length of the last axis; 1 for a single number.
    fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.data.chunks_exact(self.width().max(1))
    }

    fn each_row(&mut self, change: impl Fn(&mut [f64])) {
        let width = self.width().max(1);
        self.data.chunks_exact_mut(width).for_each(change);
    }
}

/// Applies `steps` to an output, in order; sums are kept in f64.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Incompatible`], naming the output, when a step does not fit: steps that
/// make no sense anywhere ([`Postprocessing::fault`]), an output that holds no floating-point numbers,
/// another rank than pooling needs, a mask of another shape, a sequence of which every token is padding
/// where one token is looked for, labels of other classes, values that are no probabilities where
/// classes are named.
pub fn postprocess(
    tensor: &Tensor,
    steps: &[Postprocessing],
    context: &Context<'_>,
) -> Result<Answered> {
    if let Some(fault) = Postprocessing::fault(steps) {
        return Err(misfit(&fault, context));
    }
    let mut values = Values {
        shape: tensor.shape().to_vec(),
        data: real_numbers(tensor).ok_or_else(|| {
            let found = tensor.dtype().to_string();
            misfit("the output holds no floating-point numbers", context).found(found)
        })?,
    };
    let mut labels = None;
    let mut classes = None;
    let mut is_embedding = false;
    for step in steps {
        is_embedding &= *step == Postprocessing::Normalize;
        match step {
            Postprocessing::Pooling { mode } => {
                values = pooling::pool(&values, *mode, context)?;
                is_embedding = true;
            }
            Postprocessing::Normalize => values.each_row(|row| {
                let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                row.iter_mut()
                    .for_each(|x| *x /= length.max(SMALLEST_LENGTH));
            }),
            Postprocessing::Softmax { temperature } => {
                let temperature = temperature.unwrap_or(1.0);
                values.each_row(|row| classes::softmax(row, temperature));
            }
            Postprocessing::Labels { top_k } => {
                let names = labels_for(&values, context)?;
                let softmax =
                    |step: &Postprocessing| matches!(step, Postprocessing::Softmax { .. });
                if !steps.iter().any(softmax) && !values.rows().all(classes::are_probabilities) {
                    return Err(misfit("the values are no probabilities", context)
                        .hint("put the step softmax before labels, if they are logits"));
                }
                let top_k = top_k.map_or(DEFAULT_TOP_K, |k| k as usize);
                let rows = values
                    .rows()
                    .map(|row| classes::most_probable(row, names, top_k));
                labels = Some(rows.collect());
            }
            Postprocessing::Argmax => {
                if values.width() == 0 {
                    return Err(misfit("there is no class to choose from", context));
                }
                classes = Some(values.rows().map(classes::largest).collect::<Vec<i64>>());
            }
            // The values are samples as they are.
            Postprocessing::Audio { .. } => {}
        }
    }
    let tensor = match classes {
        Some(classes) => {
            let leading = values.shape.len().saturating_sub(1);
            Tensor::new(&values.shape[..leading], classes)?
        }
        None => {
            let narrow: Vec<f32> = values.data.iter().map(|x| *x as f32).collect();
            Tensor::new(values.shape, narrow)?
        }
    };
    Ok(Answered {
        tensor,
        labels,
        is_embedding,
    })
}

fn real_numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.dtype() {
        Dtype::Float32 | Dtype::Float64 | Dtype::Float16 | Dtype::Bfloat16 => tensor.to_f64(),
        _ => None,
    }
}

/// Whether every row along the last axis of `tensor` is a distribution: what a softmax has been applied
/// to already.
pub fn are_distributions(tensor: &Tensor) -> bool {
    let Some(data) = real_numbers(tensor) else {
        return false;
    };
    let shape = tensor.shape().to_vec();
    let sums_to_one = |row: &[f64]| (row.iter().sum::<f64>() - 1.0).abs() < classes::ROUNDING;
    Values { shape, data }
        .rows()
        .all(|row| classes::are_probabilities(row) && sums_to_one(row))
}

/// The labels, one for each class.
fn labels_for<'a>(values: &Values, context: &Context<'a>) -> Result<&'a BTreeMap<u64, String>> {
    let labels = context
        .labels
        .ok_or_else(|| misfit("the bundle has no labels to name classes with", context))?;
    if labels.len() != values.width() {
        return Err(misfit("there is not one label for each class", context)
            .expected(format!("{} labels", values.width()))
            .found(format!("{} labels", labels.len())));
    }
    if let Some((class, _)) = labels.keys().zip(0..).find(|(class, at)| **class != *at) {
        let expected = format!("the classes 0 to {}", labels.len() - 1);
        return Err(misfit("the labels are those of other classes", context)
            .expected(expected)
            .found(format!("class {class}")));
    }
    Ok(labels)
}

fn misfit(what: &str, context: &Context<'_>) -> Error {
    Error::incompatible("postprocessing", what).at(format!(
        "postprocessing of output {}",
        quoted(context.output)
    ))
}
