//! Files that people hand over by mistake are named for what they are.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use amphora_checkpoint::{Checkpoint, Format, Limits};
use amphora_error::ErrorKind;
use support::pickle::{dict, dump, vector};
use support::{read, refused, safetensors, torch_legacy, torch_zip};

#[test]
fn every_stranger_is_named() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let script = support::archive::write(&[
        support::archive::Entry::stored("m/data.pkl", b"\x80\x02}."),
        support::archive::Entry::stored("m/constants.pkl", b"\x80\x02)."),
    ]);
    let other = dump(&dict(&[("w", vector("0", 1))]));
    let rows: [(&[u8], ErrorKind, &str, &str); 21] = [
        (b"", ErrorKind::Malformed, "not-a-checkpoint", "empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "Git LFS",
        ),
        (
            b"<!DOCTYPE html><html>",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "web page",
        ),
        (
            b"\n <HTML lang=en>",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "web page",
        ),
        (
            b"\x89HDF\r\n\x1a\n\0\0",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "HDF5",
        ),
        (
            b"GGUF\x03\0\0\0\0\0",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "GGUF",
        ),
        (
            b"\x20\0\0\0ORTM\0\0",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "ONNX Runtime's own format",
        ),
        (
            b"\x1c\0\0\0TFL3\0\0",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "TensorFlow Lite",
        ),
        (
            b"\x93NUMPY\x01\0v\0{'descr'",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "NumPy",
        ),
        (
            b"\x1f\x8b\x08\0\0",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "gzip",
        ),
        (
            b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "empty zip",
        ),
        (
            b"\x08\x07\x12\x07pytorch",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "ONNX",
        ),
        (
            b"{\"model_type\": 1}",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "JSON",
        ),
        (
            b"just some words",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "not a checkpoint",
        ),
        (
            b"\0",
            ErrorKind::Malformed,
            "not-a-checkpoint",
            "not a checkpoint",
        ),
        (&tar, ErrorKind::Unsupported, "legacy-tar", "tar archive"),
        (
            &script,
            ErrorKind::Unsupported,
            "torchscript",
            "TorchScript",
        ),
        (
            &other,
            ErrorKind::Malformed,
            "pickle",
            "this is a pickle; convert it in its own environment",
        ),
        (
            b"\x80\x04\x95\0\0\0\0\0\0\0\0cos\nsystem\n",
            ErrorKind::Malformed,
            "pickle",
            "this is a pickle",
        ),
        (
            b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x1a.",
            ErrorKind::Malformed,
            "pickle",
            "this is a pickle",
        ),
        (b"PK\x03\x04", ErrorKind::Malformed, "zip-end", "cut off"),
    ];
    amphora_testing::each(&rows, |(file, kind, rule, needle)| {
        refused(file, *kind, rule, needle)
    });
}

#[test]
fn the_protocol_number_of_the_legacy_format_is_checked() {
    let healthy = torch_legacy(&dump(&dict(&[("w", vector("0", 1))])), &[("0", 1, &[0; 4])]);
    assert_eq!(read(&healthy).unwrap().format(), Format::TorchLegacy);
    let mut other = healthy;
    // The first byte of 1001 in the second pickle: after 15 bytes, protocol (2), LONG1 and its length (2).
    other[19] ^= 1;
    refused(&other, ErrorKind::Unsupported, "legacy-protocol", "1001").unwrap();
}

/// The length of a safetensors header can look like the start of another format.
#[test]
fn a_header_length_that_looks_like_another_format_does_not_mislead() {
    for length in [0x0280_usize, 0x0480, 0x1208, 0x8b1f] {
        let header = format!("{{{}}}", " ".repeat(length - 2));
        let file = safetensors(&header, &[]);
        assert_eq!(
            read(&file).unwrap().format(),
            Format::Safetensors,
            "{length:#x}"
        );
    }
}

#[test]
fn the_name_of_the_file_decides_nothing_and_is_in_every_error() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        path
    };
    let limits = Limits::default();
    let zip = torch_zip(&dump(&dict(&[("w", vector("0", 1))])), &[("0", &[0; 4])]);
    let misnamed = write("model.safetensors", &zip);
    assert_eq!(
        Checkpoint::open(misnamed, &limits).unwrap().format(),
        Format::TorchZip
    );

    let empty = write("empty.pt", b"");
    let error = Checkpoint::open(&empty, &limits).unwrap_err();
    assert_eq!(error.file(), Some(empty.as_path()));

    let error = Checkpoint::open(folder.path().join("absent.pt"), &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let small = Limits {
        file_bytes: 10,
        ..Limits::default()
    };
    let error = Checkpoint::open(write("large.pt", &zip), &small).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Limit, "file-size")
    );
}
