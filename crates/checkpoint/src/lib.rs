//! Trained weights as named tensors, read as data: safetensors, PyTorch files and their configurations.
//!
//! * [`Checkpoint`]: the named tensors of one file or directory, whatever its [`Format`], and the
//!   configuration that comes with them.
//! * [`Tensor`]: element type ([`Dtype`]), shape and little-endian, contiguous bytes; where they lie in
//!   the file ([`Place`]).
//! * [`Safetensors`]: one safetensors file with its metadata, to read or to write.
//! * [`Limits`]: what reading may cost.
//! * [`SavedModel`]: what goes into a TensorFlow SavedModel and what comes out, by its signatures.
//! * [`architecture`]: the models whose configurations are understood, and the tensors they hold.
//!
//! ```
//! use amphora_checkpoint::{Checkpoint, Dtype, Limits};
//!
//! let header = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
//! let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! file.extend(header);
//! file.extend([1.0_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()));
//!
//! let checkpoint = Checkpoint::from_bytes(file.into(), &Limits::default())?;
//! let weight = &checkpoint.tensors()["w"];
//! assert_eq!((weight.dtype(), weight.shape()), (Dtype::F32, &[2][..]));
//! assert_eq!(weight.to_f32()?, [1.0, -2.0]);
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! The format is recognized by content, never by the name of the file. Every reader covers its
//! input to the last byte, compares each size with what is really there before it allocates, and
//! hands out slices of the file instead of copies wherever the bytes are stored as they are needed.
//!
//! A PyTorch file is a pickle, which is a program. It is decoded as data: the instructions that
//! build containers, numbers and text are followed, the handful of names that describe tensors are
//! noted, and everything else is refused by name. Values live in one arena of indices, so shared
//! and nested ones cost what they take up in the file, and no code here recurses over them.

#![forbid(unsafe_code)]

pub mod architecture;
mod archive;
mod checkpoint;
mod directory;
mod dtype;
mod limits;
mod pickle;
mod safetensors;
mod saved_model;
mod sniff;
mod tensor;
mod torch;

pub use checkpoint::{Checkpoint, Format};
pub use dtype::Dtype;
pub use limits::Limits;
pub use safetensors::Safetensors;
pub use saved_model::{SavedModel, Signature, SignatureTensor};
pub use tensor::{Place, Tensor};
