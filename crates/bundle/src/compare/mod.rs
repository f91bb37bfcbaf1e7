//! What differs between two bundles.

mod markdown;
mod weights;

use std::collections::{BTreeMap, BTreeSet};

use amphora_error::Result;
use amphora_files::json;
use serde::Serialize;
use serde_json::Value;

pub use weights::WeightChanges;

use crate::manifest::{Graph, IoSpec, parse_yaml};
use crate::{Bundle, BundleId, Name, Version, is_payload, parse_metrics};

/// Metrics of which less is better, by the last part of their name. Everything else counts as
/// better when it is more.
const LOWER_IS_BETTER: [&str; 9] = [
    "ece", "mce", "loss", "nll", "brier", "mae", "mse", "rmse", "error",
];

/// The differences between two bundles.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Whether both have the same id.
    pub identical: bool,
    /// Which bundles were compared.
    pub bundles: Pair<Compared>,
    /// Every metric that either states.
    pub metrics: BTreeMap<String, MetricChange>,
    /// What differs in the configuration, by dotted key.
    pub config: BTreeMap<String, Change>,
    /// Which deployment formats are there.
    pub formats: Formats,
    /// What differs in the graphs' inputs, outputs and operator sets, by dotted key.
    pub contract: BTreeMap<String, Change>,
    /// Which weights differ, by graph.
    pub weights: BTreeMap<String, WeightChanges>,
    /// Which payload files differ.
    pub files: FileChanges,
}

/// The same of both bundles.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair<T> {
    /// Of the first.
    pub bundle1: T,
    /// Of the second.
    pub bundle2: T,
}

/// A value that differs; `None` where a bundle does not have it.
pub type Change = Pair<Option<Value>>;

/// One of the two bundles.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// The first 12 digits of the id.
    pub hash: String,
    /// The id.
    pub id: BundleId,
    /// Namespace and name.
    pub name: Name,
    /// The version.
    pub version: Version,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricChange {
    /// Its value in the first bundle.
    pub bundle1: Option<f64>,
    /// Its value in the second.
    pub bundle2: Option<f64>,
    /// The second minus the first.
    pub delta: Option<f64>,
    /// Whether more or less is better.
    pub better: Direction,
    /// Whether the second is better than the first; equal is not.
    pub improvement: Option<bool>,
}

/// Whether more or less of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// Which deployment formats are there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Formats {
    /// Only in the first bundle.
    pub bundle1_only: Vec<String>,
    /// Only in the second.
    pub bundle2_only: Vec<String>,
    /// In both.
    pub common: Vec<String>,
}

/// Which payload files differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileChanges {
    /// Only in the first bundle.
    pub bundle1_only: Vec<String>,
    /// Only in the second.
    pub bundle2_only: Vec<String>,
    /// In both, with different bytes.
    pub changed: Vec<String>,
}

/// Compares two bundles. Every file that is looked into is compared with its manifest first.
pub fn compare(bundle1: &Bundle, bundle2: &Bundle) -> Result<Comparison> {
    let both = Pair { bundle1, bundle2 };
    Ok(Comparison {
        identical: bundle1.id() == bundle2.id(),
        bundles: Pair {
            bundle1: compared(bundle1),
            bundle2: compared(bundle2),
        },
        metrics: metric_changes(&both)?,
        config: changes(config(bundle1)?, config(bundle2)?),
        formats: format_changes(&both),
        contract: changes(contract(bundle1), contract(bundle2)),
        weights: weights::changes(bundle1, bundle2)?,
        files: file_changes(&both),
    })
}

impl Comparison {
    /// The comparison as a Markdown document.
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }
}

fn compared(bundle: &Bundle) -> Compared {
    let metadata = &bundle.manifest().metadata;
    Compared {
        hash: bundle.id().exp_hash(),
        id: bundle.id(),
        name: metadata.full_name(),
        version: metadata.version.clone(),
    }
}

fn metric_changes(both: &Pair<&Bundle>) -> Result<BTreeMap<String, MetricChange>> {
    let (first, second) = (metrics(both.bundle1)?, metrics(both.bundle2)?);
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let change = |name: &String| {
        let (bundle1, bundle2) = (first.get(name).copied(), second.get(name).copied());
        let better = direction(name);
        let both = bundle1.zip(bundle2);
        MetricChange {
            bundle1,
            bundle2,
            delta: both.map(|(one, two)| two - one),
            better,
            improvement: both.map(|(one, two)| match better {
                Direction::Higher => two > one,
                Direction::Lower => two < one,
            }),
        }
    };
    Ok(names
        .into_iter()
        .map(|name| (name.clone(), change(name)))
        .collect())
}

fn metrics(bundle: &Bundle) -> Result<BTreeMap<String, f64>> {
    match &bundle.manifest().assets.metrics {
        Some(path) => parse_metrics(&bundle.read(path)?)
            .map_err(|error| error.in_file(path.beneath(bundle.path()))),
        None => Ok(BTreeMap::new()),
    }
}

