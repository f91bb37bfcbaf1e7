//! Recognizing a file by its content.

use amphora_error::{Error, Result};
use amphora_files::OpenedFile;

use crate::{Format, Limits, torch};

/// The format of `file`, or what it is instead.
pub(crate) fn format(file: &[u8], limits: &Limits) -> Result<Format> {
    // First, because the length of a header can look like the start of any other format.
    if file.get(8) == Some(&b'{') && header_fits(file, file.len() as u64) {
        return Ok(Format::Safetensors);
    }
    if file.starts_with(b"PK\x03\x04") {
        return Ok(Format::TorchZip);
    }
    if torch::is_legacy(file, limits) {
        return Ok(Format::TorchLegacy);
    }
    match stranger(file) {
        Some(error) => Err(error),
        None if file.get(8) == Some(&b'{') => Ok(Format::Safetensors),
        None => Err(
            not_a_checkpoint("this is not a checkpoint in a format that can be read")
                .expected("safetensors, or a PyTorch file"),
        ),
    }
}

/// Whether [`format`] would call this file safetensors, of which only the start is looked at.
pub(crate) fn is_safetensors(file: &OpenedFile) -> Result<bool> {
    let start = file.range(0, file.len().min(9))?;
    Ok(start.get(8) == Some(&b'{') && header_fits(&start, file.len()))
}

/// Whether the header of a file of `size` bytes, of which `start` is the beginning, ends within it.
fn header_fits(start: &[u8], size: u64) -> bool {
    start
        .first_chunk()
        .is_some_and(|length| u64::from_le_bytes(*length) <= size.saturating_sub(8))
}

/// A file of another kind that people hand over by mistake.
fn stranger(file: &[u8]) -> Option<Error> {
    let text = file.trim_ascii_start();
    let html = |start: &[u8]| {
        text.get(..start.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(start))
    };
    let error = if file.is_empty() {
        not_a_checkpoint("the file is empty")
    } else if file.starts_with(b"version https://git-lfs.github.com/spec/") {
        not_a_checkpoint("this is a Git LFS pointer, not the file it points to")
            .hint("run `git lfs pull` where the file comes from")
    } else if html(b"<!doctype html") || html(b"<html") {
        not_a_checkpoint("this is a web page, not a checkpoint")
            .hint("download the file again: the address leads to a page about it")
    } else if file.starts_with(b"\x89HDF\r\n\x1a\n") {
        not_a_checkpoint("this is an HDF5 file (Keras), not a PyTorch checkpoint")
            .hint("convert it in its own environment, to ONNX or to safetensors")
    } else if file.starts_with(b"GGUF") {
        not_a_checkpoint("this is a GGUF file, not a checkpoint")
            .hint("use the safetensors file that it was made from")
    } else if file.get(4..8) == Some(b"ORTM") {
        not_a_checkpoint("this is a model in ONNX Runtime's own format, not a checkpoint")
            .hint("export the model as .onnx, and pack that")
    } else if file.get(4..8) == Some(b"TFL3") {
        not_a_checkpoint("this is a TensorFlow Lite model, not a checkpoint")
            .hint("convert it to ONNX in its own environment, and pack that")
    } else if file.starts_with(b"\x93NUMPY") {
        not_a_checkpoint("this is a NumPy array, not a checkpoint")
    } else if file.starts_with(b"\x1f\x8b") {
        not_a_checkpoint("this is a gzip file, not a checkpoint").hint("unpack it first")
    } else if file.starts_with(b"PK\x05\x06") {
        not_a_checkpoint("this is an empty zip archive, not a checkpoint")
    } else if file.get(257..262) == Some(b"ustar") {
        Error::unsupported(
            "legacy-tar",
            "this is a tar archive, the format of PyTorch before 0.1.10",
        )
        .hint("load it in PyTorch and save its state dict again")
    } else if matches!(file, [0x80, 0..=5, ..]) {
        Error::malformed(
            "pickle",
            "this is a pickle; convert it in its own environment",
        )
        .hint("load it there, and save the state dict as safetensors")
    } else if is_onnx(file) {
        not_a_checkpoint("this is an ONNX model, not a checkpoint")
            .hint("it needs no export: `amphora pack --model FILE`")
    } else if text.starts_with(b"{") || text.starts_with(b"[") {
        not_a_checkpoint("this is text that looks like JSON, not a checkpoint")
            .hint("the configuration goes to `--config`")
    } else {
        return None;
    };
    Some(error)
}

/// An ONNX model starts with field 1 (`ir_version`, small), followed by a field of ModelProto that
/// holds bytes (2 to 8) or by `model_version` (5).
fn is_onnx(file: &[u8]) -> bool {
    matches!(
        file,
        [
            0x08,
            1..=0x20,
            0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42,
            ..
        ]
    )
}

fn not_a_checkpoint(message: &str) -> Error {
    Error::malformed("not-a-checkpoint", message)
}
