//! `quickstart`: the planner's job from end to end, and that its commands are what it says they are.

use serde_json::Value;

use crate::scene::Scene;

/// What came out: the hash of the dataset, the weights, the id of the bundle.
fn identities(scene: &Scene) -> (Value, Vec<u8>, Value) {
    let meta = fs_err::read(scene.path("try/dataset/meta.json")).unwrap();
    let meta: Value = serde_json::from_slice(&meta).unwrap();
    (
        meta["dataset_hash"].clone(),
        fs_err::read(scene.path("try/checkpoint/model.safetensors")).unwrap(),
        scene.run(&["inspect", "try/planner", "--json"]).json()["id"].clone(),
    )
}

#[test]
fn the_planner_is_learned_from_runs_and_the_commands_shown_do_the_same() {
    let scene = Scene::new();
    let answer = scene.run(&["quickstart", "--dir", "try", "--issues", "30", "--json"]);
    answer.expect_code(0);
    let found = answer.json();
    assert_eq!(
        found["action"]["schema_version"],
        "cyntra.planner_action.v1"
    );
    assert_eq!(found["action"]["abstain_to_default"], false);
    let policies = found["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 3);
    let metadata = fs_err::read(scene.path("try/planner/metadata.json")).unwrap();
    let metadata: Value = serde_json::from_slice(&metadata).unwrap();
    // What was executed is no measure for a model that learned outcomes.
    assert_eq!(metadata["training"]["labels"], "outcomes");
    assert!(metadata["training"]["test_metrics"]["exact_match_accuracy"].is_null());
    assert!(metadata["training"]["best_val_accuracy"].is_f64());
    assert!(metadata["confidence_threshold"].is_f64());
    let first = identities(&scene);

    fs_err::rename(scene.path("try"), scene.path("before")).unwrap();
    for name in ["issues.jsonl", "trials.jsonl"] {
        scene.write(
            &format!("try/{name}"),
            fs_err::read(scene.path("before").join(name)).unwrap(),
        );
    }
    let steps = found["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 9);
    for step in &steps[1..] {
        let command = step["command"].as_str().unwrap();
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        scene.run(&words).expect_code(0);
    }
    assert!(first.2.is_string());
    assert!(
        identities(&scene) == first,
        "the commands make something else"
    );
    assert!(scene.path("try/report.html").is_file());

    let files = scene.files();
    scene
        .run(&["quickstart", "--dir", "none", "--issues", "0"])
        .expect_code(2);
    // Nothing is written over what it is made from, and no calibration is taken for another's.
    let evaluate =
        "planner evaluate --dataset try/dataset --model try/checkpoint --trials try/trials.jsonl";
    for rest in [
        "--report try/trials.jsonl",
        "--calibration try/checkpoint/config.json",
        "--report try/dataset/page.html",
        "--resamples 0",
        "--replays 0",
    ] {
        let line = format!("{evaluate} {rest}");
        scene
            .run(&line.split(' ').collect::<Vec<_>>())
            .expect_code(2);
    }
    assert_eq!(scene.files(), files);
    let calibration = fs_err::read_to_string(scene.path("try/calibration.json")).unwrap();
    let mut calibration: Value = serde_json::from_str(&calibration).unwrap();
    calibration["checkpoint_sha256"] = "0".repeat(64).into();
    scene.write("other.json", calibration.to_string());
    let export = "planner export --checkpoint try/checkpoint --dataset try/dataset --out x --calibration other.json";
    let refused = scene.run(&export.split(' ').collect::<Vec<_>>());
    assert!(
        refused.stderr.contains("fitted for other weights"),
        "{}",
        refused.stderr
    );
    fs_err::remove_file(scene.path("other.json")).unwrap();
    scene.run(&["quickstart", "--dir", "try"]).expect_code(2);
    assert_eq!(scene.files(), files);
}
