//! Tensors, engines behind one trait, and sessions that check what goes in.
//!
//! * [`Tensor`]: an array of any ONNX element type; from and to `.npy`,
//!   safetensors and JSON, and from `.npz`.
//! * [`Engine`]: runs graphs it is handed in memory. `rten` is always there; ONNX Runtime is loaded
//!   from a library on the machine ([`OrtLocation`]); tract is a feature of the build. [`engine`]
//!   picks one by [`EngineChoice`].
//! * [`Session`]: one graph in one engine. Takes tensors by name, reports all faults at once, answers
//!   [`Outputs`] by name.
//! * [`Cache`]: what a language model remembers from one call to the next, inside the engine.
//! * [`doctor`]: which engines were found, and why the others were not.
//! * [`isolate`]: an engine in a process of its own, under limits.
//! * `image` (feature `images`): pictures to tensors; `audio` (feature `audio`): sound, and back.
//! * `generation` (feature `generation`): language models that write text.
//! * [`Calibration`]: temperatures that scale logits.
//! * [`postprocess`]: the steps from an output to an embedding, to probabilities, to named classes.
//! * `text` (feature `text`): texts to token ids and back.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use amphora_onnx::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
//! # use amphora_onnx::proto::{TensorTypeProto, TypeProto, TypeValue, ValueInfoProto, TensorShapeProto};
//! use amphora_onnx::{Limits, Model};
//! use amphora_runtime::{EngineChoice, OrtLocation, Session, SessionOptions, Tensor, engine};
//!
//! # let float = |name: &str| ValueInfoProto {
//! #     name: Some(name.into()),
//! #     r#type: Some(TypeProto {
//! #         value: Some(TypeValue::Tensor(TensorTypeProto {
//! #             elem_type: Some(1),
//! #             shape: Some(TensorShapeProto::default()),
//! #         })),
//! #         ..TypeProto::default()
//! #     }),
//! #     ..ValueInfoProto::default()
//! # };
//! let node = NodeProto {
//!     op_type: Some("Neg".into()),
//!     input: vec!["x".into()],
//!     output: vec!["y".into()],
//!     ..NodeProto::default()
//! };
//! let graph = GraphProto {
//!     name: Some("negate".into()),
//!     node: vec![node],
//!     input: vec![float("x")],
//!     output: vec![float("y")],
//!     ..GraphProto::default()
//! };
//! let model = ModelProto {
//!     ir_version: Some(8),
//!     opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
//!     graph: Some(graph),
//!     ..ModelProto::default()
//! };
//! let model = Model::from_proto(model, &Limits::default())?;
//! let engine = engine(EngineChoice::Rten, &OrtLocation::default())?;
//! let mut session = Session::new(&model, engine, &SessionOptions::default(), None)?;
//! let outputs = session.run(&BTreeMap::from([("x".into(), Tensor::scalar(2.0_f32))]))?;
//! assert_eq!(outputs.get("y"), Some(&Tensor::scalar(-2.0_f32)));
//! # Ok::<(), amphora_error::Error>(())
//! ```
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

#[cfg(feature = "audio")]
pub mod audio;
mod cache;
mod calibration;
mod check;
mod doctor;
mod engine;
mod engines;
#[cfg(feature = "generation")]
pub mod generation;
#[cfg(feature = "images")]
pub mod image;
pub mod isolate;
mod operators;
pub mod postprocess;
mod session;
mod tensor;
#[cfg(feature = "text")]
pub mod text;

pub use cache::{Cache, Fed, Kept, Link, Ran};
pub use calibration::Calibration;
pub use check::InputPolicy;
pub use doctor::{EngineReport, LibraryReport, doctor};
pub use engine::{Engine, EngineChoice, Executable, engine};
pub use engines::OrtLocation;
pub use operators::UnsupportedOperator;
pub use session::{Outputs, Session, SessionOptions};
pub use tensor::{Element, Tensor, from_npz, read_npz, read_safetensors};
