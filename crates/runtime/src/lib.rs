//! Tensors, engines behind one trait, and sessions that check what goes in.
//!
//! * [`Tensor`]: an array of any ONNX element type; from and to `.npy`, `.npz` and JSON.
//! * [`Calibration`]: temperatures that scale logits.
//! * [`InputPolicy`]: what may go into a graph beyond names, types and shapes.

#![forbid(unsafe_code)]

mod calibration;
mod check;
mod tensor;

pub use calibration::Calibration;
pub use check::InputPolicy;
pub use tensor::{Element, Tensor, from_npz, read_npz};
