//! JSON from outside, read strictly.
//!
//! [`parse`] refuses what `serde_json` lets pass: the same key twice, a byte order mark, more than
//! [`MAX_DEPTH`] levels, numbers that overflow. Errors name line and column.

use std::fmt;

use amphora_error::{Error, Result, quoted};
use serde::de::{self, DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Deepest nesting accepted.
pub const MAX_DEPTH: usize = 64;
/// Largest JSON file accepted, in bytes.
pub const MAX_BYTES: u64 = 64 << 20;

/// Parses one JSON document; every object keeps the order of its keys.
pub fn parse(bytes: &[u8]) -> Result<Value> {
    if bytes.is_empty() {
        return Err(Error::malformed("json-empty", "the JSON document is empty"));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Error::malformed(
            "json-bom",
            "the JSON document starts with a byte order mark",
        )
        .hint("save the file as UTF-8 without a byte order mark"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: MAX_DEPTH }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    value.map_err(located)
}

/// Parses one JSON document into `T`, with the strictness of [`parse`].
pub fn parse_into<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    parse(bytes)?;
    serde_json::from_slice(bytes).map_err(located)
}

/// Reads and parses the JSON file that a person named.
pub fn read(path: impl AsRef<std::path::Path>) -> Result<Value> {
    let file = crate::OpenedFile::open(&path)?;
    parse(&file.contents(MAX_BYTES)?).map_err(|error| error.in_file(path))
}

/// `value` as indented JSON with a final newline.
pub fn to_pretty_bytes<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|source| {
        Error::internal("json-encoding", "a value cannot be written as JSON").caused_by(source)
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn located(source: serde_json::Error) -> Error {
    let place = format!("line {}, column {}", source.line(), source.column());
    let text = source.to_string();
    let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
    Error::malformed(
        "json",
        format!("this is not the JSON expected here: {reason}"),
    )
    .at(place)
}

struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(&self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth }),
            None => Err(E::custom(format_args!(
                "nested deeper than {MAX_DEPTH} levels"
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(self.deeper()?)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.deeper()?)?;
            if object.contains_key(&key) {
                return Err(de::Error::custom(format_args!(
                    "the key {} occurs twice",
                    quoted(&key)
                )));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lenient_reading_is_refused_with_its_place() {
        let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
        let rows: [(&str, &str); 10] = [
            ("{\"a\":1,\n\"a\":2}", "line 2"),
            ("{\"a\":{\"b\":1,\"b\":2}}", "occurs twice"),
            ("\u{feff}{}", "byte order mark"),
            ("[1e999]", "out of range"),
            ("[NaN]", "line 1"),
            ("{} x", "trailing"),
            ("[\"\\ud800\"]", "line 1"),
            ("", "empty"),
            ("{\"a\":1", "EOF"),
            (&deep, "deeper than 64"),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter_map(|(text, needle)| match parse(text.as_bytes()) {
                Err(error) if error.to_string().contains(needle) => None,
                answer => Some(format!("{text:?}: {answer:?}")),
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_healthy_document_keeps_its_keys_in_order() {
        let value = parse(b"{\"b\": [1, -2, 2.5, true, null], \"a\": {\"x\": \"y\"}}").unwrap();
        assert_eq!(
            serde_json::to_string(&value).unwrap(),
            r#"{"b":[1,-2,2.5,true,null],"a":{"x":"y"}}"#
        );
    }
}
