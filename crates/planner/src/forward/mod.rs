//! The planner MLP, run on sparse features without an engine.

mod graph;
mod kernel;
mod recognize;

use amphora_error::{Error, Result};
use amphora_onnx::Model;

use kernel::{Linear, Network};

/// The planner MLP of an ONNX graph, ready to run on sparse rows.
///
/// A feature vector has a few dozen nonzero values among thousands, so the first layer adds up the
/// weights of those features only; and since ReLU leaves about half of the hidden values at zero,
/// the other layers skip theirs too.
///
/// The answer for a row depends neither on the processor nor on the rows beside it: every sum is
/// taken in one fixed order, whatever the width of the vector registers.
///
/// ```
/// use amphora_onnx::build::GraphBuilder;
/// use amphora_onnx::{Dim, Dtype, Limits, Model};
/// use amphora_planner::forward::SparseMlp;
///
/// let mut graph = GraphBuilder::new("planner", 17)?;
/// let floats = |values: &[f32]| -> bytes::Bytes {
///     values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
/// };
/// let mut weight = |graph: &mut GraphBuilder, name: &str, shape: &[u64], values: &[f32]| {
///     graph.initializer(name, Dtype::Float32, shape, floats(values))
/// };
/// let batch = || Dim::Symbol("batch_size".into());
/// let input = graph.input("input", Dtype::Float32, &[batch(), Dim::Fixed(3)]);
/// let (w, b) = (weight(&mut graph, "w", &[2, 3], &[1.0, 0.0, 2.0, 0.0, 1.0, 0.0]), weight(&mut graph, "b", &[2], &[0.0, 0.0]));
/// let hidden = graph.linear(&input, &w, &b);
/// let (scale, shift) = (weight(&mut graph, "scale", &[2], &[1.0, 1.0]), weight(&mut graph, "shift", &[2], &[0.0, 0.0]));
/// let normalized = graph.layer_norm(&hidden, &scale, &shift, 1e-5);
/// let hidden = graph.unary("Relu", &normalized);
/// let (w, b) = (weight(&mut graph, "head", &[1, 2], &[1.0, 1.0]), weight(&mut graph, "bias", &[1], &[0.5]));
/// let logits = graph.linear(&hidden, &w, &b);
/// graph.output(&logits, "swarm", Dtype::Float32, &[batch(), Dim::Fixed(1)]);
///
/// let model = Model::from_proto(graph.finish(), &Limits::default())?;
/// let mlp = SparseMlp::recognize(&model).expect("a planner MLP");
/// let logits = mlp.forward(&[2], &[1.0])?;
/// assert!((logits[0][0] - 1.5).abs() < 1e-4);
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SparseMlp {
    input: String,
    network: Network,
    heads: Vec<Head>,
}

/// One output of the graph: its name and how many logits it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The name of the output.
    pub name: String,
    /// The number of logits.
    pub classes: usize,
}

impl SparseMlp {
    /// The planner MLP that `model` computes; `None` when the graph is anything else, however little.
    ///
    /// Recognized is any number of hidden layers, each Linear, LayerNorm and ReLU of any width, and
    /// any number of linear heads on the last one: in the form that this project exports and in
    /// those of PyTorch's exporters, with LayerNorm as one node or in its parts. Weights that are
    /// not finite are not recognized, since a skipped zero would hide them.
    pub fn recognize(model: &Model) -> Option<Self> {
        recognize::recognize(model)
    }

    /// The name of the graph's input.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// The number of features that a row has.
    pub fn width(&self) -> usize {
        self.network.width()
    }

    /// The outputs, in the order of the graph.
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// The logits of every head, in the order of [`Self::heads`], for the row that has `values` at
    /// `indices` and zeros elsewhere. Values at the same index add up.
    ///
    /// # Errors
    ///
    /// Usage (`sparse-row`) when the two lists differ in length or an index is not below
    /// [`Self::width`].
    pub fn forward(&self, indices: &[u32], values: &[f32]) -> Result<Vec<Vec<f32>>> {
        let mut answer = Vec::with_capacity(self.heads.len());
        self.forward_each([(indices, values)], |logits| {
            answer.extend(self.split(logits).map(<[f32]>::to_vec));
        })?;
        Ok(answer)
    }

    /// [`Self::forward`] of many rows: `answer` gets the logits of each in turn, those of all heads
    /// one after another; [`Self::split`] takes them apart.
    ///
    /// # Errors
    ///
    /// As [`Self::forward`]; the rows before the wrong one were answered.
    pub fn forward_each<'r>(
        &self,
        rows: impl IntoIterator<Item = (&'r [u32], &'r [f32])>,
        mut answer: impl FnMut(&[f32]),
    ) -> Result<()> {
        let mut scratch = self.network.scratch();
        for (indices, values) in rows {
            check(indices, values, self.width())?;
            answer(self.network.run(indices, values, &mut scratch));
        }
        Ok(())
    }

    /// The logits of each head among those of all heads.
    pub fn split<'l>(&self, logits: &'l [f32]) -> impl Iterator<Item = &'l [f32]> {
        let mut rest = logits;
        self.heads.iter().map(move |head| {
            let (own, others) = rest.split_at(head.classes.min(rest.len()));
            rest = others;
            own
        })
    }
}

fn check(indices: &[u32], values: &[f32], width: usize) -> Result<()> {
    let refuse = |expected: String, found: String| {
        Err(
            Error::usage("sparse-row", "the sparse row does not fit the model")
                .expected(expected)
                .found(found),
        )
    };
    if indices.len() != values.len() {
        return refuse(
            format!("{} values", indices.len()),
            values.len().to_string(),
        );
    }
    match indices.iter().max() {
        Some(&largest) if largest as usize >= width => {
            refuse(format!("indices below {width}"), largest.to_string())
        }
        _ => Ok(()),
    }
}
