//! What goes into a model and what comes out.

use super::Head;

/// Which of a model's graphs: most have one, a language model has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GraphRole {
    /// The whole model.
    Single,
    /// Reads a prompt: the logits of every token, and the keys and values of every layer.
    Prefill,
    /// Goes on from the keys and values of what was read before.
    Decode,
}

impl GraphRole {
    /// The role in one word, as bundles and files name it: `single`, `prefill` or `decode`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

/// One dimension of a [`Port`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Axis {
    /// A fixed size.
    Fixed(u64),
    /// A size chosen for each call; the same name is the same size everywhere.
    Dynamic {
        /// The name of the symbolic dimension.
        name: &'static str,
        /// The largest size the model can take, where it has one.
        max: Option<u64>,
    },
}

impl Axis {
    /// The name of the dimension that counts the tokens before those of a call; the only one that may
    /// be 0.
    pub const PAST: &'static str = "past";
    /// The name of the dimension that counts the tokens of a call to a language model.
    pub const SEQUENCE: &'static str = "sequence";
    /// The name of the dimension that counts all tokens: those before the call and its own.
    pub const TOTAL: &'static str = "total";

    /// The sequences of a language model.
    pub(super) fn rows() -> Self {
        Self::Dynamic {
            name: "batch",
            max: None,
        }
    }

    pub(super) fn named(name: &'static str, max: u64) -> Self {
        Self::Dynamic {
            name,
            max: Some(max),
        }
    }

    pub(super) fn batch() -> Self {
        Self::Dynamic {
            name: "batch_size",
            max: None,
        }
    }

    pub(super) fn sequence(max: u64) -> Self {
        Self::Dynamic {
            name: "sequence_length",
            max: Some(max),
        }
    }
}

/// The values of a [`Port`], which also decide its element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Any real numbers, as `float32`.
    Real,
    /// Whole numbers from 0 up to, but not including, `below`, as `int64`.
    Index {
        /// The first value that is too large.
        below: u64,
    },
    /// 1 for a token and 0 for padding, as `int64`.
    Mask,
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The name in the graph.
    pub name: String,
    /// The values it takes.
    pub values: Values,
    /// The dimensions, outermost first.
    pub shape: Vec<Axis>,
}

impl Port {
    pub(super) fn new(
        name: impl Into<String>,
        values: Values,
        shape: impl Into<Vec<Axis>>,
    ) -> Self {
        Self {
            name: name.into(),
            values,
            shape: shape.into(),
        }
    }
}

pub(super) fn token_inputs(vocab_size: u64, max_len: u64) -> Vec<Port> {
    let shape = || [Axis::batch(), Axis::sequence(max_len)];
    vec![
        Port::new("input_ids", Values::Index { below: vocab_size }, shape()),
        Port::new("attention_mask", Values::Mask, shape()),
    ]
}

/// Pictures of fixed channels, height and width.
pub(super) fn pixel_values(size: [u64; 3]) -> Port {
    let [channels, height, width] = size.map(Axis::Fixed);
    let shape = [Axis::batch(), channels, height, width];
    Port::new("pixel_values", Values::Real, shape)
}

pub(super) fn head_outputs(heads: &[Head]) -> Vec<Port> {
    heads
        .iter()
        .map(|head| {
            Port::new(
                &head.name,
                Values::Real,
                [Axis::batch(), Axis::Fixed(head.n_classes)],
            )
        })
        .collect()
}
