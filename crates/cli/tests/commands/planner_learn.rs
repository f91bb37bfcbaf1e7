//! From a dataset to a judged checkpoint, a bundle and a flat directory, as a user does it.

use serde_json::{Value, json};

use crate::planner_data::{DATASET, IMPORT, run, scene};
use crate::scene::Scene;

/// A network that is trained in a moment.
const SMALL: &str =
    r#"{"epochs": 2, "schedule_epochs": 2, "sizes": {"d_hidden": 8, "n_layers": 1}}"#;

/// A grid of two runs of a moment each.
const GRID: &str = "
folds = 3
rows_per_task = 1
base = { epochs = 1, schedule_epochs = 1, sizes = { d_hidden = 8, n_layers = 1 } }
[axes.decoding]
joint = {}
masked = { decode = \"masked\" }
";

/// The dataset and the bench of the recorded trials, and a checkpoint that imitates what was executed.
fn trained() -> Scene {
    let scene = scene();
    scene.write("small.json", SMALL);
    for line in [
        IMPORT,
        DATASET,
        "planner bench --dataset dataset --trials trials.jsonl --out bench --objective utility",
        "planner train --dataset dataset --model mlp --config small.json --out executed",
    ] {
        run(&scene, line).expect_code(0);
    }
    scene
}

fn document(scene: &Scene, name: &str) -> Value {
    serde_json::from_slice(&fs_err::read(scene.path(name)).unwrap()).unwrap()
}

#[test]
fn a_checkpoint_is_trained_judged_exported_and_laid_out() {
    let scene = trained();
    let report = document(&scene, "executed/training_report.json");
    assert_eq!(report["config"]["stage"], "a");
    let train = "planner train --dataset dataset --model mlp --config small.json --stage b --bench bench --out won";
    let told = run(&scene, &format!("{train} --json"));
    told.expect_code(0);
    assert_eq!(told.json()["config"]["sizes"]["d_hidden"], 8);
    assert_eq!(told.json(), document(&scene, "won/training_report.json"));
    run(&scene, train).expect_code(2);
    let again = run(&scene, &format!("{train} --resume --json"));
    assert_eq!(again.json(), told.json());

    // What learned from outcomes is not calibrated on what was executed.
    let export =
        "planner export --checkpoint won --dataset dataset --out planner --keep-checkpoint";
    let refused = run(&scene, export);
    refused.expect_code(2);
    assert!(refused.stderr.contains("planner evaluate"), "{refused:#?}");
    let evaluate = "planner evaluate --dataset dataset --model won --trials trials.jsonl --replays 2 --resamples 50";
    let judged = run(
        &scene,
        &format!("{evaluate} --calibration fitted.json --report page.html --json"),
    );
    judged.expect_code(0);
    scene.write("judged.json", &judged.stdout);
    let fitted = document(&scene, "fitted.json");
    assert_eq!(fitted["method"], "temperature_scaling");
    let exported = run(
        &scene,
        &format!("{export} --calibration fitted.json --json"),
    );
    exported.expect_code(0);
    assert_eq!(exported.json()["threshold"], fitted["confidence_threshold"]);
    run(&scene, "layout planner flat --as cyntra").expect_code(0);
    let flat = document(&scene, "flat/calibration.json");
    assert_eq!(flat["temperature"], fitted["temperature"]);
    let weights = |name: &str| fs_err::read(scene.path(name)).unwrap();
    assert_eq!(
        weights("flat/model.safetensors"),
        weights("won/model.safetensors")
    );

    // Judged again, as a bundle and in another way.
    let bundle = evaluate.replace("--model won", "--model ./planner");
    let again = run(
        &scene,
        &format!("{bundle} --baseline-report judged.json --json"),
    );
    again.expect_code(0);
    let drift = again.json()["drift"].clone();
    assert_eq!(drift["actions"]["psi"], 0.0);
    assert_eq!(drift["inputs"].as_array().unwrap().len(), 8);
    for way in ["masked", "autoregressive"] {
        let answer = run(&scene, &format!("{evaluate} --decode {way} --json"));
        answer.expect_code(0);
        assert_eq!(answer.json()["settings"]["decode"], way);
    }
    run(
        &scene,
        &format!("{evaluate} --decode masked --calibration x.json"),
    )
    .expect_code(2);
    run(&scene, &format!("{evaluate} --decode beam")).expect_code(2);
    assert!(!scene.path("x.json").exists());
}

/// A policy that imitates the rule is not better than the rule: the process says so.
#[test]
fn a_gate_that_is_not_passed_is_exit_code_one() {
    let scene = trained();
    let evaluate = "planner evaluate --dataset dataset --model executed --trials trials.jsonl --replays 2 --resamples 50";
    run(&scene, evaluate).expect_code(0);
    for gate in ["heuristic", "best-fixed"] {
        let answer = run(&scene, &format!("{evaluate} --gate {gate}"));
        answer.expect_code(1);
        assert!(
            answer.stdout.contains(&format!("gate {gate}")),
            "{answer:#?}"
        );
    }
    let told = run(&scene, &format!("{evaluate} --gate heuristic --json"));
    told.expect_code(1);
    assert_eq!(told.json()["gate"]["passed"], json!(false));
    // Without outcomes there is nothing to compare: that is another kind of failure.
    let blind = "planner evaluate --dataset dataset --model executed --gate heuristic";
    run(&scene, blind).expect_code(2);
    let cross = "planner evaluate --dataset dataset --trials trials.jsonl --cross-validate --calibration x.json";
    run(&scene, cross).expect_code(2);
}

#[test]
fn a_grid_is_run_once() {
    let scene = trained();
    scene.write("grid.toml", GRID);
    let ablate = "planner ablate --dataset dataset --trials trials.jsonl --grid grid.toml --out ablations --json";
    let first = run(&scene, ablate);
    first.expect_code(0);
    let found = first.json();
    let rows = found["rows"].as_array().unwrap();
    let names: Vec<&Value> = rows.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["decoding_joint", "decoding_masked"]);
    assert_eq!(found, document(&scene, "ablations/ablation_summary.json"));
    assert!(scene.path("ablations/ablation.html").is_file());
    let written = |name: &str| {
        let path = scene.path(format!("ablations/{name}/report.json"));
        fs_err::metadata(path).unwrap().modified().unwrap()
    };
    let before = written("decoding_joint");
    assert_eq!(run(&scene, ablate).json(), found);
    assert_eq!(written("decoding_joint"), before);
    scene.write(
        "grid.toml",
        GRID.replace("joint = {}", "joint = { similar_runs = 9 }"),
    );
    let refused = run(&scene, &ablate.replace("ablations", "more"));
    assert_eq!(refused.error_kind(), "incompatible");
    assert!(!scene.path("more").exists());
}
