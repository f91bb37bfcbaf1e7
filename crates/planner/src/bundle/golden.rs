//! The sparse forward pass against the golden vectors of its own bundle.

use amphora_checkpoint::{Limits, Safetensors};
use amphora_error::Result;
use bytes::Bytes;

use crate::forward::SparseMlp;

/// The format of golden vectors that is understood here.
const FORMAT: &str = "amphora.golden.v1";
/// How close every logit must come to its reference (document 000).
const TOLERANCE: f64 = 1e-5;

/// Whether `mlp` comes closer than [`TOLERANCE`] to every reference in `vectors`, of which there is
/// at least one for each head. Vectors in another form prove nothing.
pub(super) fn agrees(mlp: &SparseMlp, vectors: &Bytes) -> Result<bool> {
    let file = Safetensors::from_bytes(vectors, &Limits::default())?;
    let known = file.metadata.get("format").is_some_and(|f| f == FORMAT);
    let Some(input) = file.tensors.get(mlp.input()).filter(|_| known) else {
        return Ok(false);
    };
    let [cases, width] = input.shape()[..] else {
        return Ok(false);
    };
    if cases == 0 || width != mlp.width() as u64 {
        return Ok(false);
    }
    let mut references = Vec::with_capacity(mlp.heads().len());
    for head in mlp.heads() {
        match file.tensors.get(&head.name) {
            Some(tensor) if tensor.shape() == [cases, head.classes as u64] => {
                references.push(tensor.to_f64()?);
            }
            _ => return Ok(false),
        }
    }
    let rows: Vec<(Vec<u32>, Vec<f32>)> = input
        .to_f32()?
        .chunks_exact(mlp.width())
        .map(|row| {
            let nonzero = (0..).zip(row).filter(|(_, value)| **value != 0.0);
            nonzero.map(|(index, value)| (index, *value)).unzip()
        })
        .collect();
    let slices = rows
        .iter()
        .map(|(indices, values)| (&indices[..], &values[..]));
    let mut row = 0;
    let mut close = true;
    mlp.forward_each(slices, |logits| {
        let heads = mlp.heads().iter().zip(&references);
        for (found, (head, reference)) in mlp.split(logits).zip(heads) {
            let reference = &reference[row * head.classes..][..head.classes];
            let pairs = found.iter().zip(reference);
            close &= pairs.fold(true, |close, (found, reference)| {
                // A difference that is no number is not close.
                close & ((f64::from(*found) - reference).abs() < TOLERANCE)
            });
        }
        row += 1;
    })?;
    Ok(close)
}
