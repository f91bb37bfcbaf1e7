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

pub use classes::{Label, most_probable};
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
    /// The input `attention_mask`, `[batch, time]`, 1 for a token and 0 for padding; without one every
    /// token counts.
    pub mask: Option<&'a Tensor>,
    /// The names of the classes.
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
    /// Whether the tensor holds one vector for each sequence.
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
/// [`amphora_error::ErrorKind::Incompatible`], naming output and step, when a step does not fit: an
/// output that holds no `float32`, `float64` or `float16`, another rank than pooling needs, a mask of
/// another shape, a sequence of which every token is padding where one token is looked for, a temperature
/// that is not positive, classes without as many labels, steps after an argmax.
pub fn postprocess(
    tensor: &Tensor,
    steps: &[Postprocessing],
    context: &Context<'_>,
) -> Result<Answered> {
    let mut values = Values {
        shape: tensor.shape().to_vec(),
        data: tensor.to_f64().ok_or_else(|| {
            let found = tensor.dtype().to_string();
            misfit("the output holds no real numbers", context).found(found)
        })?,
    };
    let mut answered = Answered {
        tensor: Tensor::scalar(0.0_f32),
        labels: None,
        is_embedding: false,
    };
    let mut classes = None;
    for step in steps {
        if classes.is_some() {
            return Err(misfit("nothing can follow an argmax", context));
        }
        match step {
            Postprocessing::Pooling { mode } => {
                values = pooling::pool(&values, *mode, context)?;
                answered.is_embedding = true;
            }
            Postprocessing::Normalize => values.each_row(|row| {
                let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                row.iter_mut()
                    .for_each(|x| *x /= length.max(SMALLEST_LENGTH));
            }),
            Postprocessing::Softmax { temperature } => {
                let temperature = temperature.unwrap_or(1.0);
                if !(temperature > 0.0 && temperature.is_finite()) {
                    let found = temperature.to_string();
                    return Err(misfit("the temperature is not positive", context).found(found));
                }
                values.each_row(|row| classes::softmax(row, temperature));
            }
            Postprocessing::Argmax => {
                if values.width() == 0 {
                    return Err(misfit("there is no class to choose from", context));
                }
                classes = Some(values.rows().map(classes::largest).collect::<Vec<i64>>());
            }
            Postprocessing::Labels { top_k } => {
                let labels = labels_for(&values, context)?;
                let top_k = top_k.map_or(DEFAULT_TOP_K, |k| k as usize);
                let rows = values.rows().map(|row| most_probable(row, labels, top_k));
                answered.labels = Some(rows.collect());
            }
        }
    }
    answered.tensor = match classes {
        Some(classes) => {
            let leading = values.shape.len().saturating_sub(1);
            Tensor::new(&values.shape[..leading], classes)?
        }
        None => {
            let narrow: Vec<f32> = values.data.iter().map(|x| *x as f32).collect();
            Tensor::new(values.shape, narrow)?
        }
    };
    Ok(answered)
}

fn labels_for<'a>(values: &Values, context: &Context<'a>) -> Result<&'a BTreeMap<u64, String>> {
    let labels = context
        .labels
        .ok_or_else(|| misfit("the bundle has no labels to name classes with", context))?;
    if labels.len() != values.width() {
        return Err(misfit("there is not one label for each class", context)
            .expected(format!("{} labels", values.width()))
            .found(format!("{} labels", labels.len())));
    }
    Ok(labels)
}

fn misfit(what: &str, context: &Context<'_>) -> Error {
    Error::incompatible("postprocessing", what).at(format!(
        "postprocessing of output {}",
        quoted(context.output)
    ))
}
