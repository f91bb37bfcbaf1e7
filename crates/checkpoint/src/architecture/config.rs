//! Reading a configuration: every fault is collected, then reported at once.

use std::ops::RangeInclusive;

use amphora_error::{Error, Result, quoted};
use serde_json::{Map, Value};

use super::Head;

/// Largest width, vocabulary, length or class count accepted: products of two stay far from 2^64.
pub(super) const MAX_SIZE: u64 = 1 << 24;
/// Largest number of layers or loops accepted; graphs unroll them.
pub(super) const MAX_DEPTH: u64 = 256;
/// Largest number of heads accepted.
const MAX_HEADS: usize = 64;
/// Names that a graph gives to its inputs and buffers; an output of that name would be a second value.
const RESERVED_HEADS: [&str; 5] = [
    "input",
    "input_ids",
    "attention_mask",
    "rope_cos",
    "rope_sin",
];

/// The first of several spellings of a key that the configuration has; the first of all where it has
/// none.
pub(super) fn spelled(object: &Map<String, Value>, spellings: &[&'static str]) -> &'static str {
    let there = spellings.iter().find(|key| object.contains_key(**key));
    there.or(spellings.first()).copied().unwrap_or_default()
}

/// Reads keys and collects faults. After a fault a reading method returns a harmless value of the
/// right type, so that reading goes on; [`Reader::finish`] then returns the error.
#[derive(Default)]
pub(super) struct Reader {
    invalid: Vec<String>,
    unsupported: Vec<String>,
}

impl Reader {
    /// A whole number that must be there.
    pub(super) fn size(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> u64 {
        match object.get(key) {
            None => {
                self.invalid(format!("`{key}` is missing"));
                *range.start()
            }
            Some(value) => self.whole(key, value, range),
        }
    }

    /// A whole number that has a default.
    pub(super) fn size_or(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        match object.get(key) {
            None | Some(Value::Null) => default,
            Some(value) => self.whole(key, value, range),
        }
    }

    /// `value` as a whole number within `range`.
    pub(super) fn whole(&mut self, key: &str, value: &Value, range: RangeInclusive<u64>) -> u64 {
        match value.as_u64().filter(|size| range.contains(size)) {
            Some(size) => size,
            None => {
                let (low, high) = (range.start(), range.end());
                self.invalid(format!(
                    "`{key}`: expected a whole number from {low} to {high}, found {}",
                    shown(value)
                ));
                *low
            }
        }
    }

    /// A list of whole numbers, `None` when the key is absent.
    pub(super) fn sizes(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        count: RangeInclusive<usize>,
        range: RangeInclusive<u64>,
    ) -> Option<Vec<u64>> {
        let value = object.get(key).filter(|value| !value.is_null())?;
        match value.as_array().filter(|list| count.contains(&list.len())) {
            Some(list) => Some(
                list.iter()
                    .map(|value| self.whole(key, value, range.clone()))
                    .collect(),
            ),
            None => {
                let (low, high) = (count.start(), count.end());
                self.invalid(format!(
                    "`{key}`: expected a list of {low} to {high} numbers, found {}",
                    shown(value)
                ));
                Some(vec![*range.start(); *low])
            }
        }
    }

    /// A real number for which `accept` holds, as `expected` says in words.
    pub(super) fn real_or(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        default: f64,
        expected: &str,
        accept: impl Fn(f64) -> bool,
    ) -> f64 {
        match object.get(key) {
            None | Some(Value::Null) => default,
            Some(value) => match value.as_f64().filter(|real| accept(*real)) {
                Some(real) => real,
                None => {
                    self.invalid(format!(
                        "`{key}`: expected {expected}, found {}",
                        shown(value)
                    ));
                    default
                }
            },
        }
    }

    /// A switch that has a default.
    pub(super) fn flag_or(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        default: bool,
    ) -> bool {
        match object.get(key) {
            None | Some(Value::Null) => default,
            Some(Value::Bool(flag)) => *flag,
            Some(value) => {
                self.invalid(format!(
                    "`{key}`: expected true or false, found {}",
                    shown(value)
                ));
                default
            }
        }
    }

    /// The epsilon of a normalization: positive, and representable in float32.
    pub(super) fn epsilon_or(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        default: f64,
    ) -> f64 {
        self.real_or(object, key, default, "a small positive number", |real| {
            (f64::from(f32::MIN_POSITIVE)..1.0).contains(&real)
        })
    }

    /// A key that may be absent, and otherwise must ask for what is implemented.
    pub(super) fn only(&mut self, object: &Map<String, Value>, key: &str, implemented: &str) {
        match object.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text == implemented => {}
            Some(value) => self.unsupported(format!(
                "`{key}`: only {} is implemented, found {}",
                quoted(implemented),
                shown(value)
            )),
        }
    }

    /// The heads: `{"name": n}` or `{"name": {"n_classes": n}}`, in the order of the file. Where
    /// `heads` is absent, document 000's `action_space` gives them.
    pub(super) fn heads(&mut self, object: &Map<String, Value>) -> Vec<Head> {
        let Some(heads) = object.get("heads") else {
            if let Some(space) = object.get("action_space").and_then(Value::as_object) {
                return self.action_space_heads(space);
            }
            self.invalid("`heads` is missing");
            return Vec::new();
        };
        let Some(heads) = heads
            .as_object()
            .filter(|heads| (1..=MAX_HEADS).contains(&heads.len()))
        else {
            self.invalid(format!(
                "`heads`: expected a mapping of 1 to {MAX_HEADS} names to class counts, found {}",
                shown(heads)
            ));
            return Vec::new();
        };
        heads
            .iter()
            .map(|(name, value)| {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
                if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
                    self.invalid(format!(
                        "`heads`: expected names of up to 64 letters, digits and `_`, found {}",
                        quoted(name)
                    ));
                }
                if RESERVED_HEADS.contains(&name.as_str()) {
                    self.invalid(format!(
                        "`heads`: the name '{name}' is taken by an input or buffer"
                    ));
                }
                let count = value
                    .as_object()
                    .map_or(value, |head| head.get("n_classes").unwrap_or(&Value::Null));
                Head {
                    name: name.clone(),
                    n_classes: self.whole(&format!("heads.{name}"), count, 1..=MAX_SIZE),
                }
            })
            .collect()
    }

    fn action_space_heads(&mut self, space: &Map<String, Value>) -> Vec<Head> {
        // Class counts of document 000's default bins; the swarms have no default.
        let rows = [
            ("swarm", "swarm_ids", None),
            ("candidates", "max_candidates_bins", Some(4)),
            ("minutes", "max_minutes_bins", Some(6)),
            ("iterations", "max_iterations_bins", Some(5)),
        ];
        rows.into_iter()
            .map(|(name, key, default)| {
                let count = match space.get(key) {
                    Some(Value::Array(list)) if !list.is_empty() => Some(list.len() as u64),
                    Some(_) => None,
                    None => default,
                };
                if count.is_none() {
                    self.invalid(format!("`action_space.{key}`: expected a list of choices"));
                }
                Head {
                    name: name.to_owned(),
                    n_classes: count.unwrap_or(1),
                }
            })
            .collect()
    }

    /// Whether every value so far is what the configuration says: what does not fit a value that stands
    /// in for another is no fault.
    pub(super) fn is_sound(&self) -> bool {
        self.invalid.is_empty()
    }

    /// Records a value that is missing, mistyped or out of range.
    pub(super) fn invalid(&mut self, fault: impl Into<String>) {
        self.invalid.push(fault.into());
    }

    /// Records a value that asks for a computation that is not implemented.
    pub(super) fn unsupported(&mut self, fault: impl Into<String>) {
        self.unsupported.push(fault.into());
    }

    /// `value` when nothing was wrong.
    pub(super) fn finish<T>(self, model_type: &str, value: T) -> Result<T> {
        if !self.invalid.is_empty() {
            return Err(Error::malformed(
                "config-invalid",
                format!("the configuration of the {model_type} model is not valid"),
            )
            .faults([self.invalid, self.unsupported].concat()));
        }
        if !self.unsupported.is_empty() {
            return Err(Error::unsupported(
                "config-unsupported",
                format!("the configuration asks for a {model_type} model that is not implemented"),
            )
            .faults(self.unsupported)
            .hint("export the model to ONNX yourself and pack that file"));
        }
        Ok(value)
    }
}

/// A value for an error message: scalars as they are, containers by their kind.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text).to_string(),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(object) => format!("a mapping of {}", object.len()),
        scalar => scalar.to_string(),
    }
}
