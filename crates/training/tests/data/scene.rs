use std::path::{Path, PathBuf};

use amphora_error::Result;
use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{DatasetRow, UniverseDefaults};
use amphora_planner::history::Collected;
use amphora_planner::history::archives::{self, ArchivedRun};
use amphora_planner::issues::{Issues, parse_issues};
use amphora_planner::replay::Trials;
use amphora_training::dataset::{BuildRequest, Dataset, build};
use amphora_training::import::{ImportRequest, Imported, Policy, import};
use amphora_training::simulator::{Simulation, TOOLCHAINS, simulate};
use serde_json::Value;

/// A scratch directory with the archives of simulated issues.
pub(crate) struct Scene {
    root: tempfile::TempDir,
    pub(crate) issues: Issues,
    pub(crate) trials: Trials,
    pub(crate) imported: Imported,
}

/// The toolchains of the simulator.
pub(crate) fn toolchains() -> Vec<String> {
    TOOLCHAINS.map(str::to_owned).to_vec()
}

/// Issues and trials of the simulator.
pub(crate) fn simulated(issues: usize, seed: u64) -> (Issues, Trials) {
    let simulated = simulate(&Simulation {
        issues,
        runs: 2,
        seed,
        start_ms: 1_760_000_000_000,
    })
    .unwrap();
    let lines: String = simulated
        .issues
        .iter()
        .map(|issue| format!("{issue}\n"))
        .collect();
    (parse_issues(lines.as_bytes()), simulated.trials)
}

impl Scene {
    pub(crate) fn new(issues: usize) -> Self {
        Self::with_policy(issues, &Policy::Heuristic)
    }

    pub(crate) fn with_policy(issues: usize, policy: &Policy) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (issues, trials) = simulated(issues, 7);
        let imported = import_into(&root.path().join("archives"), &issues, &trials, policy);
        Self {
            root,
            issues,
            trials,
            imported: imported.unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn archives(&self) -> PathBuf {
        self.path("archives")
    }

    pub(crate) fn collected(&self) -> Collected<ArchivedRun> {
        archives::collect(&self.archives()).unwrap()
    }

    pub(crate) fn build(&self) -> Result<Dataset> {
        self.build_from(&self.archives())
    }

    pub(crate) fn build_from(&self, archives: &Path) -> Result<Dataset> {
        build(&BuildRequest {
            runs: &archives::collect(archives)?,
            issues: &self.issues,
            action_space: None,
            similar: 8,
            world_runs: None,
            universe: None,
        })
    }

    /// The folders of the archives, by name.
    pub(crate) fn folders(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.archives()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// One file of an archive.
    pub(crate) fn document(&self, folder: &str, name: &str) -> Value {
        let bytes = std::fs::read(self.archives().join(folder).join(name)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Copies an archive to a new folder, its manifest and proof changed by `edit`.
    pub(crate) fn plant(
        &self,
        folder: &str,
        planted: &str,
        edit: impl FnOnce(&mut Value, &mut Value),
    ) {
        let mut manifest = self.document(folder, "manifest.json");
        let mut proof = self.document(folder, "proof.json");
        edit(&mut manifest, &mut proof);
        let place = self.archives().join(planted);
        std::fs::create_dir_all(&place).unwrap();
        // A rollout would fill what the edit takes away.
        let _ = std::fs::remove_file(place.join("rollout.json"));
        for (name, document) in [("manifest.json", manifest), ("proof.json", proof)] {
            fs_err::write(place.join(name), document.to_string()).unwrap();
        }
    }

    /// Changes an archive where it is.
    pub(crate) fn edit(&self, folder: &str, edit: impl FnOnce(&mut Value, &mut Value)) {
        self.plant(folder, folder, edit);
    }

    pub(crate) fn remove(&self, folder: &str) {
        std::fs::remove_dir_all(self.archives().join(folder)).unwrap();
    }
}

pub(crate) fn import_into(
    out: &Path,
    issues: &Issues,
    trials: &Trials,
    policy: &Policy,
) -> Result<Imported> {
    import(
        &ImportRequest {
            issues,
            trials,
            toolchains: &toolchains(),
            action_space: &ActionSpace::default(),
            policy,
            seed: 7,
            similar: 8,
            universe_id: "unknown",
            universe_defaults: &UniverseDefaults::default(),
        },
        out,
    )
}

/// Gives a run another id in both documents.
pub(crate) fn rename(manifest: &mut Value, proof: &mut Value, id: &str) {
    manifest["workcell_id"] = id.into();
    proof["workcell_id"] = id.into();
}

/// Moves a run, and the decision that started it, to another time.
pub(crate) fn restamp(manifest: &mut Value, proof: &mut Value, started: &str, ended: &str) {
    manifest["planner"]["planner_input"]["created_at"] = started.into();
    proof["metadata"]["started_at"] = started.into();
    proof["metadata"]["completed_at"] = ended.into();
    proof["metadata"]["duration_ms"] = Value::Null;
}

/// What rows know: the run and the input without the time.
pub(crate) fn known(dataset: &Dataset) -> Vec<(String, String)> {
    let hash = |row: &DatasetRow| row.planner_input.input_hash().unwrap();
    dataset
        .rows
        .iter()
        .map(|row| (row.run_id.clone(), hash(row)))
        .collect()
}
