use std::os::unix::fs::symlink;
use std::path::Path;

use amphora_error::ErrorKind::{self, Limit, Malformed, NotFound, Unsupported};
use amphora_onnx::proto::*;
use amphora_onnx::visit::{self, Role};
use amphora_onnx::{Limits, Model, prescan, write};
use bytes::Bytes;

use crate::sample::{self, entry, external_mut, inline_mut};

type Edit = fn(&mut ModelProto);

/// Opens the sample after `edit` and expects the refusal.
fn refused(edit: Edit, kind: ErrorKind, rule: &str, place: &str) -> Result<(), String> {
    let scratch = tempfile::tempdir().unwrap();
    let mut model = sample::model();
    edit(&mut model);
    let path = sample::write(scratch.path(), &model);
    expect(Model::open(&path, &Limits::default()), kind, rule, place)
}

fn expect(
    answer: amphora_error::Result<Model>,
    kind: ErrorKind,
    rule: &str,
    place: &str,
) -> Result<(), String> {
    match answer {
        Ok(_) => Err("accepted".into()),
        Err(error) if (error.kind(), error.rule()) != (kind, rule) => Err(format!("{error:?}")),
        Err(error) if !error.to_string().contains(place) => Err(format!("no place: {error}")),
        Err(_) => Ok(()),
    }
}

/// The twin of every row below.
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

fn set(model: &mut ModelProto, key: &str, value: &str) {
    let entries = &mut external_mut(model).external_data;
    entries.retain(|entry| entry.key() != key);
    entries.push(entry(key, value));
}

#[test]
fn damaged_references_are_refused_by_rule_and_place() {
    let rows: &[(&str, Edit, &str)] = &[
        (
            "traversal",
            |m| set(m, "location", "../../etc/passwd"),
            "path-not-canonical",
        ),
        (
            "inner traversal",
            |m| set(m, "location", "weights/../../x"),
            "path-not-canonical",
        ),
        (
            "absolute",
            |m| set(m, "location", "/proc/self/environ"),
            "path-not-canonical",
        ),
        (
            "URL",
            |m| set(m, "location", "http://example.com/x"),
            "path-not-canonical",
        ),
        (
            "backslash",
            |m| set(m, "location", "..\\..\\x"),
            "path-not-canonical",
        ),
        ("drive", |m| set(m, "location", "C:w"), "path-not-canonical"),
        (
            "UNC",
            |m| set(m, "location", "\\\\host\\share\\x"),
            "path-not-canonical",
        ),
        (
            "current directory",
            |m| set(m, "location", "./weights/all.bin"),
            "path-not-canonical",
        ),
        ("empty", |m| set(m, "location", ""), "path-not-canonical"),
        (
            "memory address",
            |m| set(m, "location", "*/_ORT_MEM_ADDR_/*"),
            "external-data-location",
        ),
        (
            "no location",
            |m| {
                external_mut(m).external_data.remove(0);
            },
            "external-data-location",
        ),
        (
            "unknown key",
            |m| set(m, "__class__", "x"),
            "external-data-key",
        ),
        (
            "key twice",
            |m| {
                let again = entry("offset", "8");
                external_mut(m).external_data.push(again);
            },
            "external-data-key",
        ),
        (
            "length 2^62",
            |m| set(m, "length", "4611686018427387904"),
            "external-data-size",
        ),
        (
            "length of another shape",
            |m| set(m, "length", "12"),
            "external-data-size",
        ),
        (
            "no length, not at the end",
            |m| {
                external_mut(m).external_data.pop();
            },
            "external-data-size",
        ),
        (
            "overflow",
            |m| set(m, "offset", "18446744073709551615"),
            "external-data-range",
        ),
        (
            "beyond the end",
            |m| set(m, "offset", "57"),
            "external-data-range",
        ),
        (
            "offset beyond u64",
            |m| set(m, "offset", "18446744073709551616"),
            "external-data-number",
        ),
        (
            "negative",
            |m| set(m, "offset", "-8"),
            "external-data-number",
        ),
        (
            "hexadecimal",
            |m| set(m, "offset", "0x8"),
            "external-data-number",
        ),
        ("spaces", |m| set(m, "offset", " 8"), "external-data-number"),
        ("plus", |m| set(m, "offset", "+8"), "external-data-number"),
        (
            "empty number",
            |m| set(m, "length", ""),
            "external-data-number",
        ),
        (
            "wrong checksum",
            |m| set(m, "checksum", &"0".repeat(40)),
            "external-data-checksum",
        ),
        (
            "no checksum",
            |m| set(m, "checksum", "sha256:00"),
            "external-data-checksum",
        ),
        (
            "undefined location",
            |m| external_mut(m).data_location = Some(2),
            "data-location",
        ),
        (
            "reference of an inline tensor",
            |m| external_mut(m).data_location = Some(0),
            "external-data-unused",
        ),
        (
            "strings",
            |m| external_mut(m).data_type = Some(8),
            "external-data-dtype",
        ),
        (
            "shape of 2^33 bytes",
            |m| external_mut(m).dims = vec![1 << 31],
            "external-data-size",
        ),
    ];
    amphora_testing::each(rows, |(_, edit, rule)| {
        refused(*edit, Malformed, rule, "graph 'main', initializer 'e'")
    });
}

