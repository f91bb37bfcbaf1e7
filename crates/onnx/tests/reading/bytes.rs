use amphora_error::ErrorKind::{self, Limit, Malformed};
use amphora_onnx::{Limits, Model};

use crate::wire::{field, followed_by, graph, groups, healthy, sequences, sub_graphs, varint};

fn read(bytes: Vec<u8>) -> amphora_error::Result<Model> {
    Model::from_bytes(bytes.into(), None, &Limits::default())
}

#[test]
fn damaged_encodings_are_refused_by_rule() {
    let graph_of = |content: Vec<u8>| graph(&content);
    let long_name = |length| graph(&field(1, &field(3, &vec![b'n'; length])));
    let rank = |rank| graph(&field(5, &field(1, &vec![1; rank])));
    let rows: Vec<(&str, Vec<u8>, ErrorKind, &str)> = vec![
        (
            "empty TensorProtos",
            graph(&field(5, &[]).repeat(2_000_000)),
            Limit,
            "decoded-bytes",
        ),
        (
            "empty AttributeProtos",
            graph(&field(1, &field(5, &[]).repeat(1_000_000))),
            Limit,
            "decoded-bytes",
        ),
        (
            "six million operator sets",
            field(8, &[]).repeat(6_000_000),
            Limit,
            "messages",
        ),
        (
            "six million unknown fields",
            followed_by(&field(100, &[]).repeat(6_000_000)),
            Limit,
            "messages",
        ),
        (
            "a million and one nodes",
            graph(&field(1, &[]).repeat(1_000_001)),
            Limit,
            "nodes",
        ),
        ("200 sub-graphs", sub_graphs(200), Limit, "nesting"),
        ("5,000 sub-graphs", sub_graphs(5_000), Limit, "nesting"),
        ("20,000 sub-graphs", sub_graphs(20_000), Limit, "nesting"),
        ("20,000 sequences", sequences(20_000), Limit, "nesting"),
        ("a group", groups(1), Malformed, "group"),
        ("100,000 groups", groups(100_000), Malformed, "group"),
        (
            "length 2^63",
            followed_by(&[varint(100 << 3 | 2), varint(1 << 63)].concat()),
            Malformed,
            "truncated",
        ),
        (
            "length beyond the graph",
            graph_of([field(2, b"g"), vec![0x0a, 5, b'x']].concat()),
            Malformed,
            "truncated",
        ),
        (
            "varint of 11 bytes",
            followed_by(&[vec![0x08], vec![0x80; 10], vec![0]].concat()),
            Malformed,
            "repeated-field",
        ),
        (
            "varint of 11 bytes in an unknown field",
            followed_by(&[varint(100 << 3), vec![0x80; 10], vec![0]].concat()),
            Malformed,
            "varint",
        ),
        (
            "varint beyond 64 bits",
            followed_by(&[varint(100 << 3), vec![0xff; 9], vec![2]].concat()),
            Malformed,
            "varint",
        ),
        (
            "varint cut off",
            followed_by(&[varint(100 << 3), vec![0x80]].concat()),
            Malformed,
            "truncated",
        ),
        (
            "field number 0",
            followed_by(&[0, 0]),
            Malformed,
            "field-number",
        ),
        (
            "field number 2^29",
            followed_by(&[varint(1 << 32), vec![0]].concat()),
            Malformed,
            "field-number",
        ),
        (
            "undefined wire type",
            followed_by(&[varint(100 << 3 | 6), vec![0]].concat()),
            Malformed,
            "wire-type",
        ),
        (
            "known field, wrong wire type",
            followed_by(&[varint(5 << 3 | 5), vec![0; 4]].concat()),
            Malformed,
            "wire-type",
        ),
        (
            "packed floats of 6 bytes",
            graph_of(field(5, &field(4, &[0; 6]))),
            Malformed,
            "packed-field",
        ),
        (
            "packed numbers cut off",
            graph_of(field(5, &field(7, &[1, 0x80]))),
            Malformed,
            "packed-field",
        ),
        (
            "packed number of 11 bytes",
            graph_of(field(
                5,
                &field(7, &[[0x80; 10].to_vec(), vec![1]].concat()),
            )),
            Malformed,
            "protobuf",
        ),
        (
            "second graph",
            followed_by(&field(7, &[])),
            Malformed,
            "repeated-field",
        ),
        (
            "second payload",
            graph_of(field(5, &[field(9, b"a"), field(9, b"b")].concat())),
            Malformed,
            "repeated-field",
        ),
        (
            "two types of a value",
            graph_of(field(
                11,
                &field(2, &[field(1, &[]), field(4, &[])].concat()),
            )),
            Malformed,
            "repeated-field",
        ),
        (
            "name not UTF-8",
            graph_of(field(2, b"\xff\xfe")),
            Malformed,
            "utf-8",
        ),
        (
            "name of 10 MB",
            long_name(10_000_000),
            Malformed,
            "name-length",
        ),
        ("rank 100,000", rank(100_000), Limit, "rank"),
        ("rank 65", rank(65), Limit, "rank"),
        (
            "rank 65, not packed",
            graph_of(field(5, &[8, 1].repeat(65))),
            Limit,
            "rank",
        ),
        (
            "value of rank 65",
            graph_of(field(
                11,
                &field(2, &field(1, &field(2, &field(1, &[]).repeat(65)))),
            )),
            Limit,
            "rank",
        ),
        ("no graph", vec![8, 8], Malformed, "graph-missing"),
        ("empty", Vec::new(), Malformed, "not-onnx"),
        ("JSON", b" {\"error\": 404}".to_vec(), Malformed, "not-onnx"),
        (
            "HTML",
            b"<!DOCTYPE html><html>".to_vec(),
            Malformed,
            "not-onnx",
        ),
        (
            "LFS pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec(),
            Malformed,
            "not-onnx",
        ),
        ("zip", b"PK\x03\x04rest".to_vec(), Malformed, "not-onnx"),
        ("gzip", b"\x1f\x8b\x08rest".to_vec(), Malformed, "not-onnx"),
        ("pickle", b"\x80\x02}q\x00.".to_vec(), Malformed, "not-onnx"),
        (
            "safetensors",
            [&2_u64.to_le_bytes()[..], b"{}"].concat(),
            Malformed,
            "not-onnx",
        ),
        (
            "ONNX Runtime format",
            b"\x20\0\0\0ORTM".to_vec(),
            Malformed,
            "not-onnx",
        ),
        (
            "TensorFlow Lite",
            b"\x1c\0\0\0TFL3".to_vec(),
            Malformed,
            "not-onnx",
        ),
        ("GGUF", b"GGUF\x03\0\0\0".to_vec(), Malformed, "not-onnx"),
        (
            "HDF5",
            b"\x89HDF\r\n\x1a\n\0".to_vec(),
            Malformed,
            "not-onnx",
        ),
        (
            "Core ML",
            b"\x08\x04\x12\x02\x0a\0\xc2\x0c\0".to_vec(),
            Malformed,
            "not-onnx",
        ),
        ("text", b"hello, world\n".to_vec(), Malformed, "group"),
    ];
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(name, bytes, kind, rule)| Row {
            name,
            bytes,
            kind,
            rule,
        })
        .collect();
    amphora_testing::each(&rows, |row| match read(row.bytes.clone()) {
        Ok(_) => Err("accepted".into()),
        Err(error) if (error.kind(), error.rule()) != (row.kind, row.rule) => {
            Err(format!("{error:?}"))
        }
        Err(error) if error.to_string().len() > 300 => Err(format!("too long: {error}")),
        Err(_) => Ok(()),
    });
}

