//! Reading, checking, building and writing ONNX models.
#![forbid(unsafe_code)]

mod check;
mod contract;
mod dtype;
pub mod external;
mod extract;
mod limits;
mod model;
pub mod operators;
mod prescan;
pub mod proto;
mod schema;
mod sniff;
pub mod tensor;
pub mod visit;
pub mod write;

pub use check::{CheckReport, Finding};
pub use contract::{Contract, Dim, TensorSpec};
pub use dtype::Dtype;
pub use limits::Limits;
pub use model::Model;
pub use prescan::{Census, prescan};