#[test]
fn references_that_say_less_or_more_are_accepted() {
    let rows: &[(&str, Edit)] = &[
        ("to the end", |m| {
            set(m, "offset", "56");
            external_mut(m)
                .external_data
                .retain(|entry| entry.key() != "length");
        }),
        ("from the start", |m| {
            external_mut(m)
                .external_data
                .retain(|entry| entry.key() != "offset")
        }),
        // SHA-1 of the bytes 8 to 15, from `sha1sum`.
        ("checksum", |m| {
            set(m, "checksum", "7E18779A92C6B695353DC507ECF9CD1F7F493A7B")
        }),
        ("the last byte", |m| set(m, "offset", "56")),
        ("no elements", |m| {
            external_mut(m).dims = vec![0];
            set(m, "length", "0");
        }),
    ];
    amphora_testing::each(rows, |(_, edit)| {
        let scratch = tempfile::tempdir().unwrap();
        let mut model = sample::model();
        edit(&mut model);
        let path = sample::write(scratch.path(), &model);
        Model::open(&path, &Limits::default()).map(drop)
    });
}

#[test]
fn a_bad_path_is_found_wherever_the_tensor_hides() {
    let mut places = Vec::new();
    visit::tensors(&sample::model(), &mut |place, role, tensor| {
        if tensor.data_location.is_some() {
            places.push((place.of_tensor(tensor.name()), role));
        }
        Ok(())
    })
    .unwrap();
    for role in [Role::Initializer, Role::Attribute, Role::SparseValues] {
        assert!(places.iter().any(|(_, found)| *found == role), "{role:?}");
    }
    for part in [
        "function 'f'",
        "graph 'inner'",
        "training information",
        "node 'n_If' (If)",
    ] {
        assert!(
            places.iter().any(|(place, _)| place.contains(part)),
            "{part}: {places:#?}"
        );
    }
    let indices: Vec<usize> = (0..places.len()).collect();
    amphora_testing::each(&indices, |index| {
        let mut model = sample::model();
        let mut at = 0;
        visit::tensors_mut(&mut model, &mut |_, _, tensor| {
            if tensor.data_location.is_some() {
                if at == *index {
                    tensor.external_data[0] = entry("location", "../secret");
                }
                at += 1;
            }
            Ok(())
        })
        .unwrap();
        let external = [(sample::LOCATION.to_owned(), sample::data_file())];
        let answer = Model::from_parts(
            write::to_bytes(&model).into(),
            external.into(),
            &Limits::default(),
        );
        expect(answer, Malformed, "path-not-canonical", &places[*index].0)
    });
}

#[test]
fn files_that_are_not_plain_are_refused() {
    let data = |directory: &Path| directory.join(sample::LOCATION);
    type Swap = fn(&Path, &Path);
    let rows: &[(&str, Swap, ErrorKind, &str)] = &[
        (
            "absent",
            |_, data| fs_err::remove_file(data).unwrap(),
            NotFound,
            "file-not-found",
        ),
        (
            "symbolic link",
            |root, data| {
                fs_err::rename(data, root.join("elsewhere")).unwrap();
                symlink("../elsewhere", data).unwrap();
            },
            Malformed,
            "symbolic-link",
        ),
        (
            "parent link",
            |root, data| {
                let parent = data.parent().unwrap();
                fs_err::rename(parent, root.join("elsewhere")).unwrap();
                symlink("elsewhere", parent).unwrap();
            },
            Malformed,
            "symbolic-link",
        ),
        (
            "hard link",
            |root, data| fs_err::hard_link(data, root.join("twin")).unwrap(),
            Malformed,
            "hard-link",
        ),
        (
            "directory",
            |_, data| {
                fs_err::remove_file(data).unwrap();
                fs_err::create_dir(data).unwrap();
            },
            Malformed,
            "not-a-regular-file",
        ),
        (
            "FIFO",
            |_, data| {
                fs_err::remove_file(data).unwrap();
                let made = std::process::Command::new("mkfifo")
                    .arg(data)
                    .status()
                    .unwrap();
                assert!(made.success());
            },
            Malformed,
            "not-a-regular-file",
        ),
        (
            "shorter",
            |_, data| fs_err::write(data, [0; 15]).unwrap(),
            Malformed,
            "external-data-range",
        ),
    ];
    amphora_testing::each(rows, |(_, swap, kind, rule)| {
        let scratch = tempfile::tempdir().unwrap();
        let path = sample::write(scratch.path(), &sample::model());
        swap(scratch.path(), &data(scratch.path()));
        expect(
            Model::open(&path, &Limits::default()),
            *kind,
            rule,
            "initializer 'e'",
        )
    });
}

#[test]
fn limits_on_external_data_count_files_and_tensors() {
    let scratch = tempfile::tempdir().unwrap();
    let path = sample::write(scratch.path(), &sample::model());
    let mut tensors = 0_u64;
    visit::tensors(&sample::model(), &mut |_, _, tensor| {
        tensors += u64::from(tensor.data_location.is_some());
        Ok(())
    })
    .unwrap();
    let with = |external_bytes| Limits {
        external_bytes,
        ..Limits::default()
    };
    let needed = (tensors * 8).max(64);
    assert!(Model::open(&path, &with(needed)).is_ok());
    let error = Model::open(&path, &with(needed - 1)).unwrap_err();
    assert_eq!((error.kind(), error.rule()), (Limit, "external-bytes"));
    let bytes = Bytes::from(write::to_bytes(&sample::model()));
    let error = Model::from_bytes(bytes, None, &Limits::default()).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (NotFound, "external-data-missing")
    );
}

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
