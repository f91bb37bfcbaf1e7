//! From recorded trials to archives, datasets and winners, as a user does it.

use serde_json::json;

use crate::scene::Scene;

/// Trials of two toolchains on twelve issues: the first fails on hard ones.
fn scene() -> Scene {
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

const IMPORT: &str = "planner import --issues issues.jsonl --trials trials.jsonl --out archives";
const DATASET: &str = "planner dataset --archives archives --out dataset";

fn run(scene: &Scene, line: &str) -> crate::scene::Answer {
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