struct Row {
    name: &'static str,
    bytes: Vec<u8>,
    kind: ErrorKind,
    rule: &'static str,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.bytes.len())
    }
}

#[test]
fn the_twins_of_damaged_encodings_are_accepted() {
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("healthy", healthy()),
        ("30 sub-graphs", sub_graphs(30)),
        ("40 sequences", sequences(40)),
        (
            "unknown fields of every kind",
            followed_by(
                &[
                    varint(100 << 3),
                    vec![0xff; 9],
                    vec![1],
                    varint(100 << 3 | 1),
                    vec![0; 8],
                    field(100, b"anything"),
                    varint(100 << 3 | 5),
                    vec![0; 4],
                ]
                .concat(),
            ),
        ),
        (
            "long documentation",
            followed_by(&field(6, &vec![b'd'; 1_000_000])),
        ),
        (
            "name of 4,096 bytes",
            graph(&field(1, &field(3, &vec![b'n'; 4096]))),
        ),
        (
            "rank 64",
            graph(&field(
                5,
                &[field(1, &[1; 64]), vec![16, 1], field(4, &[0; 4])].concat(),
            )),
        ),
        (
            "escape codes in a name",
            graph(&field(2, "\u{1b}[2J\nok: verified".as_bytes())),
        ),
    ];
    amphora_testing::each(&rows, |(_, bytes)| read(bytes.clone()).map(drop));
}

#[test]
fn a_pointer_of_git_lfs_has_its_own_hint() {
    let error = read(b"version https://git-lfs.github.com/spec/v1\n".to_vec()).unwrap_err();
    assert!(
        error.hint_text().unwrap().contains("git lfs pull"),
        "{error:?}"
    );
}
