//! Reading, checking, building and writing ONNX models.
//!
//! * [`Model`]: a model in memory that nobody else can change, within [`Limits`], its external data
//!   resolved. [`Model::open`] reads a file.
//! * [`Contract`]: what goes in and what comes out, from [`Model::contract`]: [`TensorSpec`] with
//!   [`Dtype`] and [`Dim`].
//! * [`proto`]: the messages of `onnx.proto3`; [`visit`] finds every node and tensor in them.
//! * [`external`]: tensors whose payload is in another file. [`tensor`]: sizes of payloads.
//! * [`Model::check`]: whether the graph makes sense; [`operators`], the published operator schemas
//!   as data, say what nodes may be. [`Model::infer_shapes`]: dtypes and shapes of every value.
//! * [`write`](mod@write): models as bytes, weights inside or in a data file.
//! * [`build`]: new graphs, node by node.
//!
//! ```
//! use amphora_onnx::build::GraphBuilder;
//! use amphora_onnx::{Dim, Dtype, Limits, Model, write};
//!
//! let mut graph = GraphBuilder::new("halve", 14)?;
//! let shape = [Dim::Symbol("batch".into()), Dim::Fixed(2)];
//! let x = graph.input("x", Dtype::Float32, &shape);
//! let half = graph.scalar(0.5);
//! let y = graph.binary("Mul", &x, &half);
//! graph.output(&y, "y", Dtype::Float32, &shape);
//! let file = write::to_bytes(&graph.finish());
//!
//! let model = Model::from_bytes(file.into(), None, &Limits::default())?;
//! model.check()?;
//! let contract = model.contract()?;
//! assert_eq!(contract.inputs[0].name, "x");
//! assert_eq!(contract.inputs[0].shape.as_deref(), Some(&shape[..]));
//! assert_eq!(contract.operators["Mul"], 1);
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! A model file is a program that somebody else wrote, and engines believe it: they follow its links,
//! abort on its nesting and allocate what its shapes ask for. So nothing reaches an engine, or even
//! the decoder, unchecked:
//!
//! 1. The bytes are read once, into memory that no other process can change or truncate.
//! 2. A walk over the wire format ([`prescan`](fn@prescan)) counts messages, nesting, nodes and the
//!    memory that decoding will take, before any of it is spent. It knows the schema, and refuses what
//!    two readers could understand in two ways: a singular field that occurs twice, a wrong wire type.
//! 3. Decoding borrows payloads from those bytes. Weights dominate, and they are never copied, never
//!    cast: most payloads are not aligned for their dtype.
//! 4. One visitor finds every tensor, in whatever attribute, branch or function it hides, and each
//!    must have one payload of exactly the size that dtype and shape declare.
//! 5. External data is opened beneath the model's directory, without links, each file once; sizes are
//!    compared before content is read, and what was checked is what is handed on.
//!
//! The decoder recurses, and so does the visitor; both are bounded, by the nesting limit of the
//! pre-scan. Everything that walks along edges of the graph iterates instead.
#![forbid(unsafe_code)]

pub mod build;
mod check;
mod contract;
mod dtype;
pub mod external;
mod extract;
mod infer;
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
pub use infer::{InferredTensor, ShapeTable};
pub use limits::Limits;
pub use model::Model;
pub use prescan::{Census, prescan};
