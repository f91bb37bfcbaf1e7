use std::collections::BTreeMap;

use amphora_onnx::external;
use amphora_onnx::proto::*;
use amphora_onnx::write::{self, SelfContained};
use amphora_onnx::{Limits, Model, visit};
use bytes::Bytes;

use crate::sample;

/// A model with weights of 4, 4,000, 40,000 and again the same 40,000 bytes, and a large constant.
fn weighty() -> ModelProto {
    let mut model = sample::model();
    let tensor = |name: &str, bytes: Bytes| TensorProto {
        name: Some(name.into()),
        dims: vec![bytes.len() as i64],
        data_type: Some(2),
        raw_data: Some(bytes),
        ..TensorProto::default()
    };
    let shared: Bytes = (0..40_000_u32)
        .map(|i| (i % 253) as u8)
        .collect::<Vec<_>>()
        .into();
    let graph = model.graph.as_mut().unwrap();
    graph.initializer = vec![
        tensor("small", Bytes::from_static(&[1, 2, 3, 4])),
        tensor("large", vec![7; 4_000].into()),
        tensor("shared", shared.clone()),
        tensor("tied", shared),
    ];
    graph.node[0].attribute[0].t = Some(Box::new(tensor("constant", vec![9; 5_000].into())));
    model
}

fn open(model: &ModelProto) -> Model {
    let external = [(sample::LOCATION.to_owned(), sample::data_file())];
    Model::from_parts(
        write::to_bytes(model).into(),
        external.into(),
        &Limits::default(),
    )
    .unwrap()
}

fn reopen(files: &SelfContained) -> Model {
    let data = files
        .data
        .iter()
        .map(|data| ("m.onnx.data".to_owned(), data.to_bytes()));
    Model::from_parts(files.graph.clone(), data.collect(), &Limits::default()).unwrap()
}

/// The payload of every tensor, by order.
fn payloads(model: &Model) -> Vec<Bytes> {
    let mut payloads = Vec::new();
    visit::tensors(model.proto(), &mut |_, _, tensor| {
        payloads.push(model.tensor_bytes(tensor)?);
        Ok(())
    })
    .unwrap();
    payloads
}

#[test]
fn decoding_what_was_encoded_gives_the_same_model() {
    let model = open(&weighty());
    assert_eq!(*model.proto(), weighty());
    assert_eq!(write::to_bytes(model.proto()), model.bytes().unwrap()[..]);
}

#[test]
fn weights_below_the_limit_move_inside_the_model() {
    let model = open(&weighty());
    let files = write::self_contained(&model, "m.onnx.data", u64::MAX).unwrap();
    assert!(files.data.is_none());
    let again = reopen(&files);
    assert!(again.external_files().is_empty());
    assert_eq!(payloads(&again), payloads(&model));
}

#[test]
fn a_model_with_its_weights_inside_is_kept_byte_for_byte() {
    let inside = write::self_contained(&open(&weighty()), "m.onnx.data", u64::MAX)
        .unwrap()
        .graph;
    // An unknown field, which decoding and encoding would lose.
    let foreign = Bytes::from([&inside[..], &[0xa0, 0x06, 0x01]].concat());
    let model = Model::from_bytes(foreign.clone(), None, &Limits::default()).unwrap();
    let files = write::self_contained(&model, "m.onnx.data", 1 << 20).unwrap();
    assert_eq!(files.graph, foreign);
}

#[test]
fn weights_above_the_limit_move_to_aligned_offsets_of_the_data_file() {
    let model = open(&weighty());
    let files = write::self_contained(&model, "m.onnx.data", 1000).unwrap();
    let data = files.data.as_ref().unwrap();
    let again = reopen(&files);
    assert_eq!(payloads(&again), payloads(&model));
    assert_eq!(again.external_files().len(), 1);

    let mut places = BTreeMap::new();
    for tensor in &again.proto().graph.as_ref().unwrap().initializer {
        if let Some(reference) = external::reference(tensor).unwrap() {
            assert_eq!(reference.location.as_str(), "m.onnx.data");
            places.insert(tensor.name(), (reference.offset, reference.length.unwrap()));
        }
    }
    let expected = [
        ("large", (0, 4_000)),
        ("shared", (4096, 40_000)),
        ("tied", (45_056, 40_000)),
    ];
    assert_eq!(places, expected.into());
    assert_eq!(data.len(), 85_056);
    assert_eq!(data.to_bytes().len(), 85_056);
    assert!(data.to_bytes()[4_000..4_096].iter().all(|byte| *byte == 0));

    let once_more = write::self_contained(&model, "m.onnx.data", 1000).unwrap();
    assert_eq!(once_more.graph, files.graph);
    assert_eq!(once_more.data.unwrap().to_bytes(), data.to_bytes());
}

#[test]
fn tensors_that_share_bytes_share_them_in_the_data_file() {
    let files = write::self_contained(&open(&weighty()), "m.onnx.data", 1000).unwrap();
    let mut proto = reopen(&files).proto().clone();
    let initializers = &mut proto.graph.as_mut().unwrap().initializer;
    initializers[3].external_data = initializers[2].external_data.clone();
    let data = files.data.unwrap().to_bytes();
    let external = [("m.onnx.data".to_owned(), data)];
    let bytes = write::to_bytes(&proto).into();
    let model = Model::from_parts(bytes, external.into(), &Limits::default()).unwrap();
    let files = write::self_contained(&model, "m.onnx.data", 1000).unwrap();
    assert_eq!(files.data.as_ref().unwrap().len(), 44_096);
    assert_eq!(payloads(&reopen(&files)), payloads(&model));
}

#[test]
fn saving_leaves_one_file_or_two_on_request() {
    let scratch = tempfile::tempdir().unwrap();
    let model = open(&weighty());
    for (data_file, count) in [(false, 1), (true, 2)] {
        let path = scratch.path().join(format!("model{count}.onnx"));
        write::save(&model, &path, data_file).unwrap();
        let again = Model::open(&path, &Limits::default()).unwrap();
        assert_eq!(payloads(&again), payloads(&model));
        assert_eq!(again.external_files().len(), count - 1);
    }
    let mut names: Vec<_> = fs_err::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["model1.onnx", "model2.onnx", "model2.onnx.data"]);
}

#[test]
fn names_of_data_files_are_plain() {
    let model = open(&weighty());
    let rows = ["../m.data", "/m.data", "sub/m.data", ""];
    amphora_testing::each(&rows, |name| match write::self_contained(&model, name, 0) {
        Err(_) => Ok(()),
        Ok(_) => Err("accepted"),
    });
}
