//! Rows 44 and 45: safetensors headers and JSON configurations.

use amphora_error::ErrorKind::{Limit, Malformed};
use serde_json::Value;

use super::{CONFIG, parameters, save};
use crate::case::{Answer, Case, Form, Outcome};

const EXPORT: &str = "export model.safetensors --config config.json -o out.onnx";
const MALFORMED: Answer = Answer::Refused(&[Malformed]);
const EITHER: Answer = Answer::Refused(&[Malformed, Limit]);

/// The sound file as header and data.
fn parts() -> Outcome<(Value, Vec<u8>)> {
    let bytes = parameters()?.to_bytes()?;
    let (length, rest) = bytes.split_first_chunk().ok_or("no header")?;
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    Ok((serde_json::from_slice(header)?, data.to_vec()))
}

fn join(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

fn case(
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    write: fn(Form) -> Outcome<Vec<u8>>,
) -> Case {
    Case {
        row: 44,
        name,
        writes,
        command: EXPORT,
        answer,
        place,
        unopened: None,
        write: Box::new(move |root, form| save(root, "model.safetensors", &write(form)?)),
    }
}

/// The header, changed as JSON.
fn header(
    name: &'static str,
    writes: &'static str,
    place: &'static str,
    (pointer, hostile): (&'static str, &'static str),
) -> Case {
    Case {
        write: Box::new(move |root, form| {
            let (mut header, data) = parts()?;
            let field = header.pointer_mut(pointer).ok_or("no such field")?;
            let hostile = serde_json::from_str(hostile)?;
            *field = form.pick(hostile, field.clone());
            save(root, "model.safetensors", &join(&header.to_string(), &data))
        }),
        ..case(name, writes, EITHER, place, |_| Ok(Vec::new()))
    }
}

/// The header, changed as text.
fn text(
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    change: fn(String) -> String,
) -> Case {
    Case {
        write: Box::new(move |root, form| {
            let (header, data) = parts()?;
            let sound = header.to_string();
            let header = form.pick(change(sound.clone()), sound);
            save(root, "model.safetensors", &join(&header, &data))
        }),
        ..case(name, writes, answer, place, |_| Ok(Vec::new()))
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::from([
        header(
            "safetensors-overlap",
            "two tensors with the same bytes",
            "h_head.weight",
            ("/h_head.weight/data_offsets", "[0, 16]"),
        ),
        header(
            "safetensors-hole",
            "bytes that belong to no tensor",
            "h_head.weight",
            ("/h_head.weight/data_offsets", "[12, 28]"),
        ),
        header(
            "safetensors-beyond-end",
            "a range beyond the end",
            "tensor",
            ("/h_head.bias/data_offsets/1", "4294967296"),
        ),
        header(
            "safetensors-backwards",
            "a range that ends before it starts",
            "tensor",
            ("/h_head.bias/data_offsets/1", "0"),
        ),
        header(
            "safetensors-shape-overflow",
            "a shape whose product wraps",
            "tensor",
            ("/h_head.bias/shape", "[4294967296, 4294967296, 2]"),
        ),
        header(
            "safetensors-negative",
            "a negative extent",
            "tensor",
            ("/h_head.bias/shape", "[-2]"),
        ),
        header(
            "safetensors-fraction",
            "an extent of 2.5",
            "tensor",
            ("/h_head.bias/shape", "[2.5]"),
        ),
        header(
            "safetensors-dtype",
            "an unknown dtype",
            "tensor",
            ("/h_head.bias/dtype", "\"OBJECT\""),
        ),
    ]);
    cases.extend([
        text("safetensors-key-twice", "a tensor twice", MALFORMED, "header", |sound| {
            sound.replacen('{', "{\"h_head.bias\": {\"dtype\": \"F32\", \"shape\": [0], \"data_offsets\": [0, 0]},", 1)
        }),
        text("safetensors-deep", "JSON 10,000 deep", EITHER, "header", |sound| {
            let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
            sound.replacen('{', &format!("{{\"deep\": {deep},"), 1)
        }),
        text("safetensors-key-unknown", "an unknown key in an entry", MALFORMED, "tensor", |sound| {
            sound.replacen("\"dtype\"", "\"__reduce__\":\"os.system\",\"dtype\"", 1)
        }),
        case("safetensors-tail", "a byte after the data", MALFORMED, "no tensor", |form| {
            let mut bytes = parameters()?.to_bytes()?;
            bytes.extend(form.pick(&[0_u8][..], &[]));
            Ok(bytes)
        }),
        case("safetensors-cut", "a byte less", MALFORMED, "tensor", |form| {
            let mut bytes = parameters()?.to_bytes()?;
            bytes.truncate(bytes.len() - form.pick(1, 0));
            Ok(bytes)
        }),
        case("safetensors-header-2-63", "a header of 2^63 bytes", MALFORMED, "9223372036854775808 bytes", |form| {
            let mut bytes = parameters()?.to_bytes()?;
            bytes[7] = form.pick(0x80, 0);
            if form == Form::Hostile {
                bytes[..7].fill(0);
            }
            Ok(bytes)
        }),
    ]);
    cases.extend(configurations());
    cases
}

/// The configuration beside a sound checkpoint.
fn configuration(
    row: u8,
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    make: fn() -> Vec<u8>,
) -> Case {
    Case {
        row,
        write: Box::new(move |root, form| {
            save(root, "model.safetensors", &parameters()?.to_bytes()?)?;
            let config = form.pick(make(), CONFIG.as_bytes().to_vec());
            Ok(fs_err::write(root.join("config.json"), config)?)
        }),
        ..case(name, writes, answer, place, |_| Ok(Vec::new()))
    }
}

fn configurations() -> [Case; 9] {
    [
        configuration(
            45,
            "json-key-twice",
            "a key twice",
            MALFORMED,
            "config.json",
            || CONFIG.replacen('{', "{\"d_in\": 4096,", 1).into_bytes(),
        ),
        configuration(45, "json-nan", "NaN", MALFORMED, "line 1", || {
            CONFIG
                .replacen('{', "{\"layer_norm_eps\": NaN,", 1)
                .into_bytes()
        }),
        configuration(45, "json-1e999", "1e999", MALFORMED, "line 1", || {
            CONFIG
                .replacen('{', "{\"layer_norm_eps\": 1e999,", 1)
                .into_bytes()
        }),
        configuration(45, "json-2-64", "2^64", MALFORMED, "d_in", || {
            CONFIG
                .replace("\"d_in\": 2", "\"d_in\": 18446744073709551616")
                .into_bytes()
        }),
        configuration(
            45,
            "json-bom",
            "a byte order mark",
            MALFORMED,
            "config.json",
            || format!("\u{feff}{CONFIG}").into_bytes(),
        ),
        configuration(
            45,
            "json-surrogate",
            "half of a surrogate pair",
            MALFORMED,
            "line 1",
            || {
                CONFIG
                    .replacen('{', "{\"name\": \"\\ud800\",", 1)
                    .into_bytes()
            },
        ),
        configuration(
            45,
            "json-tail",
            "something after the object",
            MALFORMED,
            "config.json",
            || format!("{CONFIG} {CONFIG}").into_bytes(),
        ),
        configuration(
            45,
            "json-depth",
            "lists 100,000 deep",
            EITHER,
            "config.json",
            || {
                let deep = format!(
                    "{{\"deep\": {}{},",
                    "[".repeat(100_000),
                    "]".repeat(100_000)
                );
                CONFIG.replacen('{', &deep, 1).into_bytes()
            },
        ),
        configuration(
            46,
            "config-billion-laughs",
            "YAML aliases that stand for 10^9 values",
            EITHER,
            "config.json",
            || {
                let mut text = "model_type: mlp\na0: &a0 ha\n".to_owned();
                for level in 1..10 {
                    let again = format!("*a{}, ", level - 1).repeat(10);
                    text += &format!("a{level}: &a{level} [{again}]\n");
                }
                text.into_bytes()
            },
        ),
    ]
}
