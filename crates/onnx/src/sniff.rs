//! Tells files that are something else from damaged models, so that the message helps.

use amphora_error::{Error, Result};

/// Refuses `bytes` that are recognizably not an ONNX model.
pub(crate) fn refuse_other_formats(bytes: &[u8]) -> Result<()> {
    let Some((what, hint)) = recognize(bytes) else {
        return Ok(());
    };
    Err(Error::malformed("not-onnx", format!("this is {what}, not an ONNX model")).hint(hint))
}

/// A Core ML model starts like an ONNX file, with a small version (field 1), and a description
/// (field 2); then comes its kind, a message with a field number from 200 on, which ONNX does not have.
fn is_core_ml(bytes: &[u8]) -> bool {
    let [0x08, 1..=0x20, 0x12, rest @ ..] = bytes else {
        return false;
    };
    let kind = varint(rest).and_then(|(length, rest)| {
        let after = rest.get(usize::try_from(length).ok()?..)?;
        varint(after)
    });
    kind.is_some_and(|(key, _)| key & 7 == 2 && (200..=3000).contains(&(key >> 3)))
}

/// A varint of at most five bytes, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let last = bytes.iter().take(5).position(|byte| *byte < 0x80)?;
    let (number, rest) = bytes.split_at(last + 1);
    let value = number
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, rest))
}

/// What the file is, and what to do about it.
fn recognize(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const ARCHIVE: &str =
        "take a bundle or a package in with 'amphora import'; unpack anything else";
    const DOWNLOAD: &str = "the download answered with a page instead of the file: fetch it again";
    if bytes.is_empty() {
        return Some(("an empty file", "fetch or export the model again"));
    }
    if bytes.starts_with(b"version https://git-lfs") {
        return Some((
            "a Git LFS pointer",
            "run 'git lfs pull' to fetch the file itself",
        ));
    }
    let length = bytes
        .first_chunk::<8>()
        .map(|first| u64::from_le_bytes(*first));
    if bytes.get(8) == Some(&b'{') && length.is_some_and(|length| length <= bytes.len() as u64 - 8)
    {
        return Some((
            "a safetensors checkpoint",
            "export it with 'amphora export'",
        ));
    }
    if bytes.starts_with(b"PK\x03\x04") {
        let hint = "a PyTorch checkpoint is exported with 'amphora export'; otherwise unpack it";
        return Some(("a zip archive", hint));
    }
    if bytes.starts_with(b"\x1f\x8b") || bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        return Some(("a compressed file", ARCHIVE));
    }
    if matches!(bytes, [0x80, 2..=5, ..]) {
        return Some((
            "a pickle",
            "convert it in its own environment, or export the checkpoint",
        ));
    }
    if bytes.get(4..8) == Some(b"ORTM") {
        return Some(("a model in ONNX Runtime's own format", "export it as .onnx"));
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Some((
            "a TensorFlow Lite model",
            "convert it in its own environment: python -m tf2onnx.convert --tflite FILE --output model.onnx",
        ));
    }
    if bytes.starts_with(b"GGUF") {
        let hint = "export the safetensors checkpoint that it was made from: 'amphora export'";
        return Some(("a GGUF file", hint));
    }
    if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
        let hint = "save it in TensorFlow as a SavedModel, and pack that";
        return Some(("an HDF5 file (Keras)", hint));
    }
    if is_core_ml(bytes) {
        let hint = "take the model that it was converted from";
        return Some(("a Core ML model", hint));
    }
    let text = bytes.trim_ascii_start();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let opening: Vec<u8> = text.iter().take(9).map(u8::to_ascii_lowercase).collect();
    if [&b"<!doctype"[..], b"<html", b"<?xml"]
        .iter()
        .any(|tag| opening.starts_with(tag))
    {
        return Some(("an HTML or XML page", DOWNLOAD));
    }
    if matches!(text.first(), Some(b'{' | b'[')) {
        return Some(("JSON", DOWNLOAD));
    }
    None
}
