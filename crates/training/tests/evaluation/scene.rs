//! Simulated issues, the dataset of their decisions, and small cross-validations on them.

use std::path::Path;

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::UniverseDefaults;
use amphora_planner::history::archives;
use amphora_planner::issues::{Issues, parse_issues};
use amphora_planner::replay::Trials;
use amphora_training::crossvalidate::{CrossValidation, Recipe, cross_validate, fit_shipped};
use amphora_training::dataset::{BuildRequest, Dataset, build};
use amphora_training::evaluate::Settings;
use amphora_training::import::{ImportRequest, Policy, import};
use amphora_training::simulator::{Simulation, TOOLCHAINS, simulate};
use amphora_training::train::{ModelKind, TrainConfig};

/// Simulated issues; decisions are made by the last toolchain, replayed on the first two.
pub(crate) struct Scene {
    pub(crate) root: tempfile::TempDir,
    pub(crate) trials: Trials,
    pub(crate) dataset: Dataset,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let simulated = simulate(&Simulation {
            issues: 18,
            runs: 4,
            seed: 3,
            start_ms: 1_760_000_000_000,
        })
        .unwrap();
        let lines: String = simulated
            .issues
            .iter()
            .map(|issue| format!("{issue}\n"))
            .collect();
        let issues: Issues = parse_issues(lines.as_bytes());
        let archives = root.path().join("archives");
        import(
            &ImportRequest {
                issues: &issues,
                trials: &simulated.trials,
                toolchains: &[TOOLCHAINS[2].to_owned()],
                action_space: &ActionSpace::default(),
                policy: &Policy::Heuristic,
                seed: 0,
                similar: 8,
                universe_id: "simulated",
                universe_defaults: &UniverseDefaults::default(),
            },
            &archives,
        )
        .unwrap();
        let dataset = build(&BuildRequest {
            runs: &archives::collect(&archives).unwrap(),
            issues: &issues,
            action_space: None,
            similar: 8,
            world_runs: None,
            universe: None,
        })
        .unwrap();
        Self {
            root,
            trials: simulated.trials,
            dataset,
        }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }
}

pub(crate) fn settings() -> Settings {
    let mut settings = Settings::new(TOOLCHAINS[..2].iter().map(|n| (*n).to_owned()).collect());
    settings.replays = 4;
    settings.bootstrap.resamples = 200;
    settings
}

/// A configuration that is trained in a moment.
pub(crate) fn tiny(kind: ModelKind) -> TrainConfig {
    let mut config = TrainConfig::new(kind);
    config.epochs = 2;
    config.schedule_epochs = 2;
    config.members = 2;
    config.sizes.d_hidden = 16;
    config.sizes.n_layers = 1;
    config.sizes.d_model = 8;
    config.sizes.n_heads = 2;
    config.sizes.d_ff = 8;
    config.sizes.d_inner = 8;
    config.sizes.loops = 2;
    config.sizes.gradient_loops = 1;
    config
}

pub(crate) fn small_fold(scene: &Scene, kinds: &[ModelKind]) -> CrossValidation {
    let recipe = Recipe {
        folds: 3,
        rows_per_task: 2,
        by_time: true,
        models: kinds.iter().map(|kind| tiny(*kind)).collect(),
    };
    cross_validate(
        &scene.dataset,
        &scene.trials,
        &settings(),
        &recipe,
        &mut |_| (),
    )
    .unwrap()
}

/// A checkpoint in `out`, trained for a moment on the labels that cross-validation uses.
pub(crate) fn checkpoint(scene: &Scene, out: &Path) {
    let found = small_fold(scene, &[ModelKind::Mlp]);
    fit_shipped(&scene.dataset, &scene.trials, &settings(), &found, out).unwrap();
}
