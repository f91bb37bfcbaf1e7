//! The bundle: a directory that says what a model is and proves that it is still that.
//!
//! * [`Manifest`]: `manifest.yaml`, the only source of truth; a value of this type keeps every rule.
//! * [`BundleId`]: the digest of payload, name, version and contract; no clock, host or place in it.
//! * [`Bundle`]: an opened bundle, whose files are compared with the manifest as they are read.
//! * [`check_integrity`]: every byte of a bundle, what is missing, changed or unlisted apart.
//! * [`Draft`], [`Sealed`]: a bundle under construction, and complete but not yet visible.
//! * [`Package`]: a directory with an older kind of manifest, opened as it is.
//! * [`Store`]: bundles on disk: publish, list, resolve, remove, clean.
//!
//! ```
//! use amphora_bundle::manifest::{Framework, Metadata};
//! use amphora_bundle::{Details, MAIN_GRAPH, Name, Store, Version, check_integrity};
//! use amphora_onnx::{Contract, Dim, Dtype, TensorSpec};
//!
//! # fn main() -> amphora_error::Result<()> {
//! let scratch = tempfile::tempdir().unwrap();
//! let store = Store::open(scratch.path().join("artifacts"))?;
//!
//! let shape = Some(vec![Dim::Symbol("batch_size".into()), Dim::Fixed(3)]);
//! let spec = |name: &str| TensorSpec { name: name.into(), dtype: Dtype::Float32, shape: shape.clone() };
//! let contract = Contract {
//!     inputs: vec![spec("x")],
//!     outputs: vec![spec("y")],
//!     opset: 17,
//!     other_opsets: Default::default(),
//!     ir_version: 8,
//!     operators: Default::default(),
//!     parameters: 0,
//! };
//! let mut draft = store.draft()?;
//! draft.add_graph(MAIN_GRAPH, "single", b"the bytes of an ONNX file", &Default::default(), &contract)?;
//! let metadata = Metadata::new(&Name::parse("demo")?, Version::parse("1.0.0")?);
//! let framework = Framework { name: "onnx".into(), version: None };
//! let sealed = draft.seal(Details::new(metadata, framework, "onnx"))?;
//! assert!(check_integrity(&sealed.bundle()?)?.passed());
//! let published = sealed.publish()?;
//!
//! let bundle = store.resolve("demo:1.0.0")?;
//! assert_eq!(bundle.id(), published.id);
//! # Ok(())
//! # }
//! ```
//!
//! # Design
//!
//! A manifest lists every other file with size and digest, `manifest.sha256` holds the digest of the
//! manifest, and the id covers what the model is and promises. So one small file pins every byte,
//! and two people who pack the same model get the same id.
//!
//! Names inside a bundle are [`RelativePath`](amphora_files::RelativePath)s and are opened beneath
//! the opened directory only; what was hashed is what is returned. Readers hold a shared lock on the
//! bundle's directory. Writers stage beside the final place and publish by one rename, so that a
//! killed process leaves the whole bundle or none.

#![forbid(unsafe_code)]

mod archive;
mod bundle;
mod compare;
mod docs;
mod draft;
mod identity;
mod integrity;
pub mod layout;
pub mod manifest;
mod metrics;
mod name;
pub mod package;
mod sealed;
mod store;

pub use archive::{ArchiveFormat, ImportLimits, archive};
pub use bundle::Bundle;
pub use compare::{
    Change, Compared, Comparison, Direction, FileChanges, Formats, MetricChange, Pair,
    WeightChanges, compare,
};
pub use draft::{Details, Draft, MAIN_GRAPH};
pub use identity::{BundleId, canonical_form, is_payload};
pub use integrity::{Changed, Checked, IntegrityReport, check_and_keep, check_integrity};
pub use manifest::{Manifest, ManifestFields, parse_yaml};
pub use metrics::{parse_labels, parse_metrics};
pub use name::{Name, Timestamp, Version, slug};
pub use package::Package;
pub use sealed::Sealed;
pub use store::{
    Cleaned, DEFAULT_LOCK_TIMEOUT, DEFAULT_STORE, Entries, Listing, Publication, Store, Summary,
};
