//! One hostile file, its twin, and the answer.

use std::fmt;
use std::path::Path;

use amphora_error::ErrorKind;

/// What writing a case can fail with.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Which of the two to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The lie.
    Hostile,
    /// The same but for one field, and true.
    Healthy,
}

impl Form {
    /// The one field in which the two differ.
    pub fn pick<T>(self, hostile: T, healthy: T) -> T {
        match self {
            Self::Hostile => hostile,
            Self::Healthy => healthy,
        }
    }
}

/// The answer that the hostile form must get. The healthy form is always accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Refused with one of these kinds.
    Refused(&'static [ErrorKind]),
    /// Accepted: odd, but harmless.
    Accepted,
    /// Accepted, or refused with this kind.
    AcceptedOr(ErrorKind),
}

impl Answer {
    /// Whether a command may end with `code` (`None`: by a signal).
    pub fn allows(self, code: Option<i32>) -> bool {
        let is = |kind: &ErrorKind| code == Some(i32::from(kind.exit_code()));
        match self {
            Self::Refused(kinds) => kinds.iter().any(is),
            Self::Accepted => code == Some(0),
            Self::AcceptedOr(kind) => code == Some(0) || is(&kind),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = |kind: &ErrorKind| format!("{} `{kind}`", kind.exit_code());
        match self {
            Self::Refused(kinds) => {
                let codes: Vec<String> = kinds.iter().map(code).collect();
                f.write_str(&codes.join(" or "))
            }
            Self::Accepted => f.write_str("0"),
            Self::AcceptedOr(kind) => write!(f, "0 or {}", code(kind)),
        }
    }
}

/// The part of a case that writes the files.
pub(crate) type Write = Box<dyn Fn(&Path, Form) -> Outcome + Send + Sync>;

/// A hostile file, its healthy twin, the command that is given each, and the answer.
pub struct Case {
    /// The number of the attack; cases with one number are one kind of attack.
    pub row: u8,
    /// A name that no other case has.
    pub name: &'static str,
    /// The one field: what is hostile in it.
    pub writes: &'static str,
    /// The words after `amphora`; run in the directory that was written.
    pub command: &'static str,
    /// What the hostile form gets.
    pub answer: Answer,
    /// Text that the message about the hostile form contains: where the fault is.
    pub place: &'static str,
    /// A file whose content is never read, by a part of its path. It is not even opened, unless that is
    /// how its links are counted (row 7).
    pub unopened: Option<&'static str>,
    pub(crate) write: Write,
}

impl Case {
    /// Writes one of the two forms into an empty directory.
    pub fn write(&self, directory: &Path, form: Form) -> Outcome {
        (self.write)(directory, form)
    }

    pub(crate) fn unopened(mut self, part: &'static str) -> Self {
        self.unopened = Some(part);
        self
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} {}: {}", self.row, self.name, self.writes)
    }
}
