//! Telling the files that people name apart: ONNX or checkpoint.

use amphora_error::Result;
use amphora_files::OpenedFile;

/// Largest file that is read from beside a model, in bytes: vocabularies of a million tokens are smaller.
pub(crate) const MAX_BESIDE: u64 = 256 << 20;

/// What a model file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ModelFile {
    /// An ONNX model, or at least nothing else that is known.
    Onnx,
    /// A PyTorch or safetensors checkpoint.
    Checkpoint,
}

/// Tells by the first bytes, never by the name.
pub(crate) fn kind_of(file: &OpenedFile) -> Result<ModelFile> {
    let head = file.range(0, file.len().min(9))?;
    let header = head
        .first_chunk::<8>()
        .map(|length| u64::from_le_bytes(*length));
    let safetensors =
        head.get(8) == Some(&b'{') && header.is_some_and(|length| length <= file.len());
    let zip = head.starts_with(b"PK\x03\x04");
    let pickle = matches!(head.as_slice(), [0x80, 2..=5, ..]);
    Ok(if safetensors || zip || pickle {
        ModelFile::Checkpoint
    } else {
        ModelFile::Onnx
    })
}
