//! Trainable planner models: their parameters, their entry, their layers and their gradient.
//!
//! * [`Entry`]: what an example shows to a model, nonzero features or token ids.
//! * `Learner`: a model with its parameters, forward and backward.
//!
//! # Design
//!
//! Parameters live in plain vectors; a pass wraps them in candle tensors, and candle's graph carries
//! the gradient through layers that are fused by hand where candle's own operators are slow. The entry
//! stays outside the graph: it gathers rows of a table (the first layer of a feature model, the
//! embedding of a token model), and its gradient touches the same rows and no other.

mod autoregressive;
mod entry;
mod layers;
mod network;
mod op;
mod parameters;
mod pass;
mod random;
mod real;
mod sequence;
#[cfg(test)]
mod tests;

use amphora_checkpoint::architecture::{Architecture, Head};
use amphora_error::{Error, Result};

pub use entry::Entry;
pub(crate) use entry::Gather;
pub(crate) use network::Noise;
pub(crate) use op::vectorized;
pub(crate) use parameters::{Parameter, first_layer};
pub(crate) use pass::Logits;
pub(crate) use random::{Purpose, Random};
pub(crate) use sequence::transpose;

use network::Network;

/// A model with the parameters that training changes.
#[derive(Clone)]
pub(crate) struct Learner {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) heads: Vec<Head>,
    network: Network,
    /// Which parameter is the table of the entry.
    pub(crate) table: usize,
    /// The longest sequence of a token model.
    pub(crate) positions: Option<usize>,
}

impl Learner {
    /// A model of `architecture` with fresh parameters. The gradient of a looped model flows through
    /// its last `gradient_loops` loops. With `conditioned`, every head after the first also reads the
    /// choices of the heads before it.
    ///
    /// # Errors
    ///
    /// Unsupported (`training-architecture`) for an architecture that is no planner model.
    pub(crate) fn new(
        architecture: &Architecture,
        gradient_loops: usize,
        conditioned: bool,
        seed: u64,
    ) -> Result<Self> {
        let mut parameters = parameters::initial(architecture, seed)?;
        let network = Network::new(architecture, gradient_loops);
        let table = parameters.iter().position(|parameter| parameter.table);
        let (Some(network), Some(table)) = (network, table) else {
            return Err(Error::unsupported(
                "training-architecture",
                format!("the {} model cannot be trained", architecture.model_type()),
            )
            .expected("one of mlp, transformer, urm"));
        };
        let heads = architecture.heads();
        if conditioned {
            parameters.extend(autoregressive::conditions(&heads, &parameters, seed));
        }
        Ok(Self {
            positions: match architecture {
                Architecture::Transformer(config) => usize::try_from(config.max_len).ok(),
                Architecture::Urm(config) => usize::try_from(config.max_len).ok(),
                _ => None,
            },
            parameters,
            heads,
            network,
            table,
        })
    }

    /// Refuses an entry that this model cannot read.
    pub(crate) fn check(&self, entry: &Entry) -> Result<()> {
        let rows = self.parameters[self.table].shape[0];
        entry.check(rows, self.positions)
    }
}
