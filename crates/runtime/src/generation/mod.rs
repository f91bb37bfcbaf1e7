//! Language models: a graph that reads a prompt, and a graph that continues it.
//!
//! * [`Generator`]: both graphs, checked against each other. [`Generator::generate`] writes texts;
//!   [`Generator::start`] gives a [`Batch`] to go token by token.
//! * [`Sampler`]: which token comes next.
//! * [`Constraint`]: what a model may write: [`TokenMachine`], [`Grammar`].
//! * [`StopStrings`]: strings that end a text, found across tokens.
//!
//! # Design
//!
//! Nothing is known about a model but the names of its graphs' inputs and outputs: `input_ids`, and
//! where the graph has them `attention_mask` and `position_ids`, go in; `logits` come out; every other
//! input of the second graph, `past_...`, is the output `present_...` of the call before
//! ([`Link::by_name`]). The cache stays with the engine; see [`crate::Cache`].

mod batch;
mod constraint;
mod graphs;
mod random;
mod sampling;
mod stops;
mod write;

use amphora_bundle::manifest::{Generation, Sampling};
use amphora_error::{Error, Result};

pub use batch::Batch;
pub use constraint::{
    Constraint, Forced, Grammar, GrammarCompiler, Progress, State, TokenMachine, ValueTree,
    fixed_tokens,
};
pub use sampling::Sampler;
pub use stops::{Scanned, StopStrings};
pub use write::{Finish, Generated, GenerationOptions, Prompt, Step};

use crate::{Link, Session};

/// A language model: the session of the graph that reads prompts, and that of the graph that
/// continues.
#[derive(Debug)]
pub struct Generator {
    prefill: Session,
    decode: Session,
    links: Vec<Link>,
    /// Most tokens of prompt and answer together.
    context_length: Option<usize>,
    /// Most positions that are read in one call, of all texts together.
    positions_per_call: usize,
    stop_token_ids: Vec<u32>,
    pad_token_id: u32,
    sampling: Option<Sampling>,
    /// How many tokens the model knows, where its contract says it.
    vocabulary: Option<usize>,
}

impl Generator {
    /// Binds the two graphs by the names of their inputs and outputs; `generation` says what the
    /// manifest of a bundle says.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Incompatible`] listing every fault: an input that nothing is known
    /// to put into, a missing output, logits that are not of rank 3, a token id of the manifest that
    /// the model does not know.
    pub fn new(prefill: Session, decode: Session, generation: &Generation) -> Result<Self> {
        let links = graphs::check(prefill.contract(), decode.contract())?;
        let vocabulary = graphs::vocabulary(decode.contract());
        let named = generation.stop_token_ids.iter();
        let foreign: Vec<String> = named
            .chain(&generation.pad_token_id)
            .filter(|token| vocabulary.is_some_and(|known| **token as usize >= known))
            .map(|token| format!("token {token}"))
            .collect();
        if !foreign.is_empty() {
            return Err(Error::incompatible(
                "generation-tokens",
                "the model does not know all tokens that spec.generation names",
            )
            .faults(foreign));
        }
        let context_length = generation.context_length;
        Ok(Self {
            prefill,
            decode,
            links,
            context_length: context_length.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
            positions_per_call: generation.positions_per_call.map_or(usize::MAX, |most| {
                usize::try_from(most.get()).unwrap_or(usize::MAX)
            }),
            stop_token_ids: generation.stop_token_ids.clone(),
            // Any token will do: the mask hides it.
            pad_token_id: generation.pad_token_id.unwrap_or(0),
            sampling: generation.sampling.clone(),
            vocabulary,
        })
    }

    /// The session that reads prompts.
    pub fn prefill(&self) -> &Session {
        &self.prefill
    }

    /// The session that continues.
    pub fn decode(&self) -> &Session {
        &self.decode
    }

    /// How many tokens the model knows, where its contract says it.
    pub fn vocabulary(&self) -> Option<usize> {
        self.vocabulary
    }

    /// How tokens are chosen unless a caller says otherwise.
    pub fn sampling(&self) -> Option<&Sampling> {
        self.sampling.as_ref()
    }

    /// Reads `prompts`, of any lengths, together. `new_tokens` says how many will be added at most, as
    /// far as that is known: it bounds the room that the cache takes in advance.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] listing every prompt that is empty, too long or has a token
    /// that the model does not know; those of [`Batch::advance`].
    pub fn start(&mut self, prompts: &[&[u32]], new_tokens: usize) -> Result<Batch<'_>> {
        Batch::start(self, prompts, new_tokens)
    }
}
