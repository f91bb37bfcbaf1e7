//! Writing a manifest as YAML: keys in the order of the fields, one way to write each value.
//!
//! The output uses a small part of YAML 1.2 that YAML 1.1 readers understand the same way: block
//! mappings and lists, short lists of scalars in brackets, plain words where nothing could be
//! mistaken, JSON strings everywhere else.

use amphora_error::{Error, Result, printable};
use serde::Serialize;
use serde_json::Value;

/// Longest list that is written in brackets, in bytes.
const FLOW_WIDTH: usize = 96;
/// Words that some reader takes for something else than a string.
const RESERVED: [&str; 13] = [
    "true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity", "none",
];

pub(crate) fn to_yaml(fields: &impl Serialize) -> Result<String> {
    let value = serde_json::to_value(fields).map_err(|source| {
        Error::internal("manifest-encoding", "the manifest cannot be written").caused_by(source)
    })?;
    let mut text = String::new();
    block(&value, 0, &mut text);
    Ok(text)
}

/// Writes a collection as block lines at `indent`, or a scalar as one line. The depth is that of
/// the manifest's types and of `preprocessing.config`, which the reader bounds.
fn block(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                pad(indent, text);
                entry(key, value, indent, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                pad(indent, text);
                text.push('-');
                list_item(item, indent, text);
            }
        }
        other => {
            text.push_str(&inline(other));
            text.push('\n');
        }
    }
}

fn entry(key: &str, value: &Value, indent: usize, text: &mut String) {
    text.push_str(&string(key));
    text.push(':');
    if is_inline(value) {
        text.push(' ');
        text.push_str(&inline(value));
        text.push('\n');
    } else {
        text.push('\n');
        block(value, indent + 2, text);
    }
}

fn list_item(item: &Value, indent: usize, text: &mut String) {
    match item {
        Value::Object(entries) if !entries.is_empty() => {
            for (index, (key, value)) in entries.iter().enumerate() {
                if index == 0 {
                    text.push(' ');
                } else {
                    pad(indent + 2, text);
                }
                entry(key, value, indent + 2, text);
            }
        }
        other if is_inline(other) => {
            text.push(' ');
            text.push_str(&inline(other));
            text.push('\n');
        }
        other => {
            text.push('\n');
            block(other, indent + 2, text);
        }
    }
}

fn pad(indent: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', indent));
}

fn is_inline(value: &Value) -> bool {
    match value {
        Value::Object(entries) => entries.is_empty(),
        Value::Array(items) => {
            items
                .iter()
                .all(|item| !item.is_object() && !item.is_array())
                && (items.is_empty() || inline(value).len() <= FLOW_WIDTH)
        }
        _ => true,
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(_) => "{}".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => string(text),
        Value::Number(number) if number.is_f64() => float(&number.to_string()),
        scalar => scalar.to_string(),
    }
}

/// A float with a point and a signed exponent: YAML 1.1 takes `1e-5` for a string.
fn float(digits: &str) -> String {
    let (mantissa, exponent) = match digits.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    match exponent {
        Some(exponent) if exponent.starts_with(['-', '+']) => {
            format!("{mantissa}{point}e{exponent}")
        }
        Some(exponent) => format!("{mantissa}{point}e+{exponent}"),
        None => format!("{mantissa}{point}"),
    }
}

fn string(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_./@+-".contains(c))
        && !RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word));
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::new();
    for c in Value::from(text).to_string().chars() {
        let shown = c.is_ascii() || printable(c.encode_utf8(&mut [0; 4])).chars().eq([c]);
        match u32::from(c) {
            _ if shown => quoted.push(c),
            code if code <= 0xffff => quoted.push_str(&format!("\\u{code:04x}")),
            code => quoted.push_str(&format!("\\U{code:08x}")),
        }
    }
    quoted
}
