//! Ablations from a grid file.

use std::path::PathBuf;

use amphora_error::{Error, Result};
use amphora_files::OpenedFile;
use amphora_planner::replay::Trials;
use amphora_training::ablate::{self, Grid};
use amphora_training::dataset::Dataset;
use amphora_training::evaluate::Settings;
use amphora_training::metrics::Bootstrap;

use super::import::toolchains;

pub use amphora_training::ablate::{Ablation, AblationRow};

/// The largest grid that is read.
const MAX_GRID: u64 = 1 << 20;

/// What to ablate.
#[derive(Debug, Clone)]
pub struct AblateRequest {
    /// The directory of the dataset.
    pub dataset: PathBuf,
    /// Recorded trials.
    pub trials: PathBuf,
    /// The toolchains of the replay, in the order of their priority; none: all that are recorded.
    pub toolchains: Vec<String>,
    /// The grid.
    pub grid: PathBuf,
    /// Where runs, summary and page go; what is there already is not repeated.
    pub out: PathBuf,
    /// What an agent minute costs, in passes.
    pub minute_cost: f64,
    /// The seed of replays, folds and intervals.
    pub seed: u64,
}

/// Runs a grid; `progress` hears what is being done.
///
/// # Errors
///
/// What cannot be read or written, and those of [`amphora_training::ablate::ablate`].
pub fn ablate(request: &AblateRequest, progress: &mut dyn FnMut(&str)) -> Result<Ablation> {
    let dataset = Dataset::read(&request.dataset)?;
    let trials = Trials::read(&request.trials)?;
    let bytes = OpenedFile::open(&request.grid)?.contents(MAX_GRID)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::malformed("grid", "the grid is not UTF-8").in_file(&request.grid))?;
    let grid = Grid::parse(text).map_err(|error| error.in_file(&request.grid))?;
    let toolchains = toolchains(&trials, &request.toolchains);
    let settings = Settings {
        minute_cost: request.minute_cost,
        seed: request.seed,
        bootstrap: Bootstrap {
            seed: request.seed,
            ..Bootstrap::default()
        },
        ..Settings::new(toolchains)
    };
    ablate::ablate(&dataset, &trials, &settings, &grid, &request.out, progress)
}
