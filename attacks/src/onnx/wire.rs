//! Rows 19 to 22, 31 and 32: bytes that are no well-formed model, or another kind of file.

use std::path::Path;

use amphora_error::ErrorKind::{Limit, Malformed};
use amphora_onnx::write;

use super::sample;
use crate::case::{Answer, Case, Form, Outcome};

const MALFORMED: Answer = Answer::Refused(&[Malformed]);
/// Wire types of the protocol buffer encoding.
const VARINT: u64 = 0;
const DELIMITED: u64 = 2;
const START_GROUP: u64 = 3;
const END_GROUP: u64 = 4;
/// A field that no message of ONNX has.
const UNKNOWN: u64 = 1000;

fn case(
    row: u8,
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    bytes: fn(Form) -> Vec<u8>,
) -> Case {
    Case {
        row,
        name,
        writes,
        command: "inspect model.onnx",
        answer,
        place,
        unopened: None,
        write: Box::new(move |root, form| save(root, &bytes(form))),
    }
}

fn save(root: &Path, bytes: &[u8]) -> Outcome {
    Ok(fs_err::write(root.join("model.onnx"), bytes)?)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn key(field: u64, wire: u64) -> Vec<u8> {
    varint(field << 3 | wire)
}

/// A field that holds bytes.
pub(crate) fn delimited(field: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = key(field, DELIMITED);
    bytes.extend(varint(content.len() as u64));
    bytes.extend(content);
    bytes
}

/// The sample, with more bytes at its end.
fn followed_by(more: &[u8]) -> Vec<u8> {
    let mut bytes = write::to_bytes(&sample::model());
    bytes.extend(more);
    bytes
}

/// The sample with a node whose attribute is a graph that holds such a node, and so on; written from
/// the inside to the outside, backwards, so that it takes no recursion and no quadratic time.
fn nested(depth: usize) -> Vec<u8> {
    let mut backwards: Vec<u8> = Vec::new();
    let mut prepend = |bytes: &[u8]| {
        backwards.extend(bytes.iter().rev());
        backwards.len()
    };
    let sound = sample::model();
    let graph = graph_bytes(sound.graph.as_ref().unwrap_or(&Default::default()));
    // GraphProto.name = 2; GraphProto.node = 1; NodeProto.attribute = 5, .output = 2, .op_type = 4,
    // .domain = 7; AttributeProto.g = 6, .type = 20 (GRAPH = 5), .name = 1; ModelProto.graph = 7.
    let mut length = prepend(&delimited(2, b"g"));
    for level in (0..depth).rev() {
        let mut wrap = |field: u64, before: &[u8]| {
            let mut header = key(field, DELIMITED);
            header.extend(varint(length as u64));
            length = prepend(&[before, &header].concat());
        };
        let name = delimited(1, b"body");
        let kind = [key(20, VARINT), varint(5)].concat();
        wrap(6, &[name, kind].concat());
        let output = delimited(2, format!("o{level}").as_bytes());
        let operator = [delimited(4, b"Nest"), delimited(7, b"com.example")].concat();
        wrap(5, &[output, operator].concat());
        // The outermost node is the last one of the sample.
        let around = match level {
            0 => graph.clone(),
            _ => delimited(2, b"g"),
        };
        wrap(1, &around);
    }
    let mut header = key(7, DELIMITED);
    header.extend(varint(length as u64));
    prepend(&header);
    backwards.reverse();
    // ModelProto.ir_version = 1; ModelProto.opset_import = 8, its domain = 1 and version = 2.
    backwards.extend([key(1, VARINT), varint(8)].concat());
    backwards.extend(delimited(8, &[key(2, VARINT), varint(17)].concat()));
    let custom = [
        delimited(1, b"com.example"),
        [key(2, VARINT), varint(1)].concat(),
    ];
    backwards.extend(delimited(8, &custom.concat()));
    backwards
}

fn groups(depth: usize) -> Vec<u8> {
    let open = key(UNKNOWN, START_GROUP);
    let close = key(UNKNOWN, END_GROUP);
    followed_by(&[open.repeat(depth), close.repeat(depth)].concat())
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case(
            19,
            "nested-200",
            "200 graphs inside one another",
            Answer::Refused(&[Limit]),
            "too many messages",
            |form| nested(form.pick(200, 10)),
        ),
        case(
            19,
            "nested-5000",
            "5,000 graphs inside one another",
            Answer::Refused(&[Limit]),
            "too many messages",
            |form| nested(form.pick(5_000, 10)),
        ),
        case(
            19,
            "nested-20000",
            "20,000 graphs inside one another",
            Answer::Refused(&[Limit]),
            "too many messages",
            |form| nested(form.pick(20_000, 10)),
        ),
        case(
            20,
            "groups-100000",
            "unknown groups 100,000 deep",
            MALFORMED,
            "group",
            |form| groups(form.pick(100_000, 0)),
        ),
        case(
            21,
            "length-prefix-2-63",
            "a length of 2^63",
            MALFORMED,
            "at byte",
            |form| {
                let mut more = key(UNKNOWN, DELIMITED);
                more.extend(varint(form.pick(1 << 63, 0)));
                followed_by(&more)
            },
        ),
        case(
            21,
            "varint-11-bytes",
            "a number of 11 bytes",
            MALFORMED,
            "at byte",
            |form| {
                let mut more = key(UNKNOWN, VARINT);
                more.extend(vec![0x80; form.pick(10, 8)]);
                more.push(1);
                followed_by(&more)
            },
        ),
        case(
            21,
            "wire-type",
            "ir_version as a string",
            MALFORMED,
            "ir_version",
            |form| {
                let mut model = sample::model();
                model.ir_version = None;
                let mut bytes = write::to_bytes(&model);
                bytes.extend(key(1, form.pick(DELIMITED, VARINT)));
                bytes.extend(form.pick(vec![1, 8], vec![8]));
                bytes
            },
        ),
        case(
            21,
            "packing",
            "packed dims that end within a number",
            MALFORMED,
            "TensorProto",
            |form| {
                // GraphProto.initializer = 5; TensorProto.dims = 1, .data_type = 2, .name = 8,
                // .raw_data = 9.
                let tensor = [
                    delimited(1, &form.pick([2, 0x80], [2, 1])),
                    [key(2, VARINT), varint(1)].concat(),
                    delimited(8, b"packed"),
                    delimited(9, &sample::PAYLOAD),
                ];
                let mut model = sample::model();
                let graph = model.graph.take().unwrap_or_default();
                let inner = [graph_bytes(&graph), delimited(5, &tensor.concat())].concat();
                [write::to_bytes(&model), delimited(7, &inner)].concat()
            },
        ),
        case(
            21,
            "field-twice",
            "ir_version twice",
            MALFORMED,
            "ir_version",
            |form| followed_by(&form.pick([key(1, VARINT), varint(8)].concat(), Vec::new())),
        ),
        case(
            22,
            "cut",
            "the first two thirds",
            MALFORMED,
            "at byte",
            |form| {
                let mut bytes = write::to_bytes(&sample::model());
                bytes.truncate(form.pick(bytes.len() * 2 / 3, bytes.len()));
                bytes
            },
        ),
    ];
    for (name, writes, place, content) in [
        ("empty-file", "nothing", "an empty file", ""),
        ("json", "JSON", "JSON", "{\"error\": \"not found\"}"),
        (
            "lfs-pointer",
            "a Git LFS pointer",
            "Git LFS",
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        ),
        (
            "html",
            "an HTML page",
            "HTML",
            "<!DOCTYPE html><html><body>Not found</body></html>",
        ),
    ] {
        cases.push(Case {
            write: Box::new(move |root, form| {
                let healthy = write::to_bytes(&sample::model());
                save(root, &form.pick(content.as_bytes().to_vec(), healthy))
            }),
            ..case(31, name, writes, MALFORMED, place, |_| Vec::new())
        });
    }
    cases.push(Case {
        row: 32,
        name: "file-of-3-gib",
        writes: "3 GiB, all but the beginning a hole",
        command: "inspect model.onnx",
        answer: Answer::Refused(&[Limit]),
        place: "3221225472 bytes",
        unopened: None,
        write: Box::new(|root, form| {
            let bytes = write::to_bytes(&sample::model());
            save(root, &bytes)?;
            let file = fs_err::OpenOptions::new()
                .write(true)
                .open(root.join("model.onnx"))?;
            Ok(file.set_len(form.pick(3 << 30, bytes.len() as u64))?)
        }),
    });
    cases
}

/// A graph on the wire, taken out of a model.
fn graph_bytes(graph: &amphora_onnx::proto::GraphProto) -> Vec<u8> {
    let model = amphora_onnx::proto::ModelProto {
        graph: Some(graph.clone()),
        ..Default::default()
    };
    let bytes = write::to_bytes(&model);
    // One key, then the length.
    let length = bytes
        .iter()
        .skip(1)
        .take_while(|byte| **byte >= 0x80)
        .count()
        + 1;
    bytes.get(1 + length..).unwrap_or_default().to_vec()
}
