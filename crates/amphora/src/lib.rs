//! Amphora's public door: export, pack, inspect, verify, run, and the store, in a few plain types.
//!
//! * [`export`]: a checkpoint of a known architecture becomes an ONNX file.
//! * [`pack`]: an ONNX file or a checkpoint becomes a bundle that was proven before it was published.
//! * [`Store`]: bundles on disk: list, resolve, clean, remove; [`import`], [`archive`], [`compare`].
//! * [`inspect`], [`contract`], [`write_contracts`], [`check_contract`]: what a bundle or a graph is.
//! * [`verify`], [`verify_all`]: integrity, contract, model check, numeric replay, target.
//! * [`generate`]: text out of a language model, as it comes.
//! * [`run`]: one inference. Programs that run many open a session: [`amphora_verify::verify`] gives a
//!   [`VerifiedBundle`], and that gives sessions.
//! * [`doctor`], [`schema`]: what this machine has, and what the documents look like.
//!
//! ```
//! use amphora::{
//!     Engines, InputValue, PackRequest, RunRequest, Store, Subject, Target, Timestamp, VerifyRequest,
//! };
//!
//! # fn main() -> amphora::Result<()> {
//! # let scratch = tempfile::tempdir().unwrap();
//! # let (checkpoint, config) = (scratch.path().join("m.safetensors"), scratch.path().join("c.json"));
//! # let header = br#"{"go_head.bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"go_head.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},"trunk.0.bias":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},"trunk.0.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[20,28]},"trunk.1.bias":{"dtype":"F32","shape":[2],"data_offsets":[28,36]},"trunk.1.weight":{"dtype":"F32","shape":[2],"data_offsets":[36,44]}}"#;
//! # let mut file = (header.len() as u64).to_le_bytes().to_vec();
//! # file.extend(header);
//! # file.extend([1.0_f32; 11].iter().flat_map(|value| value.to_le_bytes()));
//! # amphora::write_file(&checkpoint, &file)?;
//! # amphora::write_file(&config, br#"{"model_type": "mlp", "d_in": 1, "d_hidden": 2, "n_layers": 1, "heads": {"go": 1}}"#)?;
//! let store = Store::open(scratch.path().join("artifacts"))?;
//! let now = Timestamp::from_unix_seconds(1_700_000_000)?;
//!
//! let packed = amphora::pack(
//!     &PackRequest {
//!         config: Some(config),
//!         name: Some("demo".into()),
//!         ..PackRequest::new(store.clone(), checkpoint, now.clone())
//!     },
//!     &|step| println!("{step}"),
//! )?;
//!
//! let request = VerifyRequest {
//!     target: Target::Onnx,
//!     engines: Engines::default(),
//!     strict: false,
//!     validated_at: now,
//! };
//! let report = amphora::verify(store.resolve("demo")?, &request)?;
//! assert!(report.passed);
//!
//! let answer = amphora::run(RunRequest {
//!     inputs: vec![("input".into(), InputValue::Json("[[0.5]]".into()))],
//!     ..RunRequest::new(Subject::resolve(&store, &packed.exp_hash)?)
//! })?;
//! let (name, output) = answer.outputs.iter().next().unwrap();
//! assert_eq!((name, output.as_slice::<f32>()), ("go", Some(&[3.0_f32][..])));
//! # Ok(())
//! # }
//! ```
//!
//! # Design
//!
//! Requests and answers are plain values: what the command line prints with `--json` is an answer of
//! this crate, serialized. Nothing here reads flags or the environment, prints, or knows the present;
//! whoever calls says which engine, which store and which date.

#![forbid(unsafe_code)]

mod archive;
mod config;
mod contract;
mod convert;
mod engines;
mod export;
mod generate;
mod import;
mod inspect;
mod io_schema;
mod labels;
mod layout;
mod output;
mod pack;
pub mod planner;
mod run;
mod schema;
mod source;
mod subject;
mod verify;

pub use amphora_bundle::manifest::{EffectiveIo, Generation, Io, IoSource, IoSpec, Sampling};
pub use amphora_bundle::package::Level;
pub use amphora_bundle::{
    ArchiveFormat, Comparison, ImportLimits, Package, Publication, Store, Summary, Timestamp,
    compare,
};
pub use amphora_error::{Error, ErrorKind, Result, printable, quoted};
pub use amphora_files::durable::discard_staged;
pub use amphora_files::json;
pub use amphora_onnx::{Contract, TensorSpec};
pub use amphora_runtime::audio::{AudioConfig, Sound, WavFormat};
pub use amphora_runtime::postprocess::Label;
pub use amphora_runtime::{
    EngineChoice, EngineReport, OrtLocation, Outputs, Tensor, doctor, isolate,
};
pub use amphora_verify::{Report, Target, VerifiedBundle};
pub use archive::{Archived, archive};
pub use contract::{ContractCheck, ContractsWritten, check_contract, contract, write_contracts};
pub use convert::Converter;
pub use engines::{Engines, Isolate, Walls};
pub use export::{ExportRequest, Exported, ExportedGraph, export};
pub use generate::{Chat, GenerateRequest, Pattern, PromptText, Written, generate};
pub use import::{ImportRequest, Imported, import};
pub use inspect::{
    BundleInspection, GraphInspection, Inspection, NodeInspection, OnnxInspection,
    PackageFileInspection, PackageInspection, inspect,
};
pub use io_schema::{IoSchema, ModelKind, io_schema, write_manifest};
pub use layout::{LaidOut, Layout, layout};
pub use output::{prepare_directory, write_file};
pub use pack::{PackRequest, Packed, Validation, pack};
pub use run::{Answer, BundleRan, InputValue, RunRequest, run};
pub use schema::{schema, schema_names};
pub use subject::Subject;
pub use verify::{
    BundleIdentity, BundleReport, StoreReport, VerifyRequest, verdict, verify, verify_all,
    verify_package, write_report,
};

/// Opens the bundle in the directory `path`: its manifest is what was sealed, its files are compared
/// as they are read.
pub fn open(path: &std::path::Path) -> Result<amphora_bundle::Bundle> {
    amphora_bundle::Bundle::open(path)
}
