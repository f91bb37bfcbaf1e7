use std::os::unix::fs::symlink;
use std::path::Path;

use amphora_error::ErrorKind::{self, Limit, Malformed, NotFound};
use amphora_onnx::proto::*;
use amphora_onnx::visit::{self, Role};
use amphora_onnx::{Limits, Model, write};
use bytes::Bytes;

use crate::sample::{self, Edit, entry, expect, external_mut, refused};

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
