//! One error type for every crate of Amphora.
//!
//! An [`Error`] says what failed (`message`, with what was *expected* and what was *found*), where
//! ([`Error::file`], [`Error::item`]), which rule refused it ([`Error::rule`], a stable word that
//! tests and documentation use), and what to try next ([`Error::hint`]). Its [`ErrorKind`] maps one
//! to one to the exit code of the command line, to C status codes and to Python exceptions, and
//! picks the HTTP status.
//!
//! ```
//! use amphora_error::{Error, ErrorKind};
//!
//! let error = Error::malformed("initializer-size", "payload does not fit the shape")
//!     .expected("24 bytes")
//!     .found("20 bytes")
//!     .in_file("model.onnx")
//!     .at("tensor 'w'")
//!     .hint("export the model again");
//! assert_eq!(error.kind(), ErrorKind::Malformed);
//! assert_eq!(error.kind().exit_code(), 3);
//! assert_eq!(
//!     error.to_string(),
//!     "model.onnx: tensor 'w': payload does not fit the shape: expected 24 bytes, found 20 bytes"
//! );
//! ```
//!
//! # Design
//!
//! Categories are few and stable, so that a script can act on them; detail is text for people.
//! Everything that reaches [`std::fmt::Display`] passes through [`printable`]: names inside a
//! hostile file cannot move a terminal's cursor or forge a line of output.

#![forbid(unsafe_code)]

mod kind;
mod printable;

use std::fmt;
use std::path::{Path, PathBuf};

pub use kind::ErrorKind;
pub use printable::{Quoted, printable, quoted, quoted_list};

/// Most faults of one error that are shown: a hostile file may have as many as it has entries.
const MOST_FAULTS: usize = 100;

/// The result of every fallible operation in Amphora.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: what, where, expected against found, and what to try.
pub struct Error(Box<Detail>);

struct Detail {
    kind: ErrorKind,
    rule: &'static str,
    message: String,
    expected: Option<String>,
    found: Option<String>,
    file: Option<PathBuf>,
    item: Option<String>,
    faults: Vec<String>,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that broke `rule` (a stable kebab-case word), described by `message`
    /// (one sentence, no full stop).
    pub fn new(kind: ErrorKind, rule: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Detail {
            kind,
            rule,
            message: message.into(),
            expected: None,
            found: None,
            file: None,
            item: None,
            faults: Vec::new(),
            hint: None,
            source: None,
        }))
    }

    /// The file the failure is in. The innermost file wins: a later call does not replace it.
    #[must_use]
    pub fn in_file(mut self, path: impl AsRef<Path>) -> Self {
        self.0.file.get_or_insert_with(|| path.as_ref().to_owned());
        self
    }

    /// Completes the file of the failure, where it is named without its directory.
    #[must_use]
    pub fn beneath(mut self, directory: impl AsRef<Path>) -> Self {
        let directory = directory.as_ref();
        let file = &mut self.0.file;
        *file = Some(match file.take() {
            Some(name) => directory.join(name),
            None => directory.to_owned(),
        });
        self
    }

    /// The tensor, node, field, entry or line the failure is at. The innermost place wins.
    #[must_use]
    pub fn at(mut self, item: impl Into<String>) -> Self {
        self.0.item.get_or_insert_with(|| item.into());
        self
    }

    /// What would have been right.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.0.expected = Some(expected.into());
        self
    }

    /// What was there instead.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.0.found = Some(found.into());
        self
    }

    /// What to try, as one sentence or a command to paste.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Every single fault, when one error reports several at once; the first hundred are shown.
    ///
    /// ```
    /// let faults = (0..102).map(|number| format!("fault {number}")).collect();
    /// let error = amphora_error::Error::usage("many", "too much is wrong").faults(faults);
    /// assert!(error.to_string().ends_with("\n  - fault 99\n  - and 2 more"));
    /// assert_eq!(error.fault_list().len(), 102);
    /// ```
    #[must_use]
    pub fn faults(mut self, faults: Vec<String>) -> Self {
        self.0.faults = faults;
        self
    }

    /// The error that caused this one.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The category, which decides the exit code.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable word for the rule that was broken, for example `external-data-path`.
    pub fn rule(&self) -> &'static str {
        self.0.rule
    }

    /// What failed, without place, expectation or hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The file the failure is in.
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// The tensor, node, field, entry or line the failure is at.
    pub fn item(&self) -> Option<&str> {
        self.0.item.as_deref()
    }

    /// The single faults of an error that reports several at once.
    pub fn fault_list(&self) -> &[String] {
        &self.0.faults
    }

    /// What to try next.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident,)*) => {
        impl Error {
            $($(#[$doc])*
            pub fn $name(rule: &'static str, message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, rule, message)
            })*
        }
    };
}

