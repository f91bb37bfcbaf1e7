//! Issues and trials of agents that do not exist.

use std::path::{Path, PathBuf};

use amphora_error::{Error, Result};
use amphora_training::simulator::{Simulation, TOOLCHAINS, simulate};
use serde::Serialize;

use crate::output::write_file;

/// What was simulated.
#[derive(Debug, Clone, Serialize)]
pub struct SimulatedRuns {
    /// The issues, one JSON object a line.
    pub issues: PathBuf,
    /// The trials, one JSON object a line.
    pub trials: PathBuf,
    /// The simulated toolchains in the order of their priority.
    pub toolchains: Vec<String>,
    /// How many trials there are.
    pub count: usize,
}

/// Simulates toolchains at work and writes `issues.jsonl` and `trials.jsonl` into the directory
/// `out`, which exists. See [`amphora_training::simulator`] for what is simulated.
///
/// # Errors
///
/// The files cannot be written.
pub fn simulate_runs(simulation: &Simulation, out: &Path) -> Result<SimulatedRuns> {
    let simulated = simulate(simulation)?;
    let issues: String = simulated
        .issues
        .iter()
        .map(|issue| format!("{issue}\n"))
        .collect();
    let mut trials = Vec::new();
    for trial in simulated.trials.as_slice() {
        serde_json::to_writer(&mut trials, trial).map_err(|source| {
            Error::internal("json-encoding", "a trial cannot be written as JSON").caused_by(source)
        })?;
        trials.push(b'\n');
    }
    let written = SimulatedRuns {
        issues: out.join("issues.jsonl"),
        trials: out.join("trials.jsonl"),
        toolchains: TOOLCHAINS.map(str::to_owned).to_vec(),
        count: simulated.trials.as_slice().len(),
    };
    write_file(&written.issues, issues.as_bytes())?;
    write_file(&written.trials, &trials)?;
    Ok(written)
}
