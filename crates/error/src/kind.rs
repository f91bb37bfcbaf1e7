//! The categories of failure and what each maps to.

/// Why something failed, in one word.
///
/// The order and the words are a contract: exit codes, C status codes, Python exceptions and the
/// `kind` of JSON errors all come from here (`docs/errors.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The question was answered, and the answer is no (`compare`: different).
    Negative,
    /// Wrong flags, or a request that makes no sense.
    Usage,
    /// The input breaks its own format.
    Malformed,
    /// The input exceeds a limit: size, depth, count, length.
    Limit,
    /// A digest does not match, or a file is missing or unlisted.
    Untrusted,
    /// A file, a bundle, a graph or a name does not exist.
    NotFound,
    /// A lock is held by another process, or a deadline passed.
    Busy,
    /// The operating system refused: full, denied, read-only.
    Io,
    /// A bug in Amphora.
    Internal,
    /// Valid, but not supported here: operator, opset, architecture, version.
    Unsupported,
    /// Numbers differ by more than the tolerance.
    Mismatch,
    /// A contract is not kept: names, dtypes or shapes.
    Incompatible,
    /// The requirements of a deployment target are not met.
    NotReady,
    /// Stopped by SIGINT.
    Interrupted,
    /// Stopped by SIGTERM.
    Terminated,
}

impl ErrorKind {
    /// Every kind, in the order of its exit code.
    pub const ALL: [Self; 15] = [
        Self::Negative,
        Self::Usage,
        Self::Malformed,
        Self::Limit,
        Self::Untrusted,
        Self::NotFound,
        Self::Busy,
        Self::Io,
        Self::Internal,
        Self::Unsupported,
        Self::Mismatch,
        Self::Incompatible,
        Self::NotReady,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The exit code of the command line; 0 is success and has no kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Negative => 1,
            Self::Usage => 2,
            Self::Malformed => 3,
            Self::Limit => 4,
            Self::Untrusted => 5,
            Self::NotFound => 6,
            Self::Busy => 7,
            Self::Io => 8,
            Self::Internal => 9,
            Self::Unsupported => 10,
            Self::Mismatch => 11,
            Self::Incompatible => 12,
            Self::NotReady => 13,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The word used in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Usage => "usage",
            Self::Malformed => "malformed",
            Self::Limit => "limit",
            Self::Untrusted => "untrusted",
            Self::NotFound => "not_found",
            Self::Busy => "busy",
            Self::Io => "io",
            Self::Internal => "internal",
            Self::Unsupported => "unsupported",
            Self::Mismatch => "mismatch",
            Self::Incompatible => "incompatible",
            Self::NotReady => "not_ready",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// One line that explains the kind to a person.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Negative => "the question was answered, and the answer is no",
            Self::Usage => "wrong flags, or a request that makes no sense",
            Self::Malformed => "the input breaks its own format",
            Self::Limit => "the input exceeds a limit",
            Self::Untrusted => "a digest does not match, or a file is missing or unlisted",
            Self::NotFound => "a file, bundle, graph or name does not exist",
            Self::Busy => "a lock is held by another process, or a deadline passed",
            Self::Io => "the operating system refused: full, denied, read-only",
            Self::Internal => "a bug in Amphora",
            Self::Unsupported => "valid, but not supported here",
            Self::Mismatch => "numbers differ by more than the tolerance",
            Self::Incompatible => "a contract is not kept",
            Self::NotReady => "the requirements of a deployment target are not met",
            Self::Interrupted => "stopped by SIGINT",
            Self::Terminated => "stopped by SIGTERM",
        }
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}
