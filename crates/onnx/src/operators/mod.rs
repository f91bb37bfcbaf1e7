//! The operators of the ONNX standard: every version of every operator.
//!
//! The table is data, `operators/operators.tsv` in this crate, written once by `operators/generate.py`
//! from the schemas that the Python package `onnx` publishes. The text is compiled in and parsed on
//! first use.
//!
//! ```
//! use amphora_onnx::operators;
//!
//! let conv = operators::find("", "Conv", 14).unwrap();
//! assert_eq!(conv.since_version, 11);
//! assert!(conv.inputs.allows(2) && conv.inputs.allows(3) && !conv.inputs.allows(1));
//! assert!(operators::find("", "LayerNormalization", 14).is_none());
//! ```

mod parse;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use crate::proto::AttributeType;

static TABLE: LazyLock<Table> =
    LazyLock::new(|| parse::table(include_str!("../../operators/operators.tsv")));

/// One version of one operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    /// The domain; the default domain `ai.onnx` is the empty string, as in files.
    pub domain: &'static str,
    /// The name (`op_type` of a node).
    pub name: &'static str,
    /// The operator-set version that introduced this version of the operator.
    pub since_version: u64,
    /// Whether this version withdraws the operator.
    pub deprecated: bool,
    /// Whether nodes may carry attributes that the schema does not declare.
    pub undeclared_attributes: bool,
    /// The inputs.
    pub inputs: Signature,
    /// The outputs.
    pub outputs: Signature,
    /// The attributes, sorted by name.
    pub attributes: Vec<Attribute>,
}

/// The inputs, or the outputs, of an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// The formal parameters, in order; a variadic one is last.
    pub parameters: Vec<Parameter>,
    counts: Counts,
}

#[derive(Debug, Clone, PartialEq)]
enum Counts {
    Between(usize, Option<usize>),
    OneOf(Vec<usize>),
}

/// A formal input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The name in the schema.
    pub name: &'static str,
    /// The type variable, for example `T`, or one type such as `tensor(int64)`.
    pub type_variable: &'static str,
    /// The types allowed, spelled as in the schema, for example `tensor(float)`.
    pub types: &'static [&'static str],
    /// How often it occurs.
    pub presence: Presence,
}

/// How often a formal parameter occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Exactly once.
    Single,
    /// At most once; an empty name in the middle leaves it out.
    Optional,
    /// Any number of times, all of one type.
    Variadic,
    /// Any number of times, types may differ.
    VariadicMixed,
}

/// An attribute of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// The name.
    pub name: &'static str,
    /// The type.
    pub kind: AttributeType,
    /// Whether a node must carry it.
    pub required: bool,
}

struct Table {
    source: &'static str,
    newest_ir: u64,
    domains: Vec<(&'static str, RangeInclusive<u64>)>,
    /// By domain, then name, then version.
    operators: Vec<Operator>,
    /// The versions of one operator, as a range of `operators`.
    index: HashMap<(&'static str, &'static str), RangeInclusive<usize>>,
}

impl Operator {
    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        let found = self
            .attributes
            .binary_search_by(|attribute| attribute.name.cmp(name));
        found.ok().and_then(|index| self.attributes.get(index))
    }
}

impl Signature {
    /// Whether a node may have this many.
    pub fn allows(&self, count: usize) -> bool {
        match &self.counts {
            Counts::Between(least, most) => {
                count >= *least && most.is_none_or(|most| count <= most)
            }
            Counts::OneOf(allowed) => allowed.contains(&count),
        }
    }

    /// The parameter at this position; a variadic one repeats.
    pub fn at(&self, position: usize) -> Option<&Parameter> {
        let last = self.parameters.last().filter(|last| last.is_variadic());
        self.parameters.get(position).or(last)
    }

    /// The numbers allowed, for people: `2 to 3`, `at least 1`, `1 or 5`.
    pub fn counts(&self) -> String {
        match &self.counts {
            Counts::Between(least, Some(most)) if least == most => least.to_string(),
            Counts::Between(least, Some(most)) => format!("{least} to {most}"),
            Counts::Between(least, None) => format!("at least {least}"),
            Counts::OneOf(allowed) => {
                let words: Vec<String> = allowed.iter().map(usize::to_string).collect();
                words.join(" or ")
            }
        }
    }
}

impl Parameter {
    /// Whether it repeats.
    pub fn is_variadic(&self) -> bool {
        matches!(self.presence, Presence::Variadic | Presence::VariadicMixed)
    }
}

/// Every version of every operator, sorted by domain, name and version.
pub fn all() -> &'static [Operator] {
    &TABLE.operators
}

/// The operator that a node of this domain (`""` or `ai.onnx` for the default one) and name means in
/// a model that imports `opset`; `None` when that operator set has no such operator.
///
/// A withdrawn operator is found too: look at [`Operator::deprecated`].
pub fn find(domain: &str, name: &str, opset: u64) -> Option<&'static Operator> {
    versions(domain, name)
        .iter()
        .rev()
        .find(|operator| operator.since_version <= opset)
}

/// Every version of one operator, oldest first.
pub fn versions(domain: &str, name: &str) -> &'static [Operator] {
    TABLE
        .index
        .get(&(canonical_domain(domain), name))
        .and_then(|range| TABLE.operators.get(range.clone()))
        .unwrap_or_default()
}

/// The operator-set versions known of a domain, or `None` for a custom domain.
pub fn opsets(domain: &str) -> Option<RangeInclusive<u64>> {
    let domain = canonical_domain(domain);
    let found = TABLE.domains.iter().find(|row| row.0 == domain);
    found.map(|row| row.1.clone())
}

/// The newest version of the ONNX intermediate representation known.
pub fn newest_ir_version() -> u64 {
    TABLE.newest_ir
}

/// The version of the Python package `onnx` whose schemas the table holds.
pub fn source_version() -> &'static str {
    TABLE.source
}

/// `ai.onnx` and the empty string name the same domain; this returns the empty one.
pub fn canonical_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}
