//! The engines.

mod handover;
mod locate;
pub(crate) mod ort;
pub(crate) mod rten;

pub use locate::OrtLocation;
