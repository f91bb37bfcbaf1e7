//! Model directories as the Hugging Face Hub lays them out.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::path::Path;

use amphora_checkpoint::{Checkpoint, Format, Limits};
use amphora_error::{Error, ErrorKind};
use support::pickle::{dict, dump, vector};
use support::{safetensors, torch_zip};

const INDEX: &str = "model.safetensors.index.json";

/// A safetensors file with one byte per name.
fn shard(names: &[&str]) -> Vec<u8> {
    let entries: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            format!(
                r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{at},{}]}}"#,
                at + 1
            )
        })
        .collect();
    safetensors(&format!("{{{}}}", entries.join(",")), &vec![1; names.len()])
}

fn open(files: &[(&str, &[u8])]) -> Result<Checkpoint, Error> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs_err::write(folder.path().join(name), bytes).unwrap();
    }
    Checkpoint::open(folder.path(), &Limits::default())
}

/// Where a tensor lies: file and offset.
fn place<'a>(checkpoint: &'a Checkpoint, name: &str) -> Option<(&'a str, u64)> {
    let place = checkpoint.tensors()[name].place()?;
    Some((&place.file, place.offset))
}

fn same_tensors(left: &Checkpoint, right: &Checkpoint) {
    assert_eq!(names(left), names(right));
    for (name, tensor) in left.tensors() {
        let same = &right.tensors()[name];
        assert_eq!(tensor.place(), same.place(), "{name}");
        assert_eq!(tensor.digest().unwrap(), same.digest().unwrap(), "{name}");
        assert_eq!(tensor.data().unwrap(), same.data().unwrap(), "{name}");
        assert_eq!(tensor.to_f64().unwrap(), same.to_f64().unwrap(), "{name}");
    }
}

fn names(checkpoint: &Checkpoint) -> Vec<&str> {
    checkpoint.tensors().keys().map(String::as_str).collect()
}

#[test]
fn each_layout_reads() {
    let config = br#"{"model_type": "mlp"}"#;
    let single = open(&[
        ("model.safetensors", &shard(&["a", "b"])),
        ("config.json", config),
    ])
    .unwrap();
    assert_eq!(names(&single), ["a", "b"]);
    assert_eq!(single.config().unwrap()["model_type"], "mlp");
    let data_start = shard(&["a", "b"]).len() as u64 - 2;
    assert_eq!(
        place(&single, "b"),
        Some(("model.safetensors", data_start + 1))
    );

    let zip = torch_zip(&dump(&dict(&[("w", vector("0", 1))])), &[("0", &[0; 4])]);
    let torch = open(&[("pytorch_model.bin", &zip)]).unwrap();
    assert_eq!(
        (names(&torch), torch.format()),
        (vec!["w"], Format::TorchZip)
    );

    let index = br#"{"metadata":{"total_size":3},"weight_map":{"a":"1.safetensors","b":"2.safetensors","c":"1.safetensors"}}"#;
    let sharded = open(&[
        (INDEX, index),
        ("1.safetensors", &shard(&["a", "c"])),
        ("2.safetensors", &shard(&["b"])),
    ])
    .unwrap();
    assert_eq!(names(&sharded), ["a", "b", "c"]);
    assert_eq!(place(&sharded, "b").unwrap().0, "2.safetensors");
}

