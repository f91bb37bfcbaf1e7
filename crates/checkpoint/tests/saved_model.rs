//! SavedModels: the signatures that are found, and what is refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_checkpoint::{Limits, SavedModel, SignatureTensor};
use amphora_error::ErrorKind;
use amphora_testing::each;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [
        varint(field << 3 | 2),
        varint(content.len() as u64),
        content.to_vec(),
    ]
    .concat()
}

fn entry(key: &str, value: Vec<u8>) -> Vec<u8> {
    [bytes(1, key), bytes(2, value)].concat()
}

/// A TensorInfo; -1 is a size that varies.
fn info(tensor: &str, dtype: u64, shape: &[i64]) -> Vec<u8> {
    let dims: Vec<u8> = shape
        .iter()
        .flat_map(|size| bytes(2, number(1, size.cast_unsigned())))
        .collect();
    [bytes(1, tensor), number(2, dtype), bytes(3, dims)].concat()
}

/// Inputs and outputs, and the name of the method as TensorFlow writes it.
fn signature(inputs: &[(&str, Vec<u8>)], outputs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let side = |field: u64, tensors: &[(&str, Vec<u8>)]| -> Vec<u8> {
        let entries = tensors.iter();
        entries
            .flat_map(|(name, info)| bytes(field, entry(name, info.clone())))
            .collect()
    };
    [
        side(1, inputs),
        side(2, outputs),
        bytes(3, "tensorflow/serving/predict"),
    ]
    .concat()
}

/// A MetaGraphDef with a graph that nobody decodes.
fn graph(tag: &str, signatures: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let signatures: Vec<u8> = signatures
        .iter()
        .flat_map(|(name, definition)| bytes(5, entry(name, definition.clone())))
        .collect();
    let info = [bytes(4, tag), bytes(5, "2.15.0")].concat();
    [
        bytes(1, info),
        bytes(2, b"\xff\xff no protocol buffer"),
        signatures,
    ]
    .concat()
}

fn file(graphs: &[Vec<u8>]) -> Vec<u8> {
    let graphs = graphs.iter().flat_map(|graph| bytes(2, graph));
    number(1, 1).into_iter().chain(graphs).collect()
}

fn classifier() -> Vec<u8> {
    signature(
        &[
            (
                "pixels",
                info("serving_default_pixels:0", 1, &[-1, 224, 224, 3]),
            ),
            ("names", info("serving_default_names:0", 7, &[-1])),
        ],
        &[("logits", info("StatefulPartitionedCall:0", 19, &[-1, 1000]))],
    )
}

fn init() -> Vec<u8> {
    signature(&[], &[("__saved_model_init_op", info("NoOp", 0, &[]))])
}

fn read(file: &[u8]) -> amphora_error::Result<SavedModel> {
    SavedModel::from_bytes(file, &Limits::default())
}

#[test]
fn names_types_and_shapes_come_from_the_signature_for_serving() {
    let other = signature(&[], &[("z", info("z:0", 3, &[2]))]);
    let model = read(&file(&[
        graph("train", &[("serving_default", other.clone())]),
        graph(
            "serve",
            &[("serving_default", classifier()), ("embed", other)],
        ),
    ]))
    .unwrap();
    let (name, found) = model.signature(None).unwrap();
    assert_eq!(name, "serving_default");
    let pixels = SignatureTensor {
        tensor: "serving_default_pixels:0".to_owned(),
        dtype: "float32",
        shape: Some(vec![None, Some(224), Some(224), Some(3)]),
    };
    assert_eq!(found.inputs["pixels"], pixels);
    assert_eq!(found.inputs["names"].dtype, "string");
    let logits = &found.outputs["logits"];
    assert_eq!(
        (logits.dtype, logits.shape.as_deref()),
        ("float16", Some(&[None, Some(1000)][..]))
    );
    assert_eq!(
        model.signature(Some("embed")).unwrap().1.outputs["z"].dtype,
        "int32"
    );
    let error = model.signature(Some("absent")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("one of 'embed', 'serving_default'"),
        "{error}"
    );
}

