//! Attacks on the reader of ONNX, rows 1 to 32.

mod external;
mod graph;
mod names;
pub(crate) mod running;
pub(crate) mod sample;
mod tensors;
mod wire;

use crate::case::Case;

pub(crate) fn cases() -> Vec<Case> {
    let sections = [
        external::cases(),
        tensors::cases(),
        wire::cases(),
        graph::cases(),
        names::cases(),
    ];
    sections.into_iter().flatten().collect()
}
