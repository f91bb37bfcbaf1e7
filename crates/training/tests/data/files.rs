//! Datasets and benches on disk.

use amphora_planner::contracts::Objective;
use amphora_training::bench::{BenchRequest, StageB, bench};
use amphora_training::dataset::{Dataset, META_FILE, ROWS_FILE};
use serde_json::Value;

use crate::scene::{Scene, toolchains};

#[test]
fn a_dataset_is_read_as_it_was_written_and_never_overwritten() {
    let scene = Scene::new(10);
    let dataset = scene.build().unwrap();
    let place = scene.path("dataset");
    dataset.write(&place).unwrap();
    assert_eq!(Dataset::read(&place).unwrap(), dataset);
    assert_eq!(dataset.write(&place).unwrap_err().rule(), "output-exists");
    let text = std::fs::read_to_string(place.join(ROWS_FILE)).unwrap();
    assert_eq!(text.lines().count(), dataset.rows.len());
    assert!(text.starts_with("{\"label_action\": {\"abstain_to_default\": false, \"budgets\": {"));
}

#[test]
fn what_a_killed_run_left_beside_the_output_is_swept() {
    let scene = Scene::new(10);
    let left = scene.path(".amphora-tmp-left");
    fs_err::create_dir(&left).unwrap();
    fs_err::write(left.join("half"), b"...").unwrap();
    let dataset = scene.build().unwrap();
    // A moment old: somebody may be about to lock it.
    dataset.write(&scene.path("first")).unwrap();
    assert!(left.exists());
    let hour = std::time::Duration::from_secs(3600);
    let then = std::time::SystemTime::now() - hour;
    fs_err::File::open(&left)
        .unwrap()
        .set_modified(then)
        .unwrap();
    dataset.write(&scene.path("second")).unwrap();
    assert!(!left.exists());
    assert!(scene.path("first").is_dir());
}

#[test]
fn the_hash_is_what_its_definition_says() {
    let scene = Scene::new(10);
    let dataset = scene.build().unwrap();
    let place = scene.path("dataset");
    dataset.write(&place).unwrap();
    let Some(python) = amphora_testing::peer("hashlib", None) else {
        return;
    };
    let program = r#"
import hashlib, json, sys
digest = hashlib.sha256()
for line in open(sys.argv[1], encoding="utf-8"):
    row = json.loads(line)
    digest.update((json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode())
print(digest.hexdigest())
"#;
    let printed = python.run(program, &[&place.join(ROWS_FILE).to_string_lossy()]);
    assert_eq!(printed.trim(), dataset.meta.dataset_hash);
}

#[test]
fn damage_is_refused_by_name() {
    let scene = Scene::new(10);
    let place = scene.path("dataset");
    scene.build().unwrap().write(&place).unwrap();
    let rows_path = place.join(ROWS_FILE);
    let meta_path = place.join(META_FILE);
    let rows = std::fs::read_to_string(&rows_path).unwrap();
    let meta = std::fs::read_to_string(&meta_path).unwrap();
    let lines: Vec<&str> = rows.lines().collect();
    let swapped = [&[lines[1], lines[0]], &lines[2..]].concat().join("\n");
    let mut counts: Value = serde_json::from_str(&meta).unwrap();
    counts["example_count"] = 3.into();
    let damaged = [
        ("dataset-hash", rows.replacen("\"P", "\"Q", 1), meta.clone()),
        ("dataset-hash", lines[1..].join("\n"), meta.clone()),
        ("dataset-hash", swapped, meta.clone()),
        (
            "dataset-hash",
            format!("{rows}{}\n", lines[0]),
            meta.clone(),
        ),
        (
            "dataset-row",
            rows.replacen("\"run_id\"", "\"run\"", 1),
            meta.clone(),
        ),
        ("json", rows.replacen("{", "", 1), meta.clone()),
        (
            "json",
            rows.clone(),
            meta.replacen("dataset_hash", "hash", 1),
        ),
        ("dataset-counts", rows.clone(), counts.to_string()),
    ];
    amphora_testing::each(&damaged, |(rule, rows, meta)| {
        fs_err::write(&rows_path, rows).map_err(|error| error.to_string())?;
        fs_err::write(&meta_path, meta).map_err(|error| error.to_string())?;
        match Dataset::read(&place) {
            Err(error) if error.rule() == *rule => Ok(()),
            other => Err(format!("{:?}", other.map(|_| ()))),
        }
    });
}

#[test]
fn a_bench_is_read_as_it_was_written() {
    let scene = Scene::new(10);
    let dataset = scene.build().unwrap();
    let stage_b = bench(&BenchRequest {
        dataset: &dataset,
        trials: &scene.trials,
        toolchains: &toolchains(),
        objective: Objective::MinimizeDuration,
        seed: 1,
    })
    .unwrap();
    let place = scene.path("bench");
    stage_b.write(&place).unwrap();
    assert_eq!(StageB::read(&place).unwrap(), stage_b);
    let examples = std::fs::read_to_string(place.join("best_of_k_dataset.jsonl")).unwrap();
    assert_eq!(examples.lines().count(), stage_b.examples().count());
    let records: Value =
        serde_json::from_slice(&std::fs::read(place.join("results/best_of_k.json")).unwrap())
            .unwrap();
    assert_eq!(records.as_array().unwrap().len(), dataset.rows.len());
}
