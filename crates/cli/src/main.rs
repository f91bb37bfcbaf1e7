//! The `amphora` command: flags in, words out, exit codes.
//!
//! [`arguments`] is what was typed, [`commands`] turns it into requests of the `amphora` facade and
//! the answers into text, [`output`] owns the two streams. This file alone decides exit codes.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod environment;
mod output;
#[cfg(test)]
mod reference;
mod signals;
mod text;
mod usage;

use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Mutex;

use amphora::{Error, Result};
use clap::FromArgMatches as _;

use crate::arguments::Arguments;
use crate::commands::Verdict;
use crate::output::Output;

/// Where the last panic was, for the bug report.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is the one crate that reads its arguments"
)]
fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let output = Output::new(asks_for_json(&words) || environment::wants_json());
    panic::set_hook(Box::new(|panic| {
        if let Ok(mut place) = PANIC.lock() {
            *place = Some(panic.to_string());
        }
    }));
    let answer = guarded(|| {
        signals::watch()?;
        log();
        run(words)
    });
    ExitCode::from(exit_code(answer, output))
}

/// Parses the command line and runs the command.
fn run(words: Vec<OsString>) -> Result<Verdict> {
    let parser = arguments::command();
    let command = parser
        .get_subcommands()
        .map(clap::Command::get_name)
        .find(|name| words.iter().any(|word| word == name))
        .map(str::to_owned);
    let parsed = parser
        .try_get_matches_from(words)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    match parsed {
        Ok(arguments) => commands::run(arguments),
        Err(error) if error.use_stderr() => Err(usage::refusal(&error, command.as_deref())),
        Err(help) => {
            output::write_stdout(help.render().ansi().to_string().as_bytes()).map(|()| Verdict::Yes)
        }
    }
}

/// Runs `job`; a panic becomes an error that asks for a report.
fn guarded(job: impl FnOnce() -> Result<Verdict>) -> Result<Verdict> {
    panic::catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|_| {
        let place = PANIC.lock().ok().and_then(|mut place| place.take());
        Err(Error::internal(
            "panic",
            format!(
                "Amphora {} met a bug of its own: {}",
                env!("CARGO_PKG_VERSION"),
                place.as_deref().unwrap_or("an unnamed panic")
            ),
        )
        .hint("please report this message together with the command that was typed"))
    })
}

/// The exit code of an answer; a failure is reported first.
fn exit_code(answer: Result<Verdict>, output: Output) -> u8 {
    let error = match answer {
        Ok(Verdict::Yes) => return 0,
        Ok(Verdict::No(error)) => {
            output.complain(&error);
            return error.kind().exit_code();
        }
        Err(error) => error,
    };
    if output::is_closed_pipe(&error) {
        return 0;
    }
    match output.failure(&error) {
        // stdout cannot take the JSON object: say it in words, and keep the first reason.
        Err(unwritten) if !output::is_closed_pipe(&unwritten) => output.complain(&error),
        _ => {}
    }
    error.kind().exit_code()
}

/// Whether `--json` was typed, known before the rest is understood.
fn asks_for_json(words: &[OsString]) -> bool {
    words
        .iter()
        .skip(1)
        .take_while(|word| *word != "--")
        .any(|word| word == "--json")
}

fn log() {
    if let Some(filter) = environment::log_filter() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
            .with_writer(std::io::stderr)
            .init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_exit_code_9_and_asks_for_a_report() {
        let error = guarded(|| panic!("boom")).unwrap_err();
        assert_eq!(error.kind().exit_code(), 9);
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("report"))
        );
    }
}
