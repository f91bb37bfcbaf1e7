use amphora_error::ErrorKind::{self, Limit, Malformed, Unsupported};
use amphora_onnx::proto::*;
use amphora_onnx::{Limits, Model, prescan, visit, write};
use bytes::Bytes;

use crate::sample::{self, Edit, external_mut, inline_mut, refused};

/// The twin of every hostile model that is made from the sample.
#[test]
fn the_sample_is_healthy_and_every_tensor_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let path = sample::write(scratch.path(), &sample::model());
    let model = Model::open(&path, &Limits::default()).unwrap();
    let census = prescan(model.bytes().unwrap(), model.limits()).unwrap();

    let mut count = 0;
    let mut sizes = Vec::new();
    visit::tensors(model.proto(), &mut |_, _, tensor| {
        count += 1;
        sizes.push(model.tensor_bytes(tensor)?.len());
        Ok(())
    })
    .unwrap();
    assert_eq!(count, census.tensors);
    assert!(sizes.iter().all(|size| matches!(size, 8 | 16)));

    let mut copy = model.proto().clone();
    let mut changed = 0;
    visit::tensors_mut(&mut copy, &mut |_, _, tensor| {
        tensor.doc_string = Some("seen".into());
        changed += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(changed, census.tensors);
    assert_eq!(
        model.external_files()[sample::LOCATION],
        sample::data_file()
    );
}

#[test]
fn damaged_tensors_are_refused_by_rule_and_place() {
    let rows: &[(&str, Edit, ErrorKind, &str)] = &[
        (
            "undefined dtype",
            |m| inline_mut(m).data_type = Some(0),
            Malformed,
            "dtype-undefined",
        ),
        (
            "no dtype",
            |m| inline_mut(m).data_type = None,
            Malformed,
            "dtype-undefined",
        ),
        (
            "unknown dtype",
            |m| inline_mut(m).data_type = Some(99),
            Unsupported,
            "dtype-unknown",
        ),
        (
            "negative dim",
            |m| inline_mut(m).dims = vec![-2],
            Malformed,
            "negative-dimension",
        ),
        (
            "2^40 elements",
            |m| inline_mut(m).dims = vec![1 << 40],
            Limit,
            "elements",
        ),
        (
            "product overflows",
            |m| inline_mut(m).dims = vec![1 << 32, 1 << 32, 2],
            Malformed,
            "size-overflow",
        ),
        (
            "wraps to two",
            |m| inline_mut(m).dims = vec![i64::MAX, 2, 2],
            Malformed,
            "size-overflow",
        ),
        (
            "zero hides overflow",
            |m| inline_mut(m).dims = vec![0, i64::MAX, 4],
            Malformed,
            "size-overflow",
        ),
        (
            "too short",
            |m| inline_mut(m).dims = vec![3],
            Malformed,
            "payload-size",
        ),
        (
            "too long",
            |m| inline_mut(m).dims = vec![1],
            Malformed,
            "payload-size",
        ),
        (
            "raw and typed",
            |m| inline_mut(m).float_data = vec![1.0, 2.0],
            Malformed,
            "two-payloads",
        ),
        (
            "two typed",
            |m| {
                let tensor = inline_mut(m);
                tensor.raw_data = None;
                tensor.float_data = vec![1.0, 2.0];
                tensor.int32_data = vec![1, 2];
            },
            Malformed,
            "two-payloads",
        ),
        (
            "external and raw",
            |m| external_mut(m).raw_data = Some(Bytes::from_static(&[0; 8])),
            Malformed,
            "two-payloads",
        ),
        (
            "no payload",
            |m| inline_mut(m).raw_data = None,
            Malformed,
            "payload-missing",
        ),
        (
            "wrong field",
            |m| {
                let tensor = inline_mut(m);
                tensor.raw_data = None;
                tensor.int64_data = vec![1, 2];
            },
            Malformed,
            "payload-field",
        ),
        (
            "strings in raw",
            |m| inline_mut(m).data_type = Some(8),
            Malformed,
            "payload-field",
        ),
        (
            "segment",
            |m| inline_mut(m).segment = Some(TensorSegment::default()),
            Unsupported,
            "tensor-segment",
        ),
        (
            "bool of 2",
            |m| {
                let tensor = inline_mut(m);
                tensor.raw_data = None;
                tensor.data_type = Some(9);
                tensor.int32_data = vec![1, 2];
            },
            Malformed,
            "payload-range",
        ),
        (
            "int8 of 300",
            |m| {
                let tensor = inline_mut(m);
                tensor.raw_data = None;
                tensor.data_type = Some(3);
                tensor.int32_data = vec![1, 300];
            },
            Malformed,
            "payload-range",
        ),
    ];
    amphora_testing::each(rows, |(_, edit, kind, rule)| {
        // The external one is named 'e', all others 'w'.
        refused(*edit, *kind, rule, "graph 'main', initializer '")
    });
}

#[test]
fn a_tensor_in_thirty_sub_graphs_has_a_short_place() {
    let mut graph = GraphProto {
        name: Some("deepest".into()),
        initializer: vec![TensorProto {
            dims: vec![3],
            ..sample::raw("w")
        }],
        ..GraphProto::default()
    };
    for depth in 0..30 {
        let branch = AttributeProto {
            name: Some("then_branch".into()),
            g: Some(Box::new(graph)),
            ..AttributeProto::default()
        };
        graph = GraphProto {
            name: Some(format!("g{depth}").repeat(100)),
            node: vec![sample::node("If", vec![branch])],
            ..GraphProto::default()
        };
    }
    let model = ModelProto {
        graph: Some(graph),
        ..ModelProto::default()
    };
    let bytes = write::to_bytes(&model).into();
    let error = Model::from_bytes(bytes, None, &Limits::default()).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.rule(), "payload-size");
    assert!(text.contains("..., attribute 'then_branch'"), "{text}");
    assert!(text.contains("graph 'deepest', initializer 'w'"), "{text}");
    assert!(text.len() < 2_000, "{} bytes", text.len());
}