constructors! {
    /// [`ErrorKind::Negative`]: the question was answered, and the answer is no.
    negative => Negative,
    /// [`ErrorKind::Usage`]: the caller asked for something that makes no sense.
    usage => Usage,
    /// [`ErrorKind::Malformed`]: the input breaks its format.
    malformed => Malformed,
    /// [`ErrorKind::Limit`]: the input is larger, deeper or longer than allowed.
    limit => Limit,
    /// [`ErrorKind::Untrusted`]: a digest does not match.
    untrusted => Untrusted,
    /// [`ErrorKind::NotFound`]: a file, bundle or name does not exist.
    not_found => NotFound,
    /// [`ErrorKind::Busy`]: a lock or a deadline.
    busy => Busy,
    /// [`ErrorKind::Io`]: the operating system said no.
    io => Io,
    /// [`ErrorKind::Internal`]: a bug in Amphora.
    internal => Internal,
    /// [`ErrorKind::Unsupported`]: a valid request that this version or engine cannot serve.
    unsupported => Unsupported,
    /// [`ErrorKind::Mismatch`]: numbers differ by more than the tolerance.
    mismatch => Mismatch,
    /// [`ErrorKind::Incompatible`]: a contract is not kept.
    incompatible => Incompatible,
    /// [`ErrorKind::NotReady`]: a target's requirements are not met.
    not_ready => NotReady,
}

impl Error {
    /// Wraps an operating-system error met while doing `action` (for example "reading") on `path`.
    ///
    /// A missing file becomes [`ErrorKind::NotFound`]; everything else is [`ErrorKind::Io`].
    pub fn from_io(action: &str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Os;
        let (kind, rule, hint) = match source.kind() {
            Os::NotFound => (ErrorKind::NotFound, "file-not-found", None),
            Os::PermissionDenied => (
                ErrorKind::Io,
                "permission-denied",
                Some("check the owner and the permissions of the path"),
            ),
            Os::ReadOnlyFilesystem => (
                ErrorKind::Io,
                "read-only-file-system",
                Some("choose a writable place"),
            ),
            Os::StorageFull | Os::QuotaExceeded | Os::FileTooLarge => (
                ErrorKind::Io,
                "storage-full",
                Some("free some space, or choose another place"),
            ),
            Os::InvalidFilename => (
                ErrorKind::Io,
                "name-too-long",
                Some("choose a shorter path"),
            ),
            _ => (ErrorKind::Io, "io", None),
        };
        let reason = match source.kind() {
            Os::NotFound => "no such file or directory".to_owned(),
            Os::PermissionDenied => "permission denied".to_owned(),
            Os::ReadOnlyFilesystem => "the file system is read-only".to_owned(),
            Os::StorageFull => "no space left on the device".to_owned(),
            Os::QuotaExceeded => "the disk quota is exceeded".to_owned(),
            Os::InvalidFilename => "the name is too long".to_owned(),
            Os::FileTooLarge => "the file would exceed the size limit".to_owned(),
            Os::NotADirectory => "a part of the path is not a directory".to_owned(),
            _ => source.to_string(),
        };
        let mut error = Self::new(kind, rule, format!("{action} failed: {reason}"))
            .in_file(path)
            .caused_by(source);
        if let Some(hint) = hint {
            error = error.hint(hint);
        }
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = &self.0;
        if let Some(file) = &detail.file {
            write!(f, "{}: ", printable(&file.to_string_lossy()))?;
        }
        if let Some(item) = &detail.item {
            write!(f, "{}: ", printable(item))?;
        }
        f.write_str(&printable(&detail.message))?;
        match (&detail.expected, &detail.found) {
            (Some(expected), Some(found)) => {
                write!(
                    f,
                    ": expected {}, found {}",
                    printable(expected),
                    printable(found)
                )?;
            }
            (Some(expected), None) => write!(f, ": expected {}", printable(expected))?,
            (None, Some(found)) => write!(f, ": found {}", printable(found))?,
            (None, None) => {}
        }
        for fault in detail.faults.iter().take(MOST_FAULTS) {
            write!(f, "\n  - {}", printable(fault))?;
        }
        match detail.faults.len().checked_sub(MOST_FAULTS) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n  - and {more} more"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} [{}] {self}", self.0.kind, self.0.rule)?;
        if let Some(hint) = &self.0.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}
