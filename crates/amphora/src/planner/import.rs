//! Recorded trials become archives.

use std::path::PathBuf;

use amphora_error::Result;
use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::UniverseDefaults;
use amphora_planner::history::SIMILAR_RUNS;
use amphora_planner::issues::read_issues;
use amphora_planner::replay::Trials;
use amphora_planner::universe::Universe;
use amphora_training::import::{Imported, Policy, import};

use crate::output::outside_bundles;

/// What to import, and how.
#[derive(Debug, Clone)]
pub struct ImportTrialsRequest {
    /// The issues that the trials worked on.
    pub issues: PathBuf,
    /// The recorded trials.
    pub trials: PathBuf,
    /// Where the archives go: a new directory.
    pub out: PathBuf,
    /// `heuristic`, `uniform` or `fixed:SWARM/CANDIDATES/MINUTES/ITERATIONS`.
    pub policy: String,
    /// The toolchains in the order of their priority; by name without any.
    pub toolchains: Vec<String>,
    /// The actions to choose from; without a file the universe's, or the documents'.
    pub action_space: Option<PathBuf>,
    /// The universe.
    pub universe: Option<PathBuf>,
    /// The seed of the policy's draws.
    pub seed: u64,
}

/// Forms decisions out of recorded trials and writes them as archives, whole or not at all.
///
/// # Errors
///
/// A file cannot be read, the policy has no valid action, or something is at the output already.
pub fn import_trials(request: &ImportTrialsRequest) -> Result<Imported> {
    outside_bundles(&request.out)?;
    let policy: Policy = request.policy.parse()?;
    let issues = read_issues(&request.issues)?;
    let trials = Trials::read(&request.trials)?;
    let universe = request
        .universe
        .as_deref()
        .map(Universe::open)
        .transpose()?;
    let space = match (
        &universe,
        request
            .action_space
            .as_deref()
            .map(ActionSpace::read)
            .transpose()?,
    ) {
        (_, Some(space)) => space,
        (Some(universe), None) => universe.action_space(),
        (None, None) => ActionSpace::default(),
    };
    let none = UniverseDefaults::default();
    let (universe_id, universe_defaults) = match &universe {
        Some(universe) => (universe.universe_id.as_str(), &universe.defaults),
        None => ("unknown", &none),
    };
    import(
        &amphora_training::import::ImportRequest {
            issues: &issues,
            trials: &trials,
            toolchains: &toolchains(&trials, &request.toolchains),
            action_space: &space,
            policy: &policy,
            seed: request.seed,
            similar: SIMILAR_RUNS,
            universe_id,
            universe_defaults,
        },
        &request.out,
    )
}

/// The toolchains that were named, or all that are recorded, by name.
pub(crate) fn toolchains(trials: &Trials, named: &[String]) -> Vec<String> {
    match named {
        [] => trials.toolchains(),
        named => named.to_vec(),
    }
}
