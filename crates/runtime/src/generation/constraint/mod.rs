//! What a model may write.
//!
//! A [`Constraint`] goes along with one text: before each token it strikes out what may not come, and
//! it is told what came. Two are here: [`TokenMachine`], states and tokens; and [`Grammar`], a JSON
//! Schema, a regular expression or a grammar, which comes from a [`GrammarCompiler`] for one
//! vocabulary.

mod grammar;
mod machine;
mod values;

use amphora_error::Result;

pub use grammar::{Grammar, GrammarCompiler};
pub use machine::{Forced, State, TokenMachine};
pub use values::{ValueTree, fixed_tokens};

/// How far a constrained text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Something must follow: what is there is the beginning of an allowed text.
    Unfinished,
    /// What is there is an allowed text, and more may follow.
    MayEnd,
    /// What is there is an allowed text, and nothing may follow.
    Ended,
}

/// Says which tokens may come next in one text.
///
/// Tokens that end a text (stop tokens) are not its business: they are allowed exactly when
/// [`Constraint::progress`] says that the text may end, whatever the mask says.
pub trait Constraint: Send {
    /// Sets the logit of every token that may not come next to minus infinity.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Limit`] when that takes too long to find out.
    fn mask(&mut self, logits: &mut [f32]) -> Result<()>;

    /// Takes the token that came.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] when it was not allowed.
    fn update(&mut self, token: u32) -> Result<()>;

    /// How far the text is.
    fn progress(&mut self) -> Progress;
}

/// Strikes out every token for which `allowed` is false.
fn keep_only(logits: &mut [f32], allowed: impl Fn(u32) -> bool) {
    for (token, logit) in (0_u32..).zip(logits) {
        if !allowed(token) {
            *logit = f32::NEG_INFINITY;
        }
    }
}
