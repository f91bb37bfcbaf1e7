//! The two streams: data on stdout, words on stderr.

use std::io::{self, Write as _};

use amphora::{Error, ErrorKind, Result, printable};
use anstyle::{AnsiColor, Style};
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

    /// Writes the answer of a command: `value` as one JSON object with `--json`, else the text that
    /// `words` makes of it.
    pub(crate) fn answer<T: Serialize>(
        self,
        value: &T,
        words: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        if self.json {
            let mut bytes = serde_json::to_vec(value).map_err(|source| {
                Error::internal("json-encoding", "the answer cannot be written as JSON")
                    .caused_by(source)
            })?;
            bytes.push(b'\n');
            write_stdout(&bytes)
        } else {
            write_stdout(words(value).as_bytes())
        }
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
}

/// Writes to stdout and flushes.
pub(crate) fn write_stdout(bytes: &[u8]) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
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
