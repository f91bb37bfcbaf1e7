//! From recorded trials to archives, datasets and winners, as a user does it.

use serde_json::json;

use crate::scene::Scene;

/// Trials of two toolchains on twelve issues: the first fails on hard ones.
pub(crate) fn scene() -> Scene {
    let scene = Scene::new();
    let (mut issues, mut trials) = (String::new(), String::new());
    for number in 0..12_u64 {
        let hard = number % 3 == 0;
        let risk = if hard { "high" } else { "low" };
        let issue = json!({"id": format!("i{number}"), "title": "a task", "tags": ["kernel"], "status": "done",
            "dk_risk": risk, "dk_size": "S", "dk_attempts": "0"});
        issues.push_str(&format!("{issue}\n"));
        for (place, toolchain) in ["alpha", "beta", "gamma"].iter().enumerate() {
            let passed = !hard || place == 1;
            let trial = json!({
                "schema_version": "amphora.recorded_trial.v1", "issue_id": format!("i{number}"),
                "toolchain": toolchain, "trial": format!("{number}-{toolchain}"),
                "started_ms": 1_760_000_000_000 + number * 3_600_000 + place as u64,
                "duration_ms": 300_000 * (place as u64 + 1),
                "status": if passed { "success" } else { "failed" }, "all_passed": passed,
                "gates": [{"name": "test", "passed": passed}],
                "fail_codes": if passed { vec![] } else { vec!["test_failed"] },
                "cost_usd": null, "tokens_in": null, "tokens_out": null,
            });
            trials.push_str(&format!("{trial}\n"));
        }
    }
    scene.write("issues.jsonl", issues);
    scene.write("trials.jsonl", trials);
    scene
}

pub(crate) const IMPORT: &str =
    "planner import --issues issues.jsonl --trials trials.jsonl --out archives";
pub(crate) const DATASET: &str = "planner dataset --archives archives --out dataset";

pub(crate) fn run(scene: &Scene, line: &str) -> crate::scene::Answer {
    scene.run(&line.split(' ').collect::<Vec<_>>())
}

#[test]
fn trials_become_archives_a_dataset_and_winners() {
    let scene = scene();
    let imported = run(&scene, &format!("{IMPORT} --json"));
    imported.expect_code(0);
    let imported = imported.json();
    // Eight easy issues with three serial decisions each, four hard ones with one of three candidates.
    assert_eq!(imported["decisions"], 8 * 3 + 4);
    assert_eq!(imported["archives"], 36);
    assert_eq!(imported["left_over"], 0);

    let built = run(&scene, &format!("{DATASET} --json"));
    built.expect_code(0);
    let meta = &built.json()["meta"];
    assert_eq!(meta["example_count"], 28);
    assert_eq!(meta["dropped"], json!({}));
    let again = run(
        &scene,
        "planner dataset --archives archives --out again --json",
    )
    .json();
    assert_eq!(again["meta"]["dataset_hash"], meta["dataset_hash"]);

    let bench = "planner bench --dataset dataset --trials trials.jsonl --out bench --json";
    let summary = run(&scene, bench).json();
    assert_eq!(summary["decisions"], 28);
    let schema = run(&scene, "schema bench_summary --json").json();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&summary), "{summary}");
    // Alone, the first toolchain solves the easy ones; the hard ones need the second.
    assert_eq!(
        summary["winners"],
        json!({"serial_handoff/1/15/NA": 24, "speculate_vote/2/15/NA": 4})
    );
    let only_first = format!("{bench} --toolchains alpha").replace("--out bench", "--out first");
    assert_eq!(run(&scene, &only_first).json()["no_passing_candidate"], 4);

    for line in [
        "planner stats --archives archives",
        "planner import --issues issues.jsonl --trials trials.jsonl --out b --policy uniform",
        "planner dataset --archives b --out c",
        "planner bench --dataset c --trials trials.jsonl --out d --objective utility",
    ] {
        let answer = run(&scene, line);
        answer.expect_code(0);
        let notes = answer.stderr.lines().all(|line| line.starts_with("note: "));
        assert!(notes && !answer.stdout.is_empty(), "{answer:#?}");
    }
    // 28 examples are too few.
    run(&scene, "planner stats --archives archives --gate").expect_code(1);
}

#[test]
fn every_bad_input_has_its_kind_and_leaves_nothing_behind() {
    let scene = scene();
    run(&scene, IMPORT).expect_code(0);
    run(&scene, DATASET).expect_code(0);
    scene.write("bad.jsonl", "{}\n");
    scene.write("space.json", "{}");
    std::fs::create_dir(scene.path("empty")).unwrap();
    let before = scene.files();
    let rows = [
        (IMPORT.to_owned(), "usage"),
        (DATASET.to_owned(), "usage"),
        (
            IMPORT.replace("--out archives", "--out x --policy greedy"),
            "usage",
        ),
        (
            IMPORT.replace("--out archives", "--out x --toolchains delta"),
            "usage",
        ),
        (
            IMPORT
                .replace("trials.jsonl", "bad.jsonl")
                .replace("--out archives", "--out x"),
            "malformed",
        ),
        (
            IMPORT
                .replace("trials.jsonl", "absent.jsonl")
                .replace("--out archives", "--out x"),
            "not_found",
        ),
        (
            IMPORT.replace("--out archives", "--out x --action-space space.json"),
            "malformed",
        ),
        (
            "planner dataset --archives absent --out x".to_owned(),
            "not_found",
        ),
        (
            "planner dataset --archives empty --out x".to_owned(),
            "negative",
        ),
        ("planner stats --archives empty".to_owned(), "negative"),
        (
            "planner bench --dataset archives --trials trials.jsonl --out x".to_owned(),
            "not_found",
        ),
        (
            "planner bench --dataset dataset --trials bad.jsonl --out x".to_owned(),
            "malformed",
        ),
    ];
    amphora_testing::each(&rows, |(line, kind)| {
        let answer = run(&scene, &format!("{line} --json"));
        let found = answer.error_kind();
        match found == *kind && answer.code != Some(0) {
            true => Ok(()),
            false => Err(format!("{found} {answer:#?}")),
        }
    });
    assert_eq!(scene.files(), before);
}

