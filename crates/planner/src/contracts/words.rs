//! The closed sets of words.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        pub enum $name {
            $($(#[$item_doc])* #[serde(rename = $word)] $item,)*
        }

        impl $name {
            /// Every one, in the documents' order.
            pub const ALL: &'static [Self] = &[$(Self::$item),*];

            /// The word in the documents.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$item => $word,)*
                }
            }

            /// The one with this word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$item),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    )*};
}

words! {
    /// How urgent an issue is.
    Priority {
        /// First.
        P0 = "P0",
        /// Second.
        P1 = "P1",
        /// Third, and what a word outside the set counts as.
        P2 = "P2",
        /// Last.
        P3 = "P3",
    }
    /// How much a wrong change of an issue could break.
    Risk {
        /// Little.
        Low = "low",
        /// Some, and what a word outside the set counts as.
        Medium = "medium",
        /// Much.
        High = "high",
        /// Everything.
        Critical = "critical",
    }
    /// How large an issue is.
    Size {
        /// Tiny.
        Xs = "XS",
        /// Small.
        S = "S",
        /// Medium, and what a word outside the set counts as.
        M = "M",
        /// Large.
        L = "L",
        /// Huge.
        Xl = "XL",
    }
    /// What kind of thing a run works on.
    Domain {
        /// Source code.
        Code = "code",
        /// A single asset.
        FabAsset = "fab_asset",
        /// A world.
        FabWorld = "fab_world",
    }
    /// How a run ended.
    RunStatus {
        /// Every gate passed.
        Success = "success",
        /// It ended, and a gate did not pass.
        Failed = "failed",
        /// It was cut off.
        Timeout = "timeout",
    }
    /// What a planner may do.
    Mode {
        /// Nothing: the baseline runs, no inference.
        Off = "off",
        /// Infer and record; the baseline runs.
        Log = "log",
        /// Decide.
        Enforce = "enforce",
    }
}

impl Priority {
    /// The one with this word; P2 for any other.
    pub fn clamped(word: &str) -> Self {
        Self::from_word(word).unwrap_or(Self::P2)
    }
}

impl Risk {
    /// The one with this word; medium for any other.
    pub fn clamped(word: &str) -> Self {
        Self::from_word(word).unwrap_or(Self::Medium)
    }
}

impl Size {
    /// The one with this word; M for any other.
    pub fn clamped(word: &str) -> Self {
        Self::from_word(word).unwrap_or(Self::M)
    }
}

impl Mode {
    /// The mode with this word, of which `shadow`, `enabled` and `disabled` are older ones; off for
    /// any other.
    pub fn clamped(word: &str) -> Self {
        match word {
            "shadow" => Self::Log,
            "enabled" => Self::Enforce,
            _ => Self::from_word(word).unwrap_or(Self::Off),
        }
    }
}

macro_rules! clamped {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::clamped(&Cow::<'de, str>::deserialize(deserializer)?))
            }
        }
    )*};
}

clamped! { Priority Risk Size Mode }

macro_rules! exact {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = Cow::<'de, str>::deserialize(deserializer)?;
                Self::from_word(&word).ok_or_else(|| {
                    serde::de::Error::custom(format_args!(
                        "{} is not one of the words that are known here",
                        amphora_error::quoted(&word)
                    ))
                })
            }
        }
    )*};
}

exact! { Domain RunStatus }
