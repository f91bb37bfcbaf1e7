use amphora_onnx::proto::*;
use amphora_onnx::{Limits, Model, write};
use bytes::Bytes;

use crate::sample;

#[test]
fn every_typed_payload_reads_as_the_packed_bytes_of_its_dtype() {
    struct Row {
        dtype: i32,
        elements: i64,
        fill: fn(&mut TensorProto),
        bytes: &'static [u8],
    }
    let rows = [
        Row {
            dtype: 1,
            elements: 1,
            fill: |t| t.float_data = vec![1.0],
            bytes: &[0, 0, 128, 63],
        },
        Row {
            dtype: 2,
            elements: 2,
            fill: |t| t.int32_data = vec![0, 255],
            bytes: &[0, 255],
        },
        Row {
            dtype: 3,
            elements: 2,
            fill: |t| t.int32_data = vec![-1, 127],
            bytes: &[255, 127],
        },
        Row {
            dtype: 4,
            elements: 1,
            fill: |t| t.int32_data = vec![65534],
            bytes: &[254, 255],
        },
        Row {
            dtype: 5,
            elements: 1,
            fill: |t| t.int32_data = vec![-2],
            bytes: &[254, 255],
        },
        Row {
            dtype: 6,
            elements: 1,
            fill: |t| t.int32_data = vec![-2],
            bytes: &[254, 255, 255, 255],
        },
        Row {
            dtype: 7,
            elements: 1,
            fill: |t| t.int64_data = vec![-2],
            bytes: &[254, 255, 255, 255, 255, 255, 255, 255],
        },
        Row {
            dtype: 9,
            elements: 2,
            fill: |t| t.int32_data = vec![1, 0],
            bytes: &[1, 0],
        },
        Row {
            dtype: 10,
            elements: 1,
            fill: |t| t.int32_data = vec![0x3c00],
            bytes: &[0, 0x3c],
        },
        Row {
            dtype: 11,
            elements: 1,
            fill: |t| t.double_data = vec![1.0],
            bytes: &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
        },
        Row {
            dtype: 12,
            elements: 1,
            fill: |t| t.uint64_data = vec![0xffff_fffe],
            bytes: &[254, 255, 255, 255],
        },
        Row {
            dtype: 13,
            elements: 1,
            fill: |t| t.uint64_data = vec![1],
            bytes: &[1, 0, 0, 0, 0, 0, 0, 0],
        },
        Row {
            dtype: 14,
            elements: 1,
            fill: |t| t.float_data = vec![1.0, 0.0],
            bytes: &[0, 0, 128, 63, 0, 0, 0, 0],
        },
        Row {
            dtype: 16,
            elements: 1,
            fill: |t| t.int32_data = vec![0x3f80],
            bytes: &[0x80, 0x3f],
        },
        Row {
            dtype: 17,
            elements: 1,
            fill: |t| t.int32_data = vec![0x38],
            bytes: &[0x38],
        },
        Row {
            dtype: 22,
            elements: 3,
            fill: |t| t.int32_data = vec![225, 3],
            bytes: &[225, 3],
        },
        // Packed by `onnx.numpy_helper`.
        Row {
            dtype: 27,
            elements: 5,
            fill: |t| t.int32_data = vec![1, 63, 32, 7, 42],
            bytes: &[193, 15, 30, 42],
        },
        Row {
            dtype: 26,
            elements: 5,
            fill: |t| t.int32_data = vec![25, 3],
            bytes: &[25, 3],
        },
        Row {
            dtype: 1,
            elements: 0,
            fill: |_| {},
            bytes: &[],
        },
    ];
    let mut wrong = Vec::new();
    for row in rows {
        let mut proto = sample::model();
        proto.functions.clear();
        proto.training_info.clear();
        let graph = proto.graph.as_mut().unwrap();
        graph.node.clear();
        graph.sparse_initializer.clear();
        let mut tensor = TensorProto {
            name: Some("t".into()),
            dims: vec![row.elements],
            data_type: Some(row.dtype),
            ..TensorProto::default()
        };
        (row.fill)(&mut tensor);
        graph.initializer = vec![tensor];
        let model = Model::from_proto(proto, &Limits::default());
        let found = model.and_then(|model| {
            model.tensor_bytes(&model.proto().graph.as_ref().unwrap().initializer[0])
        });
        if found.as_deref().ok() != Some(row.bytes) {
            wrong.push(format!("dtype {}: {found:?}", row.dtype));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nonfinite_weights_are_counted_in_every_float_dtype() {
    let mut proto = sample::model();
    let graph = proto.graph.as_mut().unwrap();
    let float = |name: &str, dtype, bytes: &'static [u8]| TensorProto {
        name: Some(name.into()),
        dims: vec![2],
        data_type: Some(dtype),
        raw_data: Some(Bytes::from_static(bytes)),
        ..TensorProto::default()
    };
    graph.initializer = vec![
        float("f32", 1, &[0, 0, 0xc0, 0x7f, 0, 0, 128, 63]),
        float("f16", 10, &[0, 0x7c, 0, 0x3c]),
        float("bf16", 16, &[0x80, 0xff, 0x80, 0x3f]),
        float(
            "f64",
            11,
            &[0, 0, 0, 0, 0, 0, 0xf0, 0x7f, 0, 0, 0, 0, 0, 0, 0xf0, 0xff],
        ),
        float("i16", 5, &[0xff, 0x7f, 0xff, 0xff]),
    ];
    let external = [(sample::LOCATION.to_owned(), Bytes::from(vec![0; 64]))];
    let bytes = write::to_bytes(&proto).into();
    let model = Model::from_parts(bytes, external.into(), &Limits::default()).unwrap();
    assert_eq!(model.nonfinite_weights(), 5);
}
