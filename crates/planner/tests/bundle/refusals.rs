//! Bundles that do not open.

use amphora_planner::bundle::PlannerBundle;
use serde_json::json;

use crate::scene::Scene;

#[test]
fn files_that_contradict_each_other_are_refused() {
    let other = "0".repeat(64);
    let heads = json!({"swarm": {"n_classes": 3}, "candidates": 4, "minutes": 6, "iterations": 5});
    let pinned = json!({"toolchains": other});
    let mut narrow = Scene::new();
    narrow.space.max_minutes_bins.pop();
    let rows = [
        (
            "config.json",
            Scene::new().set("config.json", "heads", heads),
            "planner-config",
        ),
        (
            "another list of swarms",
            Scene::new().set(
                "config.json",
                "action_space",
                json!({"swarm_ids": ["a", "b"]}),
            ),
            "planner-config",
        ),
        (
            "other rules",
            Scene::new().set(
                "config.json",
                "action_space",
                json!({"validity_rules": [
                    {"description": "", "if": {"job_type": "code"}, "then": {"max_iterations_bin": 1}}
                ]}),
            ),
            "planner-config",
        ),
        (
            "no rules",
            Scene::new().set("config.json", "action_space", json!({"validity_rules": []})),
            "planner-config",
        ),
        (
            "rules that are none",
            Scene::new().set(
                "config.json",
                "action_space",
                json!({"validity_rules": "serial means one candidate"}),
            ),
            "planner-config",
        ),
        (
            "a model of another kind",
            Scene::new().set("config.json", "model_type", json!("conv2d_fsq")),
            "planner-model-type",
        ),
        (
            "a head that does not exist",
            Scene::new().set("calibration.json", "temperature", json!({"agents": 1.5})),
            "calibration-head",
        ),
        (
            "another feature schema",
            Scene::new().set("metadata.json", "digests", json!({"feature_schema": other})),
            "feature-schema",
        ),
        (
            "another action space",
            Scene::new().set("metadata.json", "digests", json!({"action_space": other})),
            "planner-action-space",
        ),
        (
            "other toolchains",
            Scene::new().set("metadata.json", "digests", pinned).set(
                "metadata.json",
                "toolchains",
                json!(["codex"]),
            ),
            "planner-toolchains",
        ),
        (
            "another width",
            Scene::new().set("metadata.json", "digests", json!({})).set(
                "tokenizer_config.json",
                "n_history_slots",
                json!(3),
            ),
            "planner-width",
        ),
        (
            "an endless history",
            Scene::new().set(
                "tokenizer_config.json",
                "n_history_slots",
                json!(1_000_000_000),
            ),
            "history-slots",
        ),
        ("a graph of another space", narrow, "planner-graph"),
        (
            "a token model without tokens",
            Scene::new().set("config.json", "model_type", json!("urm")),
            "not-found",
        ),
        (
            "no calibration",
            Scene::new().without("calibration.json"),
            "not-found",
        ),
        (
            "no action space",
            Scene::new().without("action_space.json"),
            "not-found",
        ),
    ];
    let scratch = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    for (number, (name, scene, rule)) in rows.iter().enumerate() {
        let sealed = scene.seal(&scratch.path().join(format!("sealed-{number}")));
        let flat = scene.lay_out(&scratch.path().join(format!("flat-{number}")));
        for path in [sealed, flat] {
            match PlannerBundle::open(&path) {
                Err(error) if error.rule() == *rule => {}
                Err(error)
                    if *rule == "not-found"
                        && error.kind() == amphora_error::ErrorKind::NotFound => {}
                Err(error) => faults.push(format!("{name}: {} {error}", error.rule())),
                Ok(_) => faults.push(format!("{name}: opened")),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_file_that_a_decision_depends_on_is_compared_with_the_manifest() {
    let scratch = tempfile::tempdir().unwrap();
    let path = Scene::new().seal(scratch.path());
    for name in [
        "manifest.yaml",
        "models/model.onnx",
        "golden/vectors.safetensors",
        "action_space.json",
        "calibration.json",
        "config.json",
        "metadata.json",
        "tokenizer_config.json",
    ] {
        let file = path.join(name);
        let before = fs_err::read(&file).unwrap();
        let mut after = before.clone();
        let middle = after.len() / 2;
        after[middle] ^= 1;
        fs_err::write(&file, &after).unwrap();
        let error = PlannerBundle::open(&path).unwrap_err();
        assert_eq!(
            error.kind(),
            amphora_error::ErrorKind::Untrusted,
            "{name}: {error}"
        );
        fs_err::remove_file(&file).unwrap();
        assert!(PlannerBundle::open(&path).is_err(), "{name}");
        fs_err::write(&file, &before).unwrap();
    }
    PlannerBundle::open(&path).unwrap();
}

#[test]
fn what_is_no_bundle_is_not_found() {
    let scratch = tempfile::tempdir().unwrap();
    let kind = |path| PlannerBundle::open(path).unwrap_err().kind();
    assert_eq!(kind(scratch.path()), amphora_error::ErrorKind::NotFound);
    assert_eq!(
        kind(&scratch.path().join("nowhere")),
        amphora_error::ErrorKind::NotFound
    );
}