fn direction(metric: &str) -> Direction {
    let last = metric.rsplit('.').next().unwrap_or(metric);
    let lower = |word: &str| {
        last.strip_suffix(word)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
    };
    if LOWER_IS_BETTER.into_iter().any(lower) {
        Direction::Lower
    } else {
        Direction::Higher
    }
}

/// The configuration by dotted key. One that is neither JSON nor plain YAML is compared as a whole.
fn config(bundle: &Bundle) -> Result<BTreeMap<String, Value>> {
    let Some(path) = &bundle.manifest().assets.config else {
        return Ok(BTreeMap::new());
    };
    let bytes = bundle.read(path)?;
    let parsed = match path.as_str().ends_with(".json") {
        true => json::parse(&bytes),
        false => parse_yaml(&bytes),
    };
    Ok(match parsed {
        Ok(value) => dotted(&value),
        Err(_) => BTreeMap::from([(
            format!("{path} (sha256)"),
            Value::from(amphora_files::sha256(&bytes).to_string()),
        )]),
    })
}

/// Scalars, lists of scalars and empty collections, by the keys on the way to them.
fn dotted(value: &Value) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    let mut open = vec![(String::new(), value)];
    while let Some((key, value)) = open.pop() {
        let join = |part: &str| match key.as_str() {
            "" => part.to_owned(),
            key => format!("{key}.{part}"),
        };
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                open.extend(entries.iter().map(|(part, value)| (join(part), value)));
            }
            Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                let numbered = items.iter().enumerate();
                open.extend(numbered.map(|(index, item)| (join(&index.to_string()), item)));
            }
            leaf => {
                leaves.insert(key, leaf.clone());
            }
        }
    }
    leaves
}

fn contract(bundle: &Bundle) -> BTreeMap<String, Value> {
    let mut lines = BTreeMap::new();
    for (name, graph) in &bundle.manifest().spec.graphs {
        lines.extend(graph_lines(name, graph));
    }
    lines
}

fn graph_lines(name: &str, graph: &Graph) -> BTreeMap<String, Value> {
    let mut lines = BTreeMap::from([
        (format!("{name}.opset"), Value::from(graph.opset)),
        (format!("{name}.role"), Value::from(graph.role.as_str())),
    ]);
    for (side, specs) in [("inputs", &graph.io.inputs), ("outputs", &graph.io.outputs)] {
        for spec in specs {
            let key = format!("{name}.{side}.{}", spec.name);
            lines.insert(key, Value::from(tensor_type(spec)));
        }
    }
    lines
}

/// Dtype and shape in one line, for example `float32 [batch_size, 9, 2, 100]`.
pub(crate) fn tensor_type(spec: &IoSpec) -> String {
    match spec.tensor_spec().shape {
        Some(dims) => {
            let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
            format!("{} [{}]", spec.dtype, dims.join(", "))
        }
        None => format!("{} of any rank", spec.dtype),
    }
}

fn changes(
    mut first: BTreeMap<String, Value>,
    second: BTreeMap<String, Value>,
) -> BTreeMap<String, Change> {
    let mut changes = BTreeMap::new();
    for (key, bundle2) in second {
        let bundle1 = first.remove(&key);
        if bundle1.as_ref() != Some(&bundle2) {
            let bundle2 = Some(bundle2);
            changes.insert(key, Pair { bundle1, bundle2 });
        }
    }
    for (key, value) in first {
        let bundle1 = Some(value);
        let bundle2 = None;
        changes.insert(key, Pair { bundle1, bundle2 });
    }
    changes
}

fn format_changes(both: &Pair<&Bundle>) -> Formats {
    let present = |bundle: &Bundle| -> BTreeSet<String> {
        let formats = bundle.manifest().formats.iter();
        formats
            .filter(|(_, entry)| entry.file.is_some())
            .map(|(name, _)| name.clone())
            .collect()
    };
    let (first, second) = (present(both.bundle1), present(both.bundle2));
    Formats {
        bundle1_only: first.difference(&second).cloned().collect(),
        bundle2_only: second.difference(&first).cloned().collect(),
        common: first.intersection(&second).cloned().collect(),
    }
}

fn file_changes(both: &Pair<&Bundle>) -> FileChanges {
    let payload = |bundle: &Bundle| -> BTreeMap<String, amphora_files::Digest> {
        let files = bundle.manifest().files.iter().filter(|f| is_payload(f));
        files.map(|f| (f.path.to_string(), f.sha256)).collect()
    };
    let (first, second) = (payload(both.bundle1), payload(both.bundle2));
    let without = |all: &BTreeMap<String, _>, other: &BTreeMap<String, _>| {
        let only = all.keys().filter(|path| !other.contains_key(*path));
        only.cloned().collect()
    };
    FileChanges {
        bundle1_only: without(&first, &second),
        bundle2_only: without(&second, &first),
        changed: first
            .iter()
            .filter(|(path, digest)| second.get(*path).is_some_and(|other| other != *digest))
            .map(|(path, _)| path.clone())
            .collect(),
    }
}
