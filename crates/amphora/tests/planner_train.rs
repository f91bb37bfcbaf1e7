//! Stage B from files: a bench of the dataset teaches, a bench of another is refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![cfg(feature = "training")]

use std::path::PathBuf;

use amphora::planner::{
    ModelKind, Objective, ReplayBenchRequest, Stage, TrainConfig, TrainRequest, TrainingReport,
};
use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::UniverseDefaults;
use amphora_planner::history::archives;
use amphora_planner::issues::parse_issues;
use amphora_training::dataset::{BuildRequest, build};
use amphora_training::import::{ImportRequest, Policy, import};
use amphora_training::simulator::{Simulation, TOOLCHAINS, simulate};

struct Scene {
    root: tempfile::TempDir,
}

impl Scene {
    /// Two datasets on the same trials, `dataset` and `other`, and the bench of the first.
    fn new() -> Self {
        let scene = Self {
            root: tempfile::tempdir().unwrap(),
        };
        let simulated = simulate(&Simulation {
            issues: 20,
            runs: 2,
            seed: 3,
            start_ms: 1_760_000_000_000,
        })
        .unwrap();
        let lines: Vec<String> = simulated.issues.iter().map(|i| format!("{i}\n")).collect();
        let issues = parse_issues(lines.concat().as_bytes());
        let trials: Vec<String> = simulated
            .trials
            .as_slice()
            .iter()
            .map(|trial| format!("{}\n", serde_json::to_string(trial).unwrap()))
            .collect();
        fs_err::write(scene.path("trials.jsonl"), trials.concat()).unwrap();
        let archives = scene.path("archives");
        import(
            &ImportRequest {
                issues: &issues,
                trials: &simulated.trials,
                toolchains: &TOOLCHAINS.map(str::to_owned),
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
        for (name, similar) in [("dataset", 8), ("other", 2)] {
            let dataset = build(&BuildRequest {
                runs: &archives::collect(&archives).unwrap(),
                issues: &issues,
                action_space: None,
                similar,
                world_runs: None,
                universe: None,
            });
            dataset.unwrap().write(&scene.path(name)).unwrap();
        }
        amphora::planner::replay_bench(&ReplayBenchRequest {
            dataset: scene.path("dataset"),
            trials: scene.path("trials.jsonl"),
            out: scene.path("bench"),
            toolchains: TOOLCHAINS.map(str::to_owned).to_vec(),
            objective: Objective::MaximizeUtility,
            seed: 1,
        })
        .unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn train(
        &self,
        kind: ModelKind,
        out: &str,
        change: impl FnOnce(&mut TrainRequest),
    ) -> amphora_error::Result<TrainingReport> {
        let mut config = TrainConfig::new(kind);
        (config.epochs, config.schedule_epochs, config.members) = (2, 2, 2);
        (config.sizes.d_hidden, config.sizes.n_layers) = (16, 1);
        let mut request = TrainRequest {
            dataset: self.path("dataset"),
            bench: Some(self.path("bench")),
            initial: None,
            minute_cost: None,
            config,
            out: self.path(out),
            resume: false,
        };
        change(&mut request);
        amphora::planner::train(&request, &mut |_| Ok(()))
    }
}

#[test]
fn a_bench_teaches_winners_prices_and_values() {
    let scene = Scene::new();
    let winners = scene.train(ModelKind::Mlp, "winners", |_| ()).unwrap();
    assert_eq!(winners.config.stage, Stage::B);
    // Where nothing passed there is no winner, but there is a price.
    let priced = scene
        .train(ModelKind::Mlp, "priced", |request| {
            request.minute_cost = Some(0.02)
        })
        .unwrap();
    assert!(priced.examples > winners.examples);
    assert_ne!(priced.members[0].digest, winners.members[0].digest);
    // Every valid action of every decision.
    let values = scene.train(ModelKind::Value, "values", |_| ()).unwrap();
    assert_eq!(values.examples, 30 * priced.examples);
    let executed = scene
        .train(ModelKind::Mlp, "executed", |request| request.bench = None)
        .unwrap();
    assert_eq!(executed.config.stage, Stage::A);
    // Stage B goes on from stage A.
    let tuned = scene
        .train(ModelKind::Mlp, "tuned", |request| {
            request.initial = Some(scene.path("executed"));
        })
        .unwrap();
    assert_ne!(tuned.members[0].digest, winners.members[0].digest);
}

/// What a row does to a request.
type Change = fn(&Scene, &mut TrainRequest);

#[test]
fn what_does_not_belong_together_is_refused() {
    let scene = Scene::new();
    let rows: [(&str, Change); 2] = [
        ("bench-dataset", |scene, request| {
            request.dataset = scene.path("other");
        }),
        ("training-stage", |_, request| {
            request.bench = None;
            request.config.model = ModelKind::Value;
        }),
    ];
    amphora_testing::each(&rows, |(rule, change)| {
        let found = scene.train(ModelKind::Mlp, "refused", |request| change(&scene, request));
        match found {
            Err(error) if error.rule() == *rule && !scene.path("refused").exists() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}
