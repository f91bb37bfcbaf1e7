//! Row 108 of the reliability list: training killed at any moment, resumed, repeated on other numbers
//! of threads, and with another seed.
//!
//! The child that is killed is this test program itself, asked for one ignored test.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test tells its child by the environment what to train"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::PlannerInput;
use amphora_training::train::{Label, ModelKind, TrainConfig, TrainingRow, train};
use serde_json::json;

/// Where the child trains to, what it trains, and with which seed.
const INTO: &str = "AMPHORA_TEST_TRAIN_INTO";
const MODEL: &str = "AMPHORA_TEST_TRAIN_MODEL";
const SEED: &str = "AMPHORA_TEST_TRAIN_SEED";

/// One of each way to learn a policy.
const KINDS: [ModelKind; 4] = [
    ModelKind::Mlp,
    ModelKind::Transformer,
    ModelKind::Urm,
    ModelKind::Joint,
];

/// Large enough for matrix products to be shared among threads.
fn config(model: ModelKind, seed: u64) -> TrainConfig {
    let mut config = TrainConfig::new(model);
    config.seed = seed;
    (config.epochs, config.schedule_epochs) = (4, 4);
    config.sizes.d_hidden = 256;
    config.sizes.n_layers = 2;
    config.sizes.d_model = 64;
    config.sizes.d_ff = 128;
    config.sizes.max_len = 64;
    config
}

fn rows() -> Vec<TrainingRow> {
    let space = ActionSpace::default();
    let valid = space.valid_actions("code");
    let row = |number: usize| {
        let tags: Vec<String> = (0..number % 7)
            .map(|tag| format!("t{}", number * tag))
            .collect();
        let size = ["XS", "S", "M", "L", "XL"][number % 5];
        let document = json!({
            "schema_version": "cyntra.planner_input.v1", "created_at": "2026-02-03T09:00:00Z",
            "universe_id": "u1", "job_type": "code", "universe_defaults": {},
            "issue": {"issue_id": format!("i{number}"), "dk_priority": "P1", "dk_risk": "low",
                      "dk_size": size, "dk_tool_hint": null, "dk_attempts": 0, "tags": tags},
            "history": {"last_n_similar_runs": []},
            "action_space": serde_json::to_value(&space).unwrap(),
        });
        TrainingRow {
            input: PlannerInput::from_value(&document).unwrap(),
            label: Some(Label::Action(valid[number * 7 % valid.len()])),
            outcomes: Vec::new(),
            weight: 1.0,
        }
    };
    (0..160).map(row).collect()
}

/// The child: resumes whatever it finds.
#[test]
#[ignore = "what the test below starts and kills"]
fn child_trains() {
    let Ok(out) = std::env::var(INTO) else { return };
    let name = std::env::var(MODEL).unwrap();
    let model = ModelKind::ALL.into_iter().find(|kind| kind.name() == name);
    let config = config(
        model.unwrap(),
        std::env::var(SEED).unwrap().parse().unwrap(),
    );
    let rows = rows();
    let (training, validation) = rows.split_at(128);
    let resume = Path::new(&out).exists();
    train(
        training,
        validation,
        &config,
        Path::new(&out),
        resume,
        &mut |_| Ok(()),
    )
    .unwrap();
}

fn start(out: &Path, model: ModelKind, seed: u64, threads: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_trains", "--ignored"])
        .env(INTO, out)
        .env(MODEL, model.name())
        .env(SEED, seed.to_string())
        .env("RAYON_NUM_THREADS", threads.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap();
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (
            path.file_name().unwrap().to_string_lossy().into_owned(),
            std::fs::read(&path).unwrap(),
        )
    };
    entries.map(file).collect()
}

/// How many times the state has been replaced or completed, as far as a glance tells.
fn changed(out: &Path, last: &mut Option<std::time::SystemTime>) -> bool {
    let time = std::fs::metadata(out.join("training_state.safetensors"));
    let time = time.and_then(|status| status.modified()).ok();
    std::mem::replace(last, time) != time
}

#[test]
fn row_108_killed_by_signal_resumed_gives_the_same_bytes_on_any_number_of_threads() {
    let scratch = tempfile::tempdir().unwrap();
    amphora_testing::each(&KINDS, |model| {
        let into = |name: &str| scratch.path().join(format!("{}-{name}", model.name()));
        let finish = |name: &str, seed: u64, threads: usize| {
            assert!(
                start(&into(name), *model, seed, threads)
                    .wait()
                    .unwrap()
                    .success()
            );
            files(&into(name))
        };
        let expected = finish("whole", 1, 1);
        if finish("threads", 1, 4) != expected {
            return Err("the number of threads changes the bytes".to_owned());
        }
        let other = finish("seed", 2, 2);
        if other["model.safetensors"] == expected["model.safetensors"] {
            return Err("two seeds give the same model".to_owned());
        }

        let out = into("killed");
        let mut seen = None;
        // Before the first state, then soon after a new state, then in the middle of an epoch.
        for (epochs, delay) in [(0, 5), (1, 0), (1, 30), (1, 1)] {
            let mut child = start(&out, *model, 1, 2);
            let limit = Instant::now() + Duration::from_secs(60);
            let mut left = epochs;
            while left > 0 && Instant::now() < limit && child.try_wait().unwrap().is_none() {
                left -= usize::from(changed(&out, &mut seen));
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(delay));
            // SIGKILL; a child that is done by then has nothing left to be killed in.
            child.kill().unwrap();
            child.wait().unwrap();
        }
        match finish("killed", 1, 2) == expected {
            true => Ok(()),
            false => Err("the resumed run differs".to_owned()),
        }
    });
}
