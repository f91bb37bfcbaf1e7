//! What a family of decoders is made of.

use super::{Activation, Parameter};

/// One family of decoders.
#[derive(Debug, PartialEq, Eq)]
pub struct DecoderFamily {
    /// The `model_type`.
    pub model_type: &'static str,
    /// The class without a head.
    pub(super) bare_class: &'static str,
    /// The class with a head of logits over the vocabulary.
    pub(super) causal_class: &'static str,
    /// What the decoder is called inside the class with a head.
    pub(in super::super) prefix: &'static str,
    pub(super) keys: Keys,
    /// The width inside the feed-forward layers as a multiple of the residual stream's, where the
    /// configuration may leave it out.
    pub(super) inner_default: Option<u64>,
    /// Whether heads of queries may share heads of keys and values, and have a width of their own.
    pub(super) grouped: bool,
    /// Whether the head is the table of token embeddings unless the configuration says otherwise.
    pub(super) tied: bool,
    /// The activation where the configuration names none.
    pub(super) activation: Activation,
    /// The normalizations.
    pub norm: Norm,
    /// The table of token embeddings.
    pub tokens: &'static str,
    /// Where positions come from.
    pub positions: DecoderPositions,
    /// How matrices are stored.
    pub layout: MatrixLayout,
    /// The list of the layers.
    pub(super) list: &'static str,
    /// The modules of one layer.
    pub layer: LayerModules,
    /// The normalization behind the last layer.
    pub final_norm: &'static str,
    pub(super) biases: Biases,
    /// Buffers of one layer that a checkpoint may hold: an angle for each pair of a head.
    pub(super) unused: &'static [&'static str],
    /// The same: a square of the context.
    pub(super) causal_masks: &'static [&'static str],
    /// The same: a number.
    pub(super) scalars: &'static [&'static str],
    /// Switches of the computation, and how they must stand.
    pub(super) required: &'static [(&'static str, bool)],
}

/// How a family spells the keys of its configuration; the first that is there counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) width: &'static [&'static str],
    pub(super) layers: &'static [&'static str],
    pub(super) attention_heads: &'static [&'static str],
    pub(super) inner: &'static [&'static str],
    pub(super) context: &'static [&'static str],
    pub(super) norm_eps: &'static str,
    pub(super) activation: &'static str,
}

/// A kind of normalization over the last axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// Mean and variance, with weight and bias (Ba et al. 2016).
    Layer,
    /// The root of the mean square, with a weight (Zhang and Sennrich 2019).
    RootMeanSquare,
}

impl Norm {
    /// The epsilon where a configuration names none, as `transformers` has it.
    pub(super) fn default_epsilon(self) -> f64 {
        match self {
            Self::Layer => 1e-5,
            Self::RootMeanSquare => 1e-6,
        }
    }
}

/// Where a decoder takes positions from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecoderPositions {
    /// A table of this name, added to the token embeddings.
    Table(&'static str),
    /// Queries and keys are turned in every layer.
    Rotary,
}

/// How the matrix of a linear layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatrixLayout {
    /// `[out, in]`, as `torch.nn.Linear` has it.
    OutIn,
    /// `[in, out]`, as the `Conv1D` of `transformers` has it.
    InOut,
}

impl MatrixLayout {
    pub(super) fn matrix(self, name: String, from: u64, to: u64, bias: bool) -> Vec<Parameter> {
        let shape = match self {
            Self::OutIn => [to, from],
            Self::InOut => [from, to],
        };
        let weight = Parameter::required(format!("{name}.weight"), shape);
        let bias = bias.then(|| Parameter::required(format!("{name}.bias"), [to]));
        std::iter::once(weight).chain(bias).collect()
    }
}

/// The modules of one layer, beneath `<list>.<number>`.
#[derive(Debug, PartialEq, Eq)]
pub struct LayerModules {
    /// Normalizes what attention reads.
    pub attention_norm: &'static str,
    /// Projects to queries, keys and values.
    pub projections: Projections,
    /// Normalize queries and keys, head by head.
    pub query_key_norms: Option<[&'static str; 2]>,
    /// Projects what attention gathered.
    pub attended: &'static str,
    /// Normalizes what the feed-forward part reads.
    pub feed_forward_norm: &'static str,
    /// The feed-forward part.
    pub feed_forward: FeedForwardModules,
}

/// The projections to queries, keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projections {
    /// One matrix for the three, side by side.
    Packed(&'static str),
    /// One for each.
    Separate {
        /// Projects to queries.
        query: &'static str,
        /// Projects to keys.
        key: &'static str,
        /// Projects to values.
        value: &'static str,
    },
}

/// The feed-forward part of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedForwardModules {
    /// `outer(activation(inner(x)))`.
    Plain {
        /// Widens.
        inner: &'static str,
        /// Narrows.
        outer: &'static str,
    },
    /// `down(activation(gate(x)) * up(x))` (Shazeer 2020).
    Gated {
        /// Widens, and is activated.
        gate: &'static str,
        /// Widens.
        up: &'static str,
        /// Narrows.
        down: &'static str,
    },
}

/// Whether a linear layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bias {
    /// In every model of the family.
    Always,
    /// In none.
    Never,
    /// Where this key of the configuration is true.
    When(&'static str),
}

/// Which linear layers have biases.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Biases {
    pub(super) projections: Bias,
    pub(super) attended: Bias,
    pub(super) feed_forward: Bias,
}
