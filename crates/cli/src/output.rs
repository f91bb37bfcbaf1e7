//! The two streams: data on stdout, words on stderr.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use amphora::{Error, ErrorKind, Result, printable};
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

const BAD: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// Writes what a command found out, for people or as JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether the answer is one JSON object.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Writes the answer of a command: `value` as one JSON object with `--json`, else the text that
    /// `words` makes of it.
    pub(crate) fn answer<T: Serialize>(
        self,
        value: &T,
        words: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        if self.json {
            let text = serde_json::to_string(value).map_err(unwritable)?;
            write_stdout(format!("{}\n", escape(&text)).as_bytes())
        } else {
            write_stdout(words(value).as_bytes())
        }
    }

    /// Writes an answer that is a JSON document for people too: indented without `--json`.
    pub(crate) fn document<T: Serialize>(self, value: &T) -> Result<()> {
        let indented = serde_json::to_string_pretty(value).map_err(unwritable)?;
        self.answer(value, |_| format!("{}\n", escape(&indented)))
    }

    /// Reports a failure: an object on stdout with `--json`, else words on stderr.
    pub(crate) fn failure(self, error: &Error) -> Result<()> {
        if self.json {
            let object = json!({"error": {
                "kind": error.kind().word(),
                "message": error.to_string(),
                "hint": error.hint_text(),
                "path": error.file().map(|path| path.to_string_lossy()),
            }});
            return self.answer(&object, |_| String::new());
        }
        self.complain(error);
        Ok(())
    }

    /// Says on stderr what failed; with `--json` too, for answers that carry their own verdict.
    pub(crate) fn complain(self, error: &Error) {
        let mut text = format!("{BAD}error:{BAD:#} {error}\n");
        if let Some(hint) = error.hint_text() {
            text.push_str(&format!("{HINT}hint:{HINT:#} {}\n", printable(hint)));
        }
        // A closed or full stderr must not hide the exit code.
        let _ = anstream::stderr().write_all(text.as_bytes());
    }

    /// One line of words on stderr.
    pub(crate) fn note(self, text: &str) {
        let _ = anstream::stderr().write_all(format!("{}\n", printable(text)).as_bytes());
    }

    /// Progress of a job with countable steps: a bar on a terminal, plain lines elsewhere.
    pub(crate) fn bar(self) -> Bar {
        if !io::stderr().is_terminal() {
            return Bar { drawn: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:30} {percent:>3} % {eta:>4} left  {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Bar { drawn: Some(bar) }
    }

    /// Progress of a longer job: a spinner on a terminal, plain lines elsewhere.
    pub(crate) fn progress(self) -> Progress {
        if !io::stderr().is_terminal() {
            return Progress { spinner: None };
        }
        let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(100));
        Progress {
            spinner: Some(spinner),
        }
    }
}

/// Shows how much of a job with countable steps is done.
pub(crate) struct Bar {
    drawn: Option<ProgressBar>,
}

impl Bar {
    /// Whether there is a terminal that shows it.
    pub(crate) fn is_drawn(&self) -> bool {
        self.drawn.is_some()
    }

    /// `done` of `all` steps are done.
    pub(crate) fn set(&self, done: usize, all: usize, text: &str) {
        match &self.drawn {
            Some(bar) => {
                bar.set_length(all as u64);
                bar.set_position(done as u64);
                bar.set_message(printable(text).into_owned());
            }
            None => {
                let _ = writeln!(io::stderr(), "{}", printable(text));
            }
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.drawn {
            bar.finish_and_clear();
        }
    }
}

/// Shows which step of a job is running.
pub(crate) struct Progress {
    spinner: Option<ProgressBar>,
}

impl Progress {
    /// The step that starts now.
    pub(crate) fn step(&self, text: &str) {
        match &self.spinner {
            Some(spinner) => spinner.set_message(printable(text).into_owned()),
            None => {
                let _ = writeln!(io::stderr(), "{}", printable(text));
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

fn unwritable(source: serde_json::Error) -> Error {
    Error::internal("json-encoding", "the answer cannot be written as JSON").caused_by(source)
}

/// JSON with every character that could move a cursor as `\\uXXXX`; such characters occur inside
/// strings only, but for the line feeds between the values of indented JSON.
fn escape(json: &str) -> String {
    if let Cow::Borrowed(same) = printable(json) {
        return same.to_owned();
    }
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        let mut buffer = [0; 4];
        let same = *printable(character.encode_utf8(&mut buffer)) == *character.to_string();
        if same || character == '\n' {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

/// Writes words of our own to stdout, styled only for a terminal, and flushes.
pub(crate) fn write_stdout(bytes: &[u8]) -> Result<()> {
    write_and_flush(anstream::stdout().lock(), bytes)
}

/// Writes content that is not our own to stdout, byte for byte, and flushes.
pub(crate) fn write_content(bytes: &[u8]) -> Result<()> {
    write_and_flush(io::stdout().lock(), bytes)
}

fn write_and_flush(mut stdout: impl Write, bytes: &[u8]) -> Result<()> {
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|source| Error::from_io("writing", "stdout", source))
}

/// Whether `error` only says that the reader of stdout went away.
pub(crate) fn is_closed_pipe(error: &Error) -> bool {
    error.kind() == ErrorKind::Io
        && std::error::Error::source(error)
            .and_then(|source| source.downcast_ref::<io::Error>())
            .is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe)
}
