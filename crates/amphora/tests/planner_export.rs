//! From simulated trials to a trained checkpoint, a bundle, and document 000's flat directory.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(feature = "training")]

use std::path::{Path, PathBuf};

use amphora::planner::{ExportRequest, Exported, ModelKind, TrainConfig, TrainRequest};
use amphora::{Engines, Layout, Timestamp};
use amphora_planner::action_space::ActionSpace;
use amphora_planner::bundle::PlannerBundle;
use amphora_planner::contracts::{PlannerInput, UniverseDefaults};
use amphora_planner::history::archives;
use amphora_planner::issues::parse_issues;
use amphora_training::dataset::{BuildRequest, Dataset, build};
use amphora_training::import::{ImportRequest, Policy, import};
use amphora_training::simulator::{Simulation, TOOLCHAINS, simulate};
use amphora_training::train::TrainedModel;
use serde_json::Value;

struct Scene {
    root: tempfile::TempDir,
    dataset: Dataset,
}

impl Scene {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let simulation = Simulation {
            issues: 20,
            runs: 3,
            seed: 3,
            start_ms: 1_760_000_000_000,
        };
        let simulated = simulate(&simulation).unwrap();
        let lines: Vec<String> = simulated.issues.iter().map(|i| format!("{i}\n")).collect();
        let issues = parse_issues(lines.concat().as_bytes());
        let request = ImportRequest {
            issues: &issues,
            trials: &simulated.trials,
            toolchains: &TOOLCHAINS.map(str::to_owned),
            action_space: &ActionSpace::default(),
            policy: &Policy::Heuristic,
            seed: 0,
            similar: 8,
            universe_id: "simulated",
            universe_defaults: &UniverseDefaults::default(),
        };
        let folder = root.path().join("archives");
        import(&request, &folder).unwrap();
        let dataset = build(&BuildRequest {
            runs: &archives::collect(&folder).unwrap(),
            issues: &issues,
            action_space: None,
            similar: 8,
            world_runs: None,
            universe: None,
        });
        let dataset = dataset.unwrap();
        dataset.write(&root.path().join("dataset")).unwrap();
        Self { root, dataset }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn train(&self, kind: ModelKind) -> PathBuf {
        let mut config = TrainConfig::new(kind);
        config.epochs = 2;
        config.schedule_epochs = 2;
        config.sizes.d_hidden = 16;
        config.sizes.n_layers = 2;
        config.sizes.d_model = 8;
        config.sizes.n_heads = 2;
        config.sizes.d_ff = 8;
        config.sizes.d_inner = 8;
        config.sizes.loops = 2;
        config.sizes.gradient_loops = 1;
        let out = self.path(&format!("{}-checkpoint", kind.name()));
        let request = TrainRequest {
            dataset: self.path("dataset"),
            bench: None,
            initial: None,
            minute_cost: None,
            config,
            out: out.clone(),
            resume: false,
        };
        amphora::planner::train(&request, &mut |_| Ok(())).unwrap();
        out
    }

    fn export(&self, checkpoint: &Path, out: &str) -> Exported {
        self.export_with(checkpoint, out, |_| ())
    }

    fn export_with(
        &self,
        checkpoint: &Path,
        out: &str,
        change: impl FnOnce(&mut ExportRequest),
    ) -> Exported {
        let mut request = ExportRequest {
            checkpoint: checkpoint.to_owned(),
            dataset: self.path("dataset"),
            out: self.path(out),
            config: None,
            calibration: None,
            threshold: None,
            version: "1.2.0".to_owned(),
            git_sha: None,
            keep_checkpoint: false,
            toolchains: Vec::new(),
            created: Timestamp::from_unix_seconds(1_700_000_000).unwrap(),
            engines: Engines::default(),
        };
        change(&mut request);
        amphora::planner::export(&request, &|_| ()).unwrap()
    }

    fn inputs(&self) -> Vec<PlannerInput> {
        let rows = self.dataset.rows.iter().take(12);
        rows.map(|row| row.planner_input.clone()).collect()
    }
}

fn json(path: PathBuf) -> Value {
    amphora::json::read(path).unwrap()
}

