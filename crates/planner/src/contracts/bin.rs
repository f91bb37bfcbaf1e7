//! One class of a budget.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One class of a budget: a count, or `"NA"` where the budget does not apply or is not limited.
///
/// Ordered as the enumeration of actions wants it: counts ascending, then `NA`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bin {
    /// So many candidates, minutes or iterations.
    Count(u32),
    /// `"NA"`.
    NotApplicable,
}

impl Bin {
    /// The count, if there is one.
    pub fn count(self) -> Option<u32> {
        match self {
            Self::Count(count) => Some(count),
            Self::NotApplicable => None,
        }
    }
}

impl fmt::Display for Bin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::NotApplicable => f.write_str("NA"),
        }
    }
}

impl Serialize for Bin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::NotApplicable => serializer.serialize_str("NA"),
        }
    }
}

impl<'de> Deserialize<'de> for Bin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BinVisitor;

        impl Visitor<'_> for BinVisitor {
            type Value = Bin;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count or \"NA\"")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Bin, E> {
                u32::try_from(count)
                    .map(Bin::Count)
                    .map_err(|_| E::custom("the count is too large"))
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Bin, E> {
                u64::try_from(count)
                    .map_err(|_| E::custom("the count is negative"))
                    .and_then(|count| self.visit_u64(count))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bin, E> {
                match text {
                    "NA" => Ok(Bin::NotApplicable),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(BinVisitor)
    }
}

impl JsonSchema for Bin {
    fn schema_name() -> Cow<'static, str> {
        "Bin".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A count, or \"NA\" where the budget does not apply.",
            "oneOf": [
                {"type": "integer", "minimum": 0, "maximum": u32::MAX},
                {"const": "NA"}
            ]
        })
    }
}
