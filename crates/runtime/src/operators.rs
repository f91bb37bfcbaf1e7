//! Which operators each engine runs, from our own tables.
//!
//! An engine names the first operator it does not know and stops. These tables, one file for each
//! engine under `operators/` of this crate and written by `operators/generate.py`, let a refusal list
//! all of them.

use std::collections::BTreeMap;

use amphora_error::{Error, Result, printable};
use amphora_onnx::Model;
use amphora_onnx::operators::{canonical_domain, find};
use amphora_onnx::visit::{self, Item};

/// An operator that an engine does not run, and how often the model uses it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnsupportedOperator {
    /// The domain; empty for `ai.onnx`.
    pub domain: String,
    /// The operator.
    pub name: String,
    /// The version of the domain's operator set that the model imports; 0 when it imports none.
    pub opset: u64,
    /// Nodes of this operator, in sub-graphs and functions too.
    pub count: u64,
}

impl std::fmt::Display for UnsupportedOperator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let domain = if self.domain.is_empty() {
            "ai.onnx"
        } else {
            &self.domain
        };
        let times = if self.count == 1 { "node" } else { "nodes" };
        write!(
            f,
            "{}.{} (opset {}, {} {times})",
            printable(domain),
            printable(&self.name),
            self.opset,
            self.count
        )
    }
}

/// The operators of one engine.
#[derive(Debug)]
pub(crate) struct Table {
    /// The version of the engine that the table was made from.
    pub(crate) version: &'static str,
    /// Ranges of operator-set versions, both ends included, by domain and operator.
    ranges: BTreeMap<(&'static str, &'static str), Vec<(u64, u64)>>,
}

impl Table {
    /// Parses a table that is compiled in; `generate.py` documents the columns. A line that is not of
    /// this form is left out, which the tests of the tables would notice.
    pub(crate) fn parse(text: &'static str) -> Self {
        let mut table = Self {
            version: "",
            ranges: BTreeMap::new(),
        };
        for line in text.lines() {
            if let Some(version) = line.strip_prefix("# version: ") {
                table.version = version;
            }
            let mut columns = line.split('\t');
            if let (Some(domain), Some(name), Some(spans), None) = (
                columns.next(),
                columns.next(),
                columns.next(),
                columns.next(),
            ) {
                let spans = spans.split(',').filter_map(parse_span).collect();
                table.ranges.insert((canonical_domain(domain), name), spans);
            }
        }
        table
    }

    /// Whether the engine runs an operator as the given version of its operator set defines it.
    pub(crate) fn supports(&self, domain: &str, name: &str, opset: u64) -> bool {
        // A kernel is chosen by the version of the operator, not of the operator set.
        let version = find(domain, name, opset).map_or(opset, |op| op.since_version);
        let spans = self
            .ranges
            .get(&(domain, name))
            .or_else(|| self.ranges.get(&("*", name)));
        spans.is_some_and(|spans| {
            spans
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&version))
        })
    }

    /// Every operator of `model` that is neither in the table nor, when the engine `expands` them, a
    /// function of the model itself.
    pub(crate) fn unsupported(&self, model: &Model, expands: bool) -> Vec<UnsupportedOperator> {
        let proto = model.proto();
        let opset = |domain: &str| {
            let import = proto
                .opset_import
                .iter()
                .find(|import| canonical_domain(import.domain()) == domain);
            import.map_or(0, |import| u64::try_from(import.version()).unwrap_or(0))
        };
        let is_function = |domain: &str, name: &str| {
            expands
                && proto.functions.iter().any(|function| {
                    canonical_domain(function.domain()) == domain && function.name() == name
                })
        };
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        // The walk fails only beyond a depth that a model cannot have once it is decoded.
        let _ = visit::items(proto, &mut |_, item| {
            if let Item::Node(node) = item {
                let key = (canonical_domain(node.domain()), node.op_type());
                *counts.entry(key).or_default() += 1;
            }
            Ok(())
        });
        counts
            .into_iter()
            .filter(|((domain, name), _)| {
                !self.supports(domain, name, opset(domain)) && !is_function(domain, name)
            })
            .map(|((domain, name), count)| UnsupportedOperator {
                domain: domain.to_owned(),
                name: name.to_owned(),
                opset: opset(domain),
                count,
            })
            .collect()
    }
}

fn parse_span(span: &str) -> Option<(u64, u64)> {
    let (first, last) = span.split_once('-')?;
    let last = if last.is_empty() {
        u64::MAX
    } else {
        last.parse().ok()?
    };
    Some((first.parse().ok()?, last))
}

/// One error that lists every operator an engine does not run; `Ok` when there is none.
pub(crate) fn refuse(engine: &str, version: &str, missing: &[UnsupportedOperator]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(
        "engine-operators",
        format!("{engine} {version} does not run all operators of the model"),
    )
    .faults(missing.iter().map(ToString::to_string).collect())
    .hint("choose another engine; 'amphora doctor' lists those at hand"))
}
