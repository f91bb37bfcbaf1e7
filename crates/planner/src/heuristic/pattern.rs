//! Patterns of routing rules.

use std::fmt;

use amphora_error::{Error, Result};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Largest pattern, in bytes.
const MAX_BYTES: usize = 4 << 10;
/// Largest program that a pattern may become, and largest cache of its search, in bytes.
const MAX_PROGRAM: usize = 1 << 20;
/// Deepest nesting.
const MAX_DEPTH: u32 = 32;

/// A regular expression that is looked for anywhere in a text: the syntax of the crate `regex`, which
/// searches in linear time. Upper and lower case differ unless it begins with `(?i)`.
///
/// ```
/// use amphora_planner::heuristic::kernel::Pattern;
///
/// let pattern = Pattern::new("(?i)cache (key|drift)")?;
/// assert!(pattern.is_in("The Cache drifts"));
/// assert!(Pattern::new("(").is_err());
/// # Ok::<(), amphora_error::Error>(())
/// ```
#[derive(Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// The pattern of this text.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Malformed`] (`routing-pattern`) for what is no regular expression,
    /// or one that is too large or too deep.
    pub fn new(text: &str) -> Result<Self> {
        let refused = |message: String| Error::malformed("routing-pattern", message);
        if text.len() > MAX_BYTES {
            return Err(refused("the pattern is too long".to_owned())
                .expected(format!("at most {MAX_BYTES} bytes"))
                .found(text.len().to_string()));
        }
        let regex = RegexBuilder::new(text)
            .size_limit(MAX_PROGRAM)
            .dfa_size_limit(MAX_PROGRAM)
            .nest_limit(MAX_DEPTH)
            .build();
        regex.map(Self).map_err(|error| {
            // The library draws the pattern over several lines, and the last one says what is wrong.
            let text = error.to_string();
            let last = text.lines().next_back().unwrap_or_default();
            refused("this is no regular expression".to_owned()).found(last.to_owned())
        })
    }

    /// Whether `text` holds it.
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.0.as_str()).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}