/// A universe of three swarms, `tournament` among them.
fn universe(scene: &Scene) {
    std::fs::create_dir(scene.path("universe")).unwrap();
    scene.write("universe/universe.yaml", "universe_id: arena\n");
    scene.write(
        "universe/swarms.yaml",
        "swarms:\n  serial_handoff: {}\n  speculate_vote: {population_size: 3}\n  tournament: {}\n",
    );
    scene.write("universe/objectives.yaml", "objectives: {}\n");
}

/// The manifest of every archive, changed.
fn each_manifest(scene: &Scene, edit: impl Fn(&mut serde_json::Value)) {
    for folder in std::fs::read_dir(scene.path("archives")).unwrap() {
        let path = folder.unwrap().path().join("manifest.json");
        let mut manifest = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        edit(&mut manifest);
        fs_err::write(path, manifest.to_string()).unwrap();
    }
}

#[test]
fn the_swarms_of_a_universe_are_those_of_its_archives_and_datasets() {
    let scene = scene();
    universe(&scene);
    let swarms = json!(["serial_handoff", "speculate_vote", "tournament"]);
    run(&scene, &format!("{IMPORT} --universe universe")).expect_code(0);
    each_manifest(&scene, |manifest| {
        let input = &manifest["planner"]["planner_input"];
        assert_eq!(input["action_space"]["swarm_ids"], swarms);
        assert_eq!(input["universe_id"], "arena");
    });
    let meta = |line: &str| {
        let built = run(&scene, &format!("{line} --json"));
        built.expect_code(0);
        built.json()["meta"].clone()
    };
    assert_eq!(meta(DATASET)["swarm_ids"], swarms);
    let example = amphora_testing::repository().join("examples/universe");
    let example = format!("--universe {}", example.display());
    // What is stored counts more than the universe.
    let stored = meta(&format!(
        "{} {example}",
        DATASET.replace("--out dataset", "--out stored")
    ));
    assert_eq!(stored["swarm_ids"], swarms);
    assert_eq!(stored["universe_id"], "arena");
    each_manifest(&scene, |manifest| {
        manifest["planner"]["planner_input"].take();
    });
    let bare = DATASET.replace("--out dataset", "--issues issues.jsonl");
    let rows = [
        ("--out arena --universe universe", "arena", 3),
        (&format!("--out example {example}"), "workshop", 2),
        ("--out neither", "unknown", 2),
    ];
    amphora_testing::each(&rows, |(rest, universe_id, swarms)| {
        let meta = meta(&format!("{bare} {rest}"));
        let found = meta["swarm_ids"].as_array().map(Vec::len);
        match meta["universe_id"] == *universe_id && found == Some(*swarms) {
            true => Ok(()),
            false => Err(meta.to_string()),
        }
    });
    let imported = IMPORT.replace("--out archives", "--out again");
    run(&scene, &format!("{imported} {example}")).expect_code(0);
}

#[test]
fn an_import_chooses_among_the_actions_of_a_file() {
    let scene = scene();
    universe(&scene);
    let space = json!({"swarm_ids": ["serial_handoff", "speculate_vote"], "max_candidates_bins": [1, 2],
        "max_minutes_bins": [5, 10], "max_iterations_bins": ["NA"], "validity_rules": [
            {"description": "one candidate", "if": {"swarm_id": "serial_handoff"},
                "then": {"max_candidates_bin": 1}}]});
    scene.write("space.json", space.to_string());
    // The file counts more than the universe.
    let line =
        format!("{IMPORT} --action-space space.json --universe universe --policy uniform --json");
    let imported = run(&scene, &line);
    imported.expect_code(0);
    let imported = imported.json();
    let actions: Vec<&String> = imported["actions"].as_object().unwrap().keys().collect();
    let minutes = |action: &&String| action.ends_with("/5/NA") || action.ends_with("/10/NA");
    assert!(
        actions.len() > 2 && actions.iter().all(minutes),
        "{actions:?}"
    );
    each_manifest(&scene, |manifest| {
        assert_eq!(manifest["planner"]["planner_input"]["action_space"], space);
    });
}

#[test]
fn world_runs_are_part_of_what_a_dataset_knows() {
    let scene = scene();
    run(&scene, IMPORT).expect_code(0);
    std::fs::create_dir_all(scene.path("runs/run-1")).unwrap();
    let with_worlds = run(&scene, &format!("{DATASET} --world-runs runs --json"));
    with_worlds.expect_code(0);
    let built = with_worlds.json();
    assert_eq!(built["meta"]["include_world"], true);
    assert_eq!(
        built["meta"]["dropped"],
        json!({"world_run_no_manifest": 1})
    );
    assert_eq!(built["left_out"][0]["folder"], "run-1");
    let without = DATASET.replace("--out dataset", "--out without --json");
    assert_eq!(run(&scene, &without).json()["meta"]["include_world"], false);
}
