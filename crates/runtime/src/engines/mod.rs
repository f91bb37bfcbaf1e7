//! The engines.

mod handover;
mod locate;
pub(crate) mod ort;
pub(crate) mod rten;
#[cfg(feature = "tract")]
pub(crate) mod tract;

pub use locate::OrtLocation;
