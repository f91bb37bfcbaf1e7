//! Names, versions and timestamps: text types that hold only what their grammar allows.

use std::borrow::Cow;
use std::fmt;

use amphora_error::{Error, Result, quoted};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest name accepted, in bytes.
const MAX_NAME: usize = 255;

/// `text` in the alphabet of a segment of a name: lower case, everything else a hyphen, nothing but a
/// letter or a digit in front. What is left may be empty, or too long for a name.
pub fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let mapped: String = lower
        .chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '-',
        })
        .collect();
    mapped.trim_start_matches(['.', '_', '-']).to_owned()
}

/// Implements the text forms of a type that has `parse(&str)` and `as_str()`.
macro_rules! text_type {
    ($type:ident, $pattern:expr, $description:expr) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": $pattern,
                    "description": $description
                })
            }
        }
    };
}

/// The name of a model: segments `[a-z0-9][a-z0-9._-]*` joined by `/`, at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Accepts `text` only if it keeps the grammar.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() <= MAX_NAME && text.split('/').all(is_segment) {
            return Ok(Self(text.to_owned()));
        }
        Err(
            Error::malformed("name", format!("{} is not a name", quoted(text)))
                .expected("lower-case letters, digits, '.', '_' and '-', segments joined by '/'"),
        )
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Namespace and name of document 004: what is left and right of the first `/`.
    pub fn split(&self) -> (Option<Self>, Self) {
        match self.0.split_once('/') {
            Some((space, rest)) => (Some(Self(space.to_owned())), Self(rest.to_owned())),
            None => (None, self.clone()),
        }
    }

    /// The inverse of [`Name::split`].
    pub fn join(namespace: Option<&Self>, name: &Self) -> Self {
        Self(match namespace {
            Some(space) => format!("{space}/{name}"),
            None => name.0.clone(),
        })
    }
}

/// Whether `text` is one segment of a name.
pub(crate) fn is_segment(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
}

text_type!(
    Name,
    "^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$",
    "segments of lower-case letters, digits, '.', '_' and '-', joined by '/'"
);

/// The version of a model: a semantic version (semver.org 2.0.0), or the word `latest` of packages
/// that name none. Ordered by semantic precedence; `latest` sorts below every semantic version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    semantic: Option<semver::Version>,
    text: String,
}

impl Version {
    /// Accepts a semantic version or `latest`.
    pub fn parse(text: &str) -> Result<Self> {
        let semantic = match text {
            "latest" => None,
            _ => Some(semver::Version::parse(text).map_err(|source| {
                Error::malformed("version", format!("{} is not a version", quoted(text)))
                    .expected("a semantic version, for example 1.0.0")
                    .caused_by(source)
            })?),
        };
        Ok(Self {
            semantic,
            text: text.to_owned(),
        })
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parts of the semantic version; `None` for `latest`.
    pub fn semantic(&self) -> Option<&semver::Version> {
        self.semantic.as_ref()
    }
}

text_type!(
    Version,
    "^(latest|[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?(\\+[0-9A-Za-z.-]+)?)$",
    "a semantic version, or 'latest'"
);

/// A moment in UTC, written as RFC 3339 with `Z`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Timestamp {
    moment: OffsetDateTime,
    text: String,
}

impl Timestamp {
    /// Accepts RFC 3339 text; the written form is kept.
    pub fn parse(text: &str) -> Result<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|source| {
            Error::malformed("timestamp", format!("{} is not a timestamp", quoted(text)))
                .expected("RFC 3339, for example 2024-01-15T10:30:45Z")
                .caused_by(source)
        })?;
        Ok(Self {
            moment,
            text: text.to_owned(),
        })
    }

    /// The moment `seconds` after 1970-01-01T00:00:00Z (the unit of `SOURCE_DATE_EPOCH`).
    pub fn from_unix_seconds(seconds: i64) -> Result<Self> {
        let refuse = || {
            Error::usage("timestamp", "the moment lies outside the calendar")
                .found(format!("{seconds} seconds"))
        };
        let moment = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| refuse())?;
        let text = moment.format(&Rfc3339).map_err(|_| refuse())?;
        Ok(Self { moment, text })
    }

    /// The moment of a system clock's time, in whole seconds.
    pub fn from_system_time(time: std::time::SystemTime) -> Result<Self> {
        Self::from_unix_seconds(OffsetDateTime::from(time).unix_timestamp())
    }

    /// The timestamp as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.moment, &self.text).cmp(&(other.moment, &other.text))
    }
}

text_type!(
    Timestamp,
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+(Z|z|[+-][0-9]{2}:[0-9]{2})$",
    "a moment in RFC 3339"
);
