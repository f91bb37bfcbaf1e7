//! World runs: `<run>/manifest.json`, and `<run>/context.json` that says what world it evolved.

use std::collections::HashSet;
use std::path::Path;

use amphora_error::Result;
use amphora_files::Directory;
use serde::{Deserialize, Deserializer};

use super::collected::{Collected, Drop, DropReason, Ignored, read_json};
use super::similar::FAB_WORLD;
use crate::contracts::{ActionExecuted, Domain, Outcome, RunStatus, RunSummary, Runtime, time};
use crate::universe::Universe;

/// Which world runs are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorldFilter<'a> {
    /// Only runs of this world.
    pub world_id: Option<&'a str>,
    /// Only runs for this objective.
    pub objective_id: Option<&'a str>,
}

/// Reads every world run beneath `directory`, by name.
///
/// A run started when its manifest was created and took as long as its stages together; where none has a
/// duration, nobody knows when it ended, and it does not count. It failed if
/// a stage did not succeed. Its candidates are the population of its swarm in `universe`. A run that
/// cannot be used is left out, named and counted; one that `filter` does not want is left out without
/// a word.
///
/// # Errors
///
/// When the directory itself cannot be read.
pub fn collect(
    directory: &Path,
    universe: Option<&Universe>,
    filter: &WorldFilter,
) -> Result<Collected<RunSummary>> {
    let directory = Directory::open(directory)?;
    let mut collected = Collected::of(&directory, |folder, name, _: &mut Ignored| {
        Ok((name.to_owned(), read_run(folder, name, universe)?))
    })?;
    let mut met = HashSet::new();
    let mut runs = Vec::with_capacity(collected.runs.len());
    for (folder, run) in std::mem::take(&mut collected.runs) {
        if !met.insert(run.run_id.clone()) {
            collected.drop_run(folder, DropReason::Duplicate.into());
        } else if filter.wants(&run) {
            runs.push(run);
        }
    }
    Ok(collected.with_runs(runs))
}

impl WorldFilter<'_> {
    fn wants(&self, run: &RunSummary) -> bool {
        let equal = |asked: Option<&str>, own: &Option<String>| {
            asked.is_none_or(|asked| own.as_deref() == Some(asked))
        };
        equal(self.world_id, &run.world_id) && equal(self.objective_id, &run.objective_id)
    }
}

#[derive(Deserialize)]
struct Manifest {
    run_id: Option<String>,
    created_at: Option<String>,
    #[serde(default, deserialize_with = "stages")]
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    id: Option<String>,
    status: Option<String>,
    duration_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Context {
    universe_id: Option<String>,
    world_id: Option<String>,
    objective_id: Option<String>,
    swarm_id: Option<String>,
    issue_id: Option<String>,
}

fn stages<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Stage>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn read_run(
    folder: &Directory,
    name: &str,
    universe: Option<&Universe>,
) -> Result<RunSummary, Drop> {
    let manifest: Manifest = read_json(folder, "manifest.json")?.ok_or(DropReason::NoManifest)?;
    let context: Context = read_json(folder, "context.json")?.ok_or(DropReason::NoContext)?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let universe_id = filled(context.universe_id).ok_or(DropReason::NoContext)?;
    let created = manifest.created_at.as_deref();
    let started_ms = created
        .and_then(|text| time::parse(text).ok())
        .ok_or(DropReason::NoStartTime)?;
    let duration_ms = manifest
        .stages
        .iter()
        .filter_map(|stage| stage.duration_ms)
        .fold(0, u64::saturating_add);
    if duration_ms == 0 {
        return Err(DropReason::NoEndTime.into());
    }
    let broken = |stage: &&Stage| stage.status.as_deref() != Some("success");
    let mut met = HashSet::new();
    let fail_codes: Vec<String> = manifest
        .stages
        .iter()
        .filter(broken)
        .filter_map(|stage| stage.id.as_deref().filter(|id| !id.is_empty()))
        .map(|id| format!("stage_failed:{id}"))
        .filter(|code| met.insert(code.clone()))
        .collect();
    let population = universe
        .filter(|universe| universe.universe_id == universe_id)
        .zip(context.swarm_id.as_ref())
        .and_then(|(universe, swarm)| universe.swarms.get(swarm)?.population_size);
    Ok(RunSummary {
        run_id: filled(manifest.run_id).unwrap_or_else(|| name.to_owned()),
        started_ms,
        job_type: FAB_WORLD.to_owned(),
        domain: Domain::FabWorld,
        action_executed: ActionExecuted {
            swarm_id: filled(context.swarm_id),
            max_candidates: population.filter(|count| *count > 0),
            ..ActionExecuted::default()
        },
        outcome: Outcome {
            status: match manifest.stages.iter().any(|stage| broken(&stage)) {
                true => RunStatus::Failed,
                false => RunStatus::Success,
            },
            fail_codes,
            gates: Vec::new(),
        },
        runtime: Runtime { duration_ms },
        cost_usd_est: None,
        tokens_in: None,
        tokens_out: None,
        tags: Vec::new(),
        issue_id: filled(context.issue_id),
        universe_id: Some(universe_id),
        world_id: filled(context.world_id),
        objective_id: filled(context.objective_id),
    })
}