#[test]
fn weights_left_in_place_are_those_that_are_read_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let limits = Limits::default();
    let both = |path: &Path| {
        let whole = Checkpoint::open(path, &limits).unwrap();
        let in_place = Checkpoint::open_in_place(path, &limits).unwrap();
        assert!(whole.file_names().eq(in_place.file_names()));
        same_tensors(&whole, &in_place);
        in_place
    };
    let index = br#"{"weight_map":{"a":"1.safetensors","b":"2.safetensors","c":"1.safetensors"}}"#;
    fs_err::write(at(INDEX), index).unwrap();
    fs_err::write(at("1.safetensors"), shard(&["a", "c"])).unwrap();
    fs_err::write(at("2.safetensors"), shard(&["b"])).unwrap();
    both(folder.path());
    let single = both(&at("1.safetensors"));
    assert!(single.files().is_empty());
    // Other formats are read as ever.
    let zip = torch_zip(&dump(&dict(&[("w", vector("0", 1))])), &[("0", &[0; 4])]);
    fs_err::write(at("model.pt"), zip).unwrap();
    assert_eq!(both(&at("model.pt")).format(), Format::TorchZip);

    let file = fs_err::OpenOptions::new()
        .write(true)
        .open(at("1.safetensors"))
        .unwrap();
    file.set_len(9).unwrap();
    let error = single.tensors()["a"].data().unwrap_err();
    assert_eq!(error.rule(), "file-changed");
    let error = Checkpoint::open_in_place(at("1.safetensors"), &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn a_fixture_directory_reads_as_its_parts() {
    let Some(folder) = amphora_testing::fixture("planner_mlp") else {
        return;
    };
    let limits = Limits::default();
    let whole = Checkpoint::open(&folder, &limits).unwrap();
    let file = Checkpoint::open(folder.join("model.safetensors"), &limits).unwrap();
    same_tensors(&whole, &file);
    assert_eq!(
        serde_json::Value::Object(whole.config().unwrap().clone()),
        amphora_files::json::read(folder.join("config.json")).unwrap()
    );
}

#[test]
fn every_fault_of_a_directory_is_refused() {
    let a = shard(&["a"]);
    let index = |map: &str| format!(r#"{{"weight_map":{map}}}"#).into_bytes();
    let rows: Vec<(&str, Vec<u8>, ErrorKind, &str, &str)> = vec![
        (
            "a tensor in another shard",
            index(r#"{"a":"1","b":"1"}"#),
            ErrorKind::Malformed,
            "shard-index",
            "'b' is not in '1'",
        ),
        (
            "a tensor not in the index",
            index(r#"{"b":"1"}"#),
            ErrorKind::Malformed,
            "shard-index",
            "'a' is in '1'",
        ),
        (
            "a shard that is missing",
            index(r#"{"a":"2"}"#),
            ErrorKind::NotFound,
            "file-not-found",
            "2",
        ),
        (
            "a shard elsewhere",
            index(r#"{"a":"../1"}"#),
            ErrorKind::Malformed,
            "path-not-canonical",
            "",
        ),
        (
            "a map that is none",
            index("[]"),
            ErrorKind::Malformed,
            "shard-index",
            "weight_map",
        ),
        (
            "no map",
            b"{}".to_vec(),
            ErrorKind::Malformed,
            "shard-index",
            "weight_map",
        ),
        (
            "not an object",
            b"[]".to_vec(),
            ErrorKind::Malformed,
            "json",
            INDEX,
        ),
    ];
    amphora_testing::each(&rows, |(_, index, kind, rule, needle)| {
        match open(&[(INDEX, index), ("1", &a)]) {
            Err(error)
                if error.kind() == *kind
                    && error.rule() == *rule
                    && error.to_string().contains(needle) =>
            {
                Ok(())
            }
            answer => Err(format!("{answer:?}")),
        }
    });
    let index = index(r#"{"a":"1"}"#);
    let error = open(&[(INDEX, &index), ("1", b"short")]).unwrap_err();
    assert_eq!(error.rule(), "safetensors-truncated");
    let error = open(&[("README.md", b"#")]).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::NotFound, "checkpoint-directory")
    );
}

#[test]
fn a_shard_behind_a_link_is_refused_and_a_well_known_name_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(Path::new(to), at(name)).unwrap();
    fs_err::write(at("blob"), shard(&["a"])).unwrap();
    link("blob", "1");
    fs_err::write(at(INDEX), br#"{"weight_map":{"a":"1"}}"#).unwrap();
    let open = || Checkpoint::open(folder.path(), &Limits::default());
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Malformed);
    link("blob", "model.safetensors");
    assert_eq!(names(&open().unwrap()), ["a"]);
}
