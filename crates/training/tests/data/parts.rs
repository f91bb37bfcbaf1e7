//! The parts of a dataset: by time, equal inputs together, and what is said of the rest.

use std::collections::{BTreeMap, BTreeSet};

use amphora_planner::contracts::{Split, time};
use amphora_training::dataset::{BuildRequest, Dataset, build};

use crate::scene::{Scene, rename, restamp};

#[test]
fn parts_are_by_time_and_keep_equal_inputs_together() {
    let scene = Scene::new(40);
    let dataset = scene.build().unwrap();
    let count = dataset.rows.len();
    assert!(
        dataset
            .rows
            .is_sorted_by_key(|row| (row.started_ms, row.run_id.clone()))
    );
    let moved = usize::try_from(dataset.meta.findings.moved_to_keep_groups).unwrap();
    let train = dataset.split(Split::Train).count();
    assert!(train <= count * 8 / 10 && train + moved >= count * 8 / 10);
    let last_of = |split| {
        dataset
            .split(split)
            .map(|row| row.started_ms)
            .max()
            .unwrap()
    };
    let boundary = dataset.rows[count * 8 / 10].started_ms;
    assert!(last_of(Split::Train) < boundary && last_of(Split::Val) < last_of(Split::Test));
    let mut part_of = BTreeMap::new();
    for row in &dataset.rows {
        let hash = row.planner_input.input_hash().unwrap();
        let part = *part_of.entry(hash).or_insert(row.split);
        assert_eq!(part, row.split, "equal inputs in two parts");
    }
    let rows = [
        (1, [0, 0, 1]),
        (9, [7, 0, 2]),
        (10, [8, 1, 1]),
        (25, [20, 2, 3]),
    ];
    amphora_testing::each(&rows, |(count, wanted)| {
        let few = Scene::new(*count);
        // One decision for each issue.
        for folder in few.folders() {
            let manifest = few.document(&folder, "manifest.json");
            let first = format!("wc-{}-", manifest["issue"]["id"].as_str().unwrap());
            let earlier = few
                .folders()
                .into_iter()
                .find(|name| name.starts_with(&first))
                .unwrap();
            if folder[..earlier.len() - 1] != earlier[..earlier.len() - 1] {
                few.remove(&folder);
            }
        }
        let counts = few.build().unwrap().meta.split_counts;
        let found = [counts.train, counts.val, counts.test];
        match found == *wanted {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
}

/// A dataset whose inputs hold no history, so that two decisions may have equal ones.
fn without_history(scene: &Scene) -> Dataset {
    build(&BuildRequest {
        runs: &scene.collected(),
        issues: &scene.issues,
        action_space: None,
        world_runs: None,
        similar: 0,
        universe: None,
    })
    .unwrap()
}

#[test]
fn row_107_equal_inputs_on_both_sides_of_a_border_go_where_the_last_is() {
    let policy = "fixed:serial_handoff/1/30/NA".parse().unwrap();
    let scene = Scene::with_policy(10, &policy);
    let before = without_history(&scene);
    let count = before.rows.len();
    let by_place = |place: usize, count: usize| match place {
        place if place < count * 8 / 10 => Split::Train,
        place if place < count * 8 / 10 + count / 10 => Split::Val,
        _ => Split::Test,
    };
    assert!(count >= 30, "{count}");
    // From the training to the validation, and to the test.
    let rows = [(count * 8 / 10 + 1, Split::Val), (count - 1, Split::Test)];
    amphora_testing::each(&rows, |(place, part)| {
        let source = &before.rows[5].run_id;
        let moment = |ms: u64| time::format(ms).unwrap();
        let started_ms = before.rows[*place].started_ms + 1;
        scene.plant(source, "again", |manifest, proof| {
            rename(manifest, proof, "again");
            restamp(
                manifest,
                proof,
                &moment(started_ms),
                &moment(started_ms + 1_000),
            );
        });
        let after = without_history(&scene);
        scene.remove("again");
        let part_of = |run: &str| {
            let row = after.rows.iter().find(|row| row.run_id == run);
            row.unwrap().split
        };
        let found = (part_of(source), part_of("again"));
        let moved = after.rows.iter().enumerate();
        let moved = moved.filter(|(place, row)| row.split != by_place(*place, after.rows.len()));
        let moved = moved.count() as u64;
        let said = after.meta.findings.moved_to_keep_groups;
        match found == (*part, *part) && said == moved && moved > 0 {
            true => Ok(()),
            false => Err(format!("{found:?}, {moved} moved, {said} said")),
        }
    });
}

#[test]
fn row_107_issues_that_are_in_several_parts_are_counted() {
    let dataset = Scene::new(20).build().unwrap();
    let mut parts: BTreeMap<&str, BTreeSet<Split>> = BTreeMap::new();
    for row in &dataset.rows {
        let issue = row.planner_input.issue.issue_id.as_str();
        parts.entry(issue).or_default().insert(row.split);
    }
    let several = parts.values().filter(|parts| parts.len() > 1).count() as u64;
    assert!(several > 0);
    assert_eq!(dataset.meta.findings.issues_in_several_parts, several);
}

#[test]
fn the_hash_of_a_scene_is_the_same_on_every_machine() {
    let dataset = Scene::new(4).build().unwrap();
    // Changes only where what a row holds changes: inputs, tokens, labels, parts.
    assert_eq!(
        dataset.meta.dataset_hash,
        "51d380dc00254df5d67bcc012a7278bb0991728af322d24f843180f7bfce9702"
    );
}
