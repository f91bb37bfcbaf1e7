//! What to pack.

use std::path::PathBuf;

use amphora_bundle::{Name, Store, Timestamp, Version};
use amphora_error::{Error, Result, quoted};
use amphora_verify::Target;

use crate::{Converter, Engines};

/// What to pack, and what to put beside it.
#[derive(Debug, Clone)]
pub struct PackRequest {
    /// Where the bundle is published.
    pub store: Store,
    /// An ONNX file, or a checkpoint of a known architecture.
    pub model: PathBuf,
    /// The signature of a SavedModel; `serving_default` when absent.
    pub signature: Option<String>,
    /// What converts a SavedModel.
    pub converter: Option<Converter>,
    /// The configuration, JSON or YAML.
    pub config: Option<PathBuf>,
    /// The name; from the configuration or the file when absent.
    pub name: Option<String>,
    /// The version.
    pub version: String,
    /// Evaluation metrics.
    pub metrics: Option<PathBuf>,
    /// Labels of the classes.
    pub labels: Option<PathBuf>,
    /// Temperatures of the heads.
    pub calibration: Option<PathBuf>,
    /// Golden vectors; recorded when absent.
    pub golden: Option<PathBuf>,
    /// How many golden cases are recorded.
    pub golden_cases: usize,
    /// Further files, each kept under its own name.
    pub assets: Vec<PathBuf>,
    /// What the bundle is built for.
    pub targets: Vec<Target>,
    /// Keep the checkpoint inside the bundle.
    pub keep_checkpoint: bool,
    /// The commit the model was trained from.
    pub git_sha: Option<String>,
    /// Who made the bundle.
    pub created_by: Option<String>,
    /// When it is made.
    pub created: Timestamp,
    /// The engine that replays the golden vectors.
    pub engines: Engines,
}

impl PackRequest {
    /// A request with the model and nothing optional.
    pub fn new(store: Store, model: impl Into<PathBuf>, created: Timestamp) -> Self {
        Self {
            store,
            model: model.into(),
            signature: None,
            converter: None,
            config: None,
            name: None,
            version: "0.1.0".to_owned(),
            metrics: None,
            labels: None,
            calibration: None,
            golden: None,
            golden_cases: amphora_verify::golden::DEFAULT_CASES,
            assets: Vec::new(),
            targets: vec![Target::Onnx],
            keep_checkpoint: false,
            git_sha: None,
            created_by: None,
            created,
            engines: Engines::default(),
        }
    }

    /// Refuses what no bundle could be made of, before any work is done.
    pub(super) fn check(&self) -> Result<Version> {
        for target in &self.targets {
            if *target != Target::Onnx {
                return Err(Error::unsupported(
                    "pack-target",
                    format!(
                        "bundles for the target {} cannot be made yet",
                        target.word()
                    ),
                )
                .expected("onnx")
                .hint("pack with --target onnx"));
            }
        }
        if self.golden_cases == 0 && self.golden.is_none() {
            return Err(
                Error::usage("golden-cases", "a bundle needs at least one golden case")
                    .hint("give --golden-cases a number above 0"),
            );
        }
        if let Some(sha) = &self.git_sha {
            let hex = sha.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !(hex && (7..=40).contains(&sha.len())) {
                return Err(Error::usage("git-sha", "this is not a commit")
                    .expected("7 to 40 hexadecimal digits")
                    .found(quoted(sha).to_string()));
            }
        }
        if let Some(name) = &self.name {
            Name::parse(name).map_err(as_usage)?;
        }
        Version::parse(&self.version).map_err(as_usage)
    }
}

/// A flag with a wrong value is wrong usage, not a malformed file.
fn as_usage(error: Error) -> Error {
    let usage = Error::usage(error.rule(), error.to_string());
    match error.hint_text() {
        Some(hint) => usage.hint(hint),
        None => usage,
    }
}
