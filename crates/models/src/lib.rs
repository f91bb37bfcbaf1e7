//! The known architectures as plain forward passes: the independent reference for exported graphs.
//!
//! * [`reference()`]: a checkpoint and its [`Architecture`] become a [`Reference`].
//! * [`Reference::forward`]: inputs by name to an [`Answer`], in [`Precision::F32`] or
//!   [`Precision::F64`]; [`Reference::forward_graph`] for a model of several graphs.
//! * [`Array`]: what goes in and comes out.
//!
//! ```
//! use std::collections::BTreeMap;
//! use amphora_checkpoint::{Checkpoint, Limits, architecture::Architecture};
//! use amphora_models::{Array, Data, Precision, reference};
//!
//! # let header = br#"{"go_head.bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"go_head.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},"trunk.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},"trunk.0.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[20,28]},"trunk.1.bias":{"dtype":"F32","shape":[2],"data_offsets":[28,36]},"trunk.1.weight":{"dtype":"F32","shape":[2],"data_offsets":[36,44]}}"#;
//! # let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! # file.extend(header);
//! # file.extend([1.0_f32; 11].iter().flat_map(|value| value.to_le_bytes()));
//! let config = serde_json::json!({
//!     "model_type": "mlp", "d_in": 1, "d_hidden": 2, "n_layers": 1, "heads": {"go": 1},
//! });
//! let architecture = Architecture::from_config(&config)?;
//! let checkpoint = Checkpoint::from_bytes(file.into(), &Limits::default())?; // all weights are 1
//!
//! let model = reference(&architecture, &checkpoint, Precision::F64)?;
//! let input = Array::new(vec![1, 1], Data::F64(vec![0.5]))?;
//! let answer = model.forward(&BTreeMap::from([("input".to_owned(), input)]))?;
//! assert_eq!(answer.outputs["go"].as_f64(), Some(&[3.0][..]));
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! Written from the published definitions of the layers and evaluated by candle on the processor;
//! nothing is shared with the exporters but the names and shapes of the tensors, so that a mistake
//! in a graph cannot hide in its own reference. Clarity before speed.

#![forbid(unsafe_code)]

mod array;
mod conv2d_fsq;
mod decoder;
mod encoder;
mod inputs;
mod layers;
mod mlp;
mod reference;
mod resnet;
mod rotary;
mod transformer;
mod urm;
mod vit;
mod weights;

#[cfg(doc)]
use amphora_checkpoint::architecture::Architecture;

pub use array::{Array, Data};
pub use reference::{Answer, Precision, Reference, reference};
