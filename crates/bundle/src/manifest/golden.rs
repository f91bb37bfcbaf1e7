//! Golden vectors and how close an engine must come to them.

use std::collections::BTreeMap;
use std::fmt;

use amphora_files::RelativePath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The golden vectors of one graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// The safetensors file with inputs and reference outputs.
    pub file: RelativePath,
    /// What agreement with these vectors proves.
    pub kind: GoldenKind,
    /// Who computed the outputs: program, version, precision.
    pub producer: String,
    /// How many cases there are.
    pub cases: u64,
    /// The policy for each output that is compared, keyed by its name.
    pub tolerance: BTreeMap<String, Tolerance>,
}

/// What agreement with golden vectors proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GoldenKind {
    /// The outputs come from a reference that does not share the graph: agreement proves that the
    /// graph computes the same function.
    Equivalence,
    /// The outputs come from running the graph itself: agreement proves only that another engine
    /// computes what the first one did.
    Reproducibility,
    /// The packer supplied inputs and outputs; what they prove is the packer's word.
    Supplied,
}

/// How close one output must come. Every rule that is set must hold; at least one is set.
///
/// `absolute` and `relative` together accept a value `v` against the reference `r` when `v == r` or
/// `|v - r| < absolute + relative * |r|` (an absent one counts as 0).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// Absolute tolerance, in the output's unit.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "finite"
    )]
    pub absolute: Option<f64>,
    /// Relative tolerance, a fraction of the reference.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "finite"
    )]
    pub relative: Option<f64>,
    /// The fraction of rows whose largest element must stand at the reference's index, 0 to 1; the
    /// last axis is searched.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "finite"
    )]
    pub argmax_agreement: Option<f64>,
    /// The fraction of elements that must equal the reference, 0 to 1 (token ids, codes).
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "finite"
    )]
    pub token_agreement: Option<f64>,
    /// Every element equals the reference.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exact: bool,
}

/// The rules that are set, for people.
impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = [
            self.absolute.map(|x| format!("absolute {x:e}")),
            self.relative.map(|x| format!("relative {x:e}")),
            self.argmax_agreement
                .map(|x| format!("argmax agreement {x}")),
            self.token_agreement.map(|x| format!("token agreement {x}")),
            self.exact.then(|| "exact".to_owned()),
        ];
        let rules: Vec<String> = rules.into_iter().flatten().collect();
        f.write_str(&rules.join(", "))
    }
}

impl Tolerance {
    /// Absolute and relative closeness.
    pub fn close(absolute: f64, relative: f64) -> Self {
        Self {
            absolute: Some(absolute),
            relative: Some(relative),
            ..Self::default()
        }
    }

    /// Every element equals the reference.
    pub fn exact() -> Self {
        Self {
            exact: true,
            ..Self::default()
        }
    }

    /// The broken rule, if there is one.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let closeness = [self.absolute, self.relative];
        let fractions = [self.argmax_agreement, self.token_agreement];
        if closeness
            .iter()
            .flatten()
            .any(|x| !x.is_finite() || *x < 0.0)
        {
            return Some("a tolerance is negative or not finite");
        }
        if fractions.iter().flatten().any(|x| !(0.0..=1.0).contains(x)) {
            return Some("an agreement is not a fraction between 0 and 1");
        }
        if !self.exact && closeness.iter().chain(&fractions).all(Option::is_none) {
            return Some("no rule is set");
        }
        None
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Reads a finite number, so that the refusal of any other names its line.
pub(super) fn finite<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<f64>, D::Error> {
    let number = Option::<f64>::deserialize(deserializer)?;
    match number {
        Some(number) if !number.is_finite() => {
            Err(serde::de::Error::custom("the number is not finite"))
        }
        number => Ok(number),
    }
}
