//! From a checkpoint and its dataset to a planner bundle.

use std::path::PathBuf;
use std::sync::Arc;

use amphora_bundle::Timestamp;
use amphora_error::Result;
use amphora_runtime::{Engine, EngineChoice};
use amphora_training::dataset::Dataset;
use amphora_training::export as training;

pub use amphora_training::export::Exported;

use crate::Engines;
use crate::output::outside_bundles;

/// What to export.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// The directory that training wrote.
    pub checkpoint: PathBuf,
    /// The directory of the dataset.
    pub dataset: PathBuf,
    /// The directory to publish.
    pub out: PathBuf,
    /// A configuration instead of the checkpoint's.
    pub config: Option<PathBuf>,
    /// A `calibration.json` instead of a fit; its key `confidence_threshold` counts as well.
    pub calibration: Option<PathBuf>,
    /// The confidence below which a decision is left to the baseline, instead of the calibration's.
    pub threshold: Option<f64>,
    /// The version.
    pub version: String,
    /// The commit that the model was trained from.
    pub git_sha: Option<String>,
    /// Keep the checkpoint inside the bundle.
    pub keep_checkpoint: bool,
    /// The toolchains that the model depends on, in their order; none when empty.
    pub toolchains: Vec<String>,
    /// When it is exported.
    pub created: Timestamp,
    /// Where ONNX Runtime may be; the choice does not matter, since every engine found must agree.
    pub engines: Engines,
}

/// Exports a checkpoint to a planner bundle: calibrated, proven on rten and, where it is found, on
/// ONNX Runtime, published whole or not at all.
///
/// # Errors
///
/// Those of reading the dataset and of [`amphora_training::export::export`].
pub fn export(request: &ExportRequest, step: &dyn Fn(&str)) -> Result<Exported> {
    let parent = request.out.parent().unwrap_or(&request.out);
    outside_bundles(parent)?;
    step("reading the dataset");
    let dataset = Dataset::read(&request.dataset)?;
    let choose = |choice| Engines {
        choice,
        ..request.engines.clone()
    };
    let mut engines: Vec<Arc<dyn Engine>> = vec![choose(EngineChoice::Rten).for_own_graph()?];
    if let Ok(ort) = choose(EngineChoice::Ort).for_own_graph() {
        engines.push(ort);
    }
    training::export(
        &training::ExportRequest {
            checkpoint: &request.checkpoint,
            dataset: &dataset,
            out: &request.out,
            config: request.config.as_deref(),
            calibration: request.calibration.as_deref(),
            threshold: request.threshold,
            version: &request.version,
            git_sha: request.git_sha.as_deref(),
            keep_checkpoint: request.keep_checkpoint,
            toolchains: Some(&request.toolchains[..]).filter(|list| !list.is_empty()),
            created: &request.created,
            engines: &engines,
        },
        step,
    )
}
