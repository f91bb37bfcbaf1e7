//! The one way to write JSON that is hashed.

use amphora_files::sha256;
use serde_json::{Number, Value};

/// `value` with its keys sorted, separated by `,` and `:`, non-ASCII characters kept: what Python's
/// `json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)` writes, floating
/// point numbers included.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::with_capacity(1024);
    write(value, &mut text);
    text
}

/// The hash of a `planner_input.v1` document: SHA-256, in hexadecimal, of its canonical JSON without
/// `created_at`.
pub fn input_hash(document: &Value) -> String {
    let mut text = String::with_capacity(4096);
    match document {
        Value::Object(object) => write_object(
            object.iter().filter(|(key, _)| *key != "created_at"),
            &mut text,
        ),
        other => write(other, &mut text),
    }
    sha256(text.as_bytes()).to_string()
}

// Values come from `amphora_files::json`, which bounds their depth.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => write_number(number, text),
        Value::String(string) => write_string(string, text),
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(value, text);
            }
            text.push(']');
        }
        Value::Object(object) => write_object(object.iter(), text),
    }
}

fn write_object<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>, text: &mut String) {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    text.push('{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_string(key, text);
        text.push(':');
        write(value, text);
    }
    text.push('}');
}

fn write_string(string: &str, text: &mut String) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\0'..='\u{1f}' => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => text.push(character),
        }
    }
    text.push('"');
}

fn write_number(number: &Number, text: &mut String) {
    match number.as_f64() {
        Some(float) if number.is_f64() => write_float(float, text),
        _ => text.push_str(&number.to_string()),
    }
}

/// The shortest digits that read back as `float`, in Python's layout: an exponent below 1e-4 and from
/// 1e16 on, with a sign and at least two digits; otherwise at least one digit after the point.
fn write_float(float: f64, text: &mut String) {
    let scientific = format!("{float:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        text.push_str(&scientific);
        return;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{float}");
        text.push_str(&plain);
        if !plain.contains('.') {
            text.push_str(".0");
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        text.push_str(&format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs()));
    }
}