#[test]
fn the_only_function_needs_no_name_and_an_unknown_rank_stays_unknown() {
    let any = [bytes(1, "x:0"), number(2, 9), bytes(3, number(3, 1))].concat();
    let scalar = info("y:0", 10, &[]);
    let only = signature(&[("x", any)], &[("y", scalar)]);
    // TensorFlow 2 writes a signature of its own beside it, whose tensor has no type.
    for signatures in [
        vec![("call", only.clone())],
        vec![("call", only.clone()), ("__saved_model_init_op", init())],
    ] {
        let model = read(&file(&[graph("any tag", &signatures)])).unwrap();
        let (name, found) = model.signature(None).unwrap();
        assert_eq!((name, found.inputs["x"].shape.as_ref()), ("call", None));
        assert_eq!(found.outputs["y"].shape.as_deref(), Some(&[][..]));
    }
    let none = read(&file(&[graph("serve", &[])])).unwrap();
    assert_eq!(
        none.signature(None).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn what_is_no_saved_model_or_costs_too_much_is_refused() {
    let one = |info: Vec<u8>| file(&[graph("serve", &[("f", signature(&[("x", info)], &[]))])]);
    let deep: Vec<i64> = vec![1; 65];
    let many: Vec<u8> = (0..5000)
        .flat_map(|index| bytes(1, entry(&format!("x{index}"), info("x:0", 1, &[]))))
        .collect();
    let graphs = vec![Vec::new(); 5000];
    let healthy = file(&[graph("serve", &[("f", classifier())])]);
    let cut = healthy[..healthy.len() - 3].to_vec();
    let rows: [(&str, Vec<u8>, ErrorKind, &str); 13] = [
        (
            "empty",
            Vec::new(),
            ErrorKind::Malformed,
            "no graph with the tag 'serve'",
        ),
        (
            "text",
            b"saved_model_schema_version: 1".to_vec(),
            ErrorKind::Malformed,
            "no SavedModel",
        ),
        ("cut off", cut, ErrorKind::Malformed, "continues beyond"),
        (
            "two graphs, none for serving",
            file(&[graph("a", &[]), graph("b", &[])]),
            ErrorKind::Malformed,
            "2 graphs",
        ),
        (
            "an ONNX file",
            [number(1, 8), bytes(7, b"graph")].concat(),
            ErrorKind::Malformed,
            "another format",
        ),
        (
            "a negative size",
            one(info("x:0", 1, &[-7])),
            ErrorKind::Malformed,
            "negative",
        ),
        (
            "too many dimensions",
            one(info("x:0", 1, &deep)),
            ErrorKind::Limit,
            "at most 64",
        ),
        (
            "too many tensors",
            file(&[graph("serve", &[("f", many)])]),
            ErrorKind::Limit,
            "too many tensors",
        ),
        (
            "too many graphs",
            file(&graphs),
            ErrorKind::Limit,
            "too many graphs",
        ),
        (
            "a resource",
            one(info("x:0", 20, &[1])),
            ErrorKind::Unsupported,
            "type 20",
        ),
        (
            "no type",
            one(info("x:0", 0, &[1])),
            ErrorKind::Unsupported,
            "type 0",
        ),
        (
            "sparse",
            one(bytes(4, b"")),
            ErrorKind::Unsupported,
            "sparse",
        ),
        (
            "a number without end",
            vec![0x08; 12].into_iter().map(|b: u8| b | 0x80).collect(),
            ErrorKind::Malformed,
            "does not end",
        ),
    ];
    each(&rows, |(_, file, kind, needle)| match read(file) {
        Err(error) if error.kind() == *kind && error.to_string().contains(needle) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn every_byte_changed_or_cut_ends_in_an_answer_or_a_refusal() {
    let healthy = file(&[graph(
        "serve",
        &[("serving_default", classifier()), ("init", init())],
    )]);
    for place in 0..healthy.len() {
        drop(read(&healthy[..place]));
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = healthy.clone();
            changed[place] = value;
            drop(read(&changed));
        }
    }
}
