//! One file for each command: a request of the facade made from arguments, and its answer as text.

mod completions;
mod doctor;
mod schema;

use std::path::PathBuf;

use amphora::Result;

use crate::arguments::{Arguments, Command};
use crate::output::Output;

/// What a command that did its work has to say about the question it was asked.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Done; exit code 0.
    Yes,
}

/// What every command may need besides its own arguments.
pub(crate) struct Context {
    pub(crate) output: Output,
    pub(crate) store: PathBuf,
}

/// Runs the command that was typed.
pub(crate) fn run(arguments: Arguments) -> Result<Verdict> {
    let context = Context {
        output: Output::new(arguments.json),
        store: arguments.store,
    };
    match arguments.command {
        Command::Doctor => doctor::run(&context),
        Command::Completions(arguments) => completions::run(&context, &arguments),
        Command::Schema(arguments) => schema::run(&context, &arguments),
    }
}
