//! What was typed: every command, flag and environment variable, as `clap` reads them.
//!
//! Nothing below this file sees a flag: each command turns its arguments into a request of the
//! facade. [`command`] gives every long flag its environment variable, so that none can be forgotten.

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, OsStr};
use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand};

/// The value of `--help` that ends every help text.
const AFTER_HELP: &str = "\
A BUNDLE is a path, an id, the first 4 or more digits of an id, or NAME[:VERSION] (the newest without a version).
Data goes to stdout, words to stderr; exit codes and environment variables are listed in docs/cli.md.";

/// Seals trained models into bundles that prove themselves, and runs them.
#[derive(Debug, Parser)]
#[command(name = "amphora", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print one JSON object on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The directory that holds the bundles
    #[arg(long, global = true, value_name = "DIR", default_value = "artifacts")]
    pub(crate) store: PathBuf,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the engines found (or why not), versions and paths
    Doctor,
    /// Print the completion script for a shell
    Completions(CompletionsArguments),
    /// Print the JSON Schema of a document that Amphora reads or writes
    Schema(SchemaArguments),
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// The document's name; without one, the names are listed
    pub(crate) name: Option<String>,
}

/// The whole command line, with an environment variable behind every long flag.
pub(crate) fn command() -> clap::Command {
    let mut command = with_environment(Arguments::command());
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    for name in names {
        command = command.mut_subcommand(name, with_environment);
    }
    command
}

/// The environment variable of a long flag: `--golden-cases` is `AMPHORA_GOLDEN_CASES`.
pub(crate) fn variable(long: &str) -> String {
    format!("AMPHORA_{}", long.replace('-', "_").to_ascii_uppercase())
}

fn with_environment(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| {
        let Some(name) = argument.get_long().map(variable) else {
            return argument;
        };
        match argument.get_action() {
            ArgAction::Help | ArgAction::Version => argument,
            ArgAction::SetTrue => argument
                .env(OsStr::from(name))
                .hide_env_values(true)
                .value_parser(BoolishValueParser::new()),
            _ => argument.env(OsStr::from(name)).hide_env_values(true),
        }
    })
}
