//! `metrics.json` and `label_map.json`, flat or wrapped.

use std::collections::BTreeMap;

use amphora_error::{Error, Result};
use amphora_files::json;
use serde_json::{Map, Value};

/// The numbers of a metrics file: `{"accuracy": 0.9, ...}`, or the same under the key `metrics`.
/// Nested objects become dotted keys; what is no number is left out.
pub fn parse_metrics(bytes: &[u8]) -> Result<BTreeMap<String, f64>> {
    let value = json::parse(bytes)?;
    let metrics = object(&value, "metrics-form", "the metrics are no JSON object")?;
    let metrics = match metrics.get("metrics") {
        Some(Value::Object(inner)) => inner,
        _ => metrics,
    };
    let mut numbers = BTreeMap::new();
    let mut open: Vec<(String, &Map<String, Value>)> = vec![(String::new(), metrics)];
    while let Some((prefix, entries)) = open.pop() {
        for (key, value) in entries {
            match value {
                Value::Number(number) => {
                    if let Some(number) = number.as_f64() {
                        numbers.insert(format!("{prefix}{key}"), number);
                    }
                }
                Value::Object(inner) => open.push((format!("{prefix}{key}."), inner)),
                _ => {}
            }
        }
    }
    Ok(numbers)
}

/// The labels of a label map by class number: `{"0": "rest", ...}`, the inverse
/// `{"rest": 0, ...}`, a list `["rest", ...]`, or any of them under the key `mapping`.
pub fn parse_labels(bytes: &[u8]) -> Result<BTreeMap<u64, String>> {
    let value = json::parse(bytes)?;
    let value = value.get("mapping").unwrap_or(&value);
    let refuse = || {
        Error::malformed("label-map-form", "this is no label map")
            .expected("an object from class numbers to labels")
    };
    if let Value::Array(items) = value {
        return items
            .iter()
            .zip(0..)
            .map(|(item, class)| Some((class, item.as_str()?.to_owned())))
            .collect::<Option<_>>()
            .ok_or_else(refuse);
    }
    let mut labels = BTreeMap::new();
    for (key, value) in object(value, "label-map-form", "this is no label map")? {
        let (class, label) = match value {
            Value::String(label) => (key.parse::<u64>().map_err(|_| refuse())?, label.clone()),
            Value::Number(class) => (class.as_u64().ok_or_else(refuse)?, key.clone()),
            _ => return Err(refuse()),
        };
        if labels.insert(class, label).is_some() {
            return Err(
                Error::malformed("label-map-twice", "a class has two labels")
                    .at(format!("class {class}")),
            );
        }
    }
    Ok(labels)
}

fn object<'a>(
    value: &'a Value,
    rule: &'static str,
    message: &'static str,
) -> Result<&'a Map<String, Value>> {
    value
        .as_object()
        .ok_or_else(|| Error::malformed(rule, message))
}