#[test]
fn a_trained_model_answers_the_same_from_its_bundle_and_from_the_flat_directory() {
    let scene = Scene::new();
    for kind in [ModelKind::Mlp, ModelKind::Transformer, ModelKind::Urm] {
        let checkpoint = scene.train(kind);
        let exported = scene.export(&checkpoint, &format!("{}-bundle", kind.name()));
        assert_eq!(exported.model_type, kind.name());
        assert!(exported.max_abs_diff["rten"] < 1e-5);
        let sealed = amphora::open(&exported.path).unwrap();
        let flat = scene.path(&format!("{}-flat", kind.name()));
        amphora::layout(&sealed, Layout::Cyntra, &flat).unwrap();
        let trained = TrainedModel::open(&checkpoint).unwrap();
        let expected = trained.logits(&scene.inputs()).unwrap();
        for path in [&exported.path, &flat] {
            let bundle = PlannerBundle::open(path).unwrap();
            for (input, expected) in scene.inputs().iter().zip(&expected) {
                let found = bundle.logits(input).unwrap();
                let pairs = found.iter().flatten().zip(expected.iter().flatten());
                for (found, expected) in pairs {
                    assert!(
                        (found - expected).abs() < 1e-5,
                        "{kind:?}: {found} {expected}"
                    );
                }
            }
        }
    }
}

/// Document 000, section 2.2, and section 3 for what the sealed bundle leaves to the layout.
#[test]
fn the_flat_directory_has_the_files_and_dates_of_document_000() {
    let scene = Scene::new();
    let exported = scene.export(&scene.train(ModelKind::Mlp), "bundle");
    let sealed = amphora::open(&exported.path).unwrap();
    let out = scene.path("models/planner/v1");
    let laid_out = amphora::layout(&sealed, Layout::Cyntra, &out).unwrap();
    let mut names: Vec<String> = fs_err::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    let expected = [
        "action_space.json",
        "calibration.json",
        "config.json",
        "metadata.json",
        "model.onnx",
        "tokenizer_config.json",
        "validation_report.json",
    ];
    assert_eq!(names, expected);
    let mut listed = laid_out.files.clone();
    listed.sort_unstable();
    assert_eq!(listed, expected);
    let date = "2023-11-14T22:13:20Z";
    assert_eq!(json(out.join("metadata.json"))["created_at"], date);
    assert_eq!(json(out.join("calibration.json"))["calibration_date"], date);
    assert_eq!(
        json(out.join("validation_report.json"))["validated_at"],
        date
    );
    assert_eq!(
        fs_err::read(out.join("model.onnx")).unwrap(),
        fs_err::read(exported.path.join("models/model.onnx")).unwrap()
    );
    // Never over what is there.
    let again = amphora::layout(&sealed, Layout::Cyntra, &out).unwrap_err();
    assert_eq!(again.rule(), "output-exists");
    let inside = exported.path.join("flat");
    let refused = amphora::layout(&sealed, Layout::Cyntra, &inside).unwrap_err();
    assert_eq!(refused.rule(), "output-in-bundle");
}

/// Section 2.2: a token model brings its vocabulary, a kept checkpoint its weights.
#[test]
fn the_flat_directory_has_the_vocabulary_and_the_kept_checkpoint() {
    let scene = Scene::new();
    let checkpoint = scene.train(ModelKind::Transformer);
    let exported = scene.export_with(&checkpoint, "kept", |request| {
        request.keep_checkpoint = true
    });
    let sealed = amphora::open(&exported.path).unwrap();
    let out = scene.path("flat");
    let laid_out = amphora::layout(&sealed, Layout::Cyntra, &out).unwrap();
    for name in ["vocab.json", "model.safetensors"] {
        assert!(laid_out.files.iter().any(|file| file == name), "{name}");
        let flat = fs_err::read(out.join(name)).unwrap();
        assert_eq!(flat, fs_err::read(checkpoint.join(name)).unwrap(), "{name}");
    }
    let bundle = PlannerBundle::open(&out).unwrap();
    let trained = TrainedModel::open(&checkpoint).unwrap();
    let expected = trained.logits(&scene.inputs()).unwrap();
    for (input, expected) in scene.inputs().iter().zip(&expected) {
        let found = bundle.logits(input).unwrap();
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
