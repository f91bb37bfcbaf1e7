//! Proving a bundle: integrity, contract, model check, numeric replay, target.
//!
//! * [`verify`]: all stages in this order, one [`Report`]; a bundle that passed becomes a
//!   [`VerifiedBundle`], which holds the very bytes that were verified.
//! * [`Golden`]: inputs with the outputs that an engine must come close to: computed from a
//!   checkpoint by an independent reference, supplied by the packer, or recorded from one engine.
//! * [`replay`], [`Comparison`]: golden vectors through an engine, compared under a policy.
//!
//! ```
//! use amphora_bundle::manifest::Tolerance;
//! use amphora_runtime::Tensor;
//! use amphora_verify::Comparison;
//!
//! let mut comparison = Comparison::new(Tolerance::close(1e-5, 0.0));
//! let reference = Tensor::new([1, 2], vec![0.5_f64, -1.0])?;
//! comparison.add(0, &reference, &Tensor::new([1, 2], vec![0.5_f32, -1.25])?)?;
//! let found = comparison.finish();
//! assert!(!found.within_tolerance);
//! assert_eq!(found.worst.map(|worst| worst.index), Some(vec![0, 1]));
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! Nothing here trusts an engine, a manifest or a file by its word: bytes are compared with digests,
//! manifests with graphs, engines with recorded outputs. A check that could not be done is listed as
//! skipped, with the reason, and never counts as passed. What golden vectors prove is part of them:
//! agreement with an independent reference (equivalence), with the packer's word (supplied), or only
//! with another engine (reproducibility).
//!
//! Verification reads a bundle and writes nothing. Later stages use the bytes that earlier stages
//! verified, held in memory, so that files swapped in between change nothing.

#![forbid(unsafe_code)]

mod assets;
mod contract;
pub mod golden;
mod numeric;
mod package;
mod replay;
mod report;
mod target;
mod verify;

pub use golden::Golden;
pub use numeric::Comparison;
pub use package::verify_package;
pub use replay::{ROUNDING_MARGIN, Replay, replay};
pub use report::{
    Element, EngineInfo, InferenceTime, NumericEquivalence, OnnxCheck, OutputReport, Report,
    SCHEMA_VERSION, Skipped, Target, Worst,
};
pub use verify::{Verification, VerifiedBundle, VerifyOptions, verify};
