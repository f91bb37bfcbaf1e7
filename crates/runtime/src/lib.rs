//! Tensors, engines behind one trait, and sessions that check what goes in.
//!
//! * [`Tensor`]: an array of any ONNX element type; from and to `.npy`,
//!   safetensors and JSON, and from `.npz`.
//! * [`Engine`]: runs graphs it is handed in memory. `rten` is always there; ONNX Runtime is loaded
//!   from a library on the machine ([`OrtLocation`]); tract is a feature of the build. [`engine`]
//!   picks one by [`EngineChoice`].
//! * [`Session`]: one graph in one engine. Takes tensors by name, reports all faults at once, answers
//!   [`Outputs`] by name.
//! * [`doctor`]: which engines were found, and why the others were not.
//! * [`isolate`]: an engine in a process of its own, under limits.
//! * [`Calibration`]: temperatures that scale logits.
//!
//! # Design
//!
//! Engines are not trusted. They open no path: external data is read, checked and hashed by
//! `amphora-onnx` and handed over as bytes. They see only messages that were checked: the graph is
//! written anew from them. Names, types and shapes come from the graph's contract, never from an
//! engine: rten has no 64-bit integers and no booleans, and its answers are brought back to the
//! types that the contract states. What an engine would change silently is refused, with every place
//! listed. A panic inside an engine is an error of kind `unsupported` that names the engine; a signal
//! or an endless loop can only be contained by another process, which is what [`isolate`] is for.

#![forbid(unsafe_code)]

mod calibration;
mod check;
mod doctor;
mod engine;
mod engines;
pub mod isolate;
mod operators;
mod session;
mod tensor;

pub use calibration::Calibration;
pub use check::InputPolicy;
pub use doctor::{EngineReport, LibraryReport, doctor};
pub use engine::{Engine, EngineChoice, Executable, engine};
pub use engines::OrtLocation;
pub use operators::UnsupportedOperator;
pub use session::{Outputs, Session, SessionOptions};
pub use tensor::{Element, Tensor, from_npz, read_npz, read_safetensors};
