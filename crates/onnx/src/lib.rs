//! Reading, checking, building and writing ONNX models.
#![forbid(unsafe_code)]

mod contract;
mod dtype;
pub mod proto;

pub use contract::{Contract, Dim, TensorSpec};
pub use dtype::Dtype;
