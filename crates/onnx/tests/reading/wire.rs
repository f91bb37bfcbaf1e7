//! Encoded models, written byte by byte.

use amphora_onnx::proto::*;
use amphora_onnx::write;

use crate::sample;

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A length-delimited field.
pub(crate) fn field(number: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = varint(number << 3 | 2);
    bytes.extend(varint(content.len() as u64));
    bytes.extend(content);
    bytes
}

/// The sample without external data, as bytes.
pub(crate) fn healthy() -> Vec<u8> {
    let graph = GraphProto {
        name: Some("g".into()),
        node: vec![sample::node("Relu", Vec::new())],
        initializer: vec![sample::raw("w")],
        input: vec![sample::value("x", &[DimensionValue::Value(2)])],
        output: vec![sample::value("y", &[DimensionValue::Value(2)])],
        ..GraphProto::default()
    };
    write::to_bytes(&ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        ..ModelProto::default()
    })
}

pub(crate) fn followed_by(tail: &[u8]) -> Vec<u8> {
    [healthy(), tail.to_vec()].concat()
}

/// A model whose graph (field 7) has this content.
pub(crate) fn graph(content: &[u8]) -> Vec<u8> {
    [vec![8, 8], field(7, content)].concat()
}

/// Nested sub-graphs: graph, node, attribute, graph, ...
pub(crate) fn sub_graphs(depth: usize) -> Vec<u8> {
    let mut content = Vec::new();
    for _ in 0..depth {
        content = field(1, &field(5, &field(6, &content)));
    }
    graph(&content)
}

/// A value whose type is a sequence of sequences of ...
pub(crate) fn sequences(depth: usize) -> Vec<u8> {
    let mut content = Vec::new();
    for _ in 0..depth {
        content = field(4, &field(1, &content));
    }
    graph(&field(11, &field(2, &content)))
}

pub(crate) fn groups(depth: usize) -> Vec<u8> {
    // Field 100 opened as a group, again and again, then closed as often.
    let open = varint(100 << 3 | 3).repeat(depth);
    followed_by(&[open, varint(100 << 3 | 4).repeat(depth)].concat())
}
