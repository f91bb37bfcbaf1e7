//! A decoded value as JSON.

use serde_json::{Map, Number, Value as Json};

use super::{Id, Pickle, Value};

/// Deepest nesting of a configuration.
const DEPTH: usize = 32;
/// Most values of a configuration, counted where they are used, so that shared values cannot multiply.
const VALUES: usize = 100_000;

impl Pickle<'_> {
    /// The dictionary at `id` as JSON, tuples as lists; `None` where it holds anything that JSON
    /// cannot express, or is deeper or larger than a configuration is.
    pub(crate) fn to_json(&self, id: Id) -> Option<Map<String, Json>> {
        match self.json(id, DEPTH, &mut { VALUES })? {
            Json::Object(object) => Some(object),
            _ => None,
        }
    }

    fn json(&self, id: Id, depth: usize, budget: &mut usize) -> Option<Json> {
        let depth = depth.checked_sub(1)?;
        *budget = budget.checked_sub(1)?;
        match self.get(id) {
            Value::None => Some(Json::Null),
            Value::Bool(value) => Some(Json::Bool(*value)),
            Value::Int(value) => Number::from_i128(*value).map(Json::Number),
            Value::Float(value) => Number::from_f64(*value).map(Json::Number),
            Value::Text(text) => Some(Json::String((*text).to_owned())),
            Value::Tuple(items) | Value::List(items) => {
                let items = items.iter().map(|item| self.json(*item, depth, budget));
                items.collect::<Option<Vec<_>>>().map(Json::Array)
            }
            Value::Map { entries, .. } => {
                let entries = entries.iter().map(|(key, value)| {
                    Some((
                        self.text(*key)?.to_owned(),
                        self.json(*value, depth, budget)?,
                    ))
                });
                entries.collect::<Option<Map<_, _>>>().map(Json::Object)
            }
            Value::Bytes | Value::Name(_) | Value::Call(..) | Value::Persistent(_) => None,
        }
    }
}
