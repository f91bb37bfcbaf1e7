//! Nothing from the future, no sibling, no copy; the same bytes whatever the order.

use amphora_training::import::Policy;
use serde_json::{Value, json};

use crate::scene::{Scene, known, rename, restamp};

#[test]
fn the_hash_is_the_same_twice_and_in_whatever_order_the_folders_are() {
    let scene = Scene::new(15);
    let first = scene.build().unwrap();
    assert_eq!(first, scene.build().unwrap());
    assert_eq!(first.rows.len(), scene.imported.decisions);
    // Other names, and so another order; the runs keep their ids inside.
    for (number, folder) in scene.folders().into_iter().enumerate() {
        let shuffled = format!(
            "{:08x}-{number}",
            number.wrapping_mul(0x9e37_79b1) & 0xffff_ffff
        );
        std::fs::rename(
            scene.archives().join(folder),
            scene.archives().join(shuffled),
        )
        .unwrap();
    }
    assert_eq!(first, scene.build().unwrap());
}

#[test]
fn what_a_dataset_knows_is_what_the_archives_say_was_known() {
    let scene = Scene::new(15);
    let dataset = scene.build().unwrap();
    assert_eq!(dataset.meta.findings.stored_leaks, 0);
    let mut with_history = 0;
    for row in &dataset.rows {
        let manifest = scene.document(&row.run_id, "manifest.json");
        let stored = &manifest["planner"]["planner_action"]["input_hash"];
        assert_eq!(
            stored.as_str().unwrap(),
            row.planner_input.input_hash().unwrap()
        );
        for run in &row.planner_input.history.last_n_similar_runs {
            assert!(run.ended_ms() <= row.started_ms);
            with_history += 1;
        }
    }
    assert!(with_history > 100, "{with_history}");
}

#[test]
fn archives_without_stored_inputs_give_the_same_dataset() {
    // Two decisions on each issue, a day apart: candidates that overlap in time would be siblings.
    let policy: Policy = "fixed:speculate_vote/3/60/NA".parse().unwrap();
    let scene = Scene::with_policy(15, &policy);
    let dataset = scene.build().unwrap();
    for folder in scene.folders() {
        scene.edit(&folder, |manifest, _| {
            manifest["planner"]["planner_input"] = json!({});
        });
    }
    // What happened after the fact is not read: attempts, tags.
    let rebuilt = {
        let mut scene = scene;
        for issue in &mut scene.issues.issues {
            issue.dk_attempts = 99;
            issue.tags.push("escalation".to_owned());
        }
        scene.build().unwrap()
    };
    assert_eq!(rebuilt.meta.dataset_hash, dataset.meta.dataset_hash);
}

#[test]
fn a_planted_future_run_is_not_used_and_would_change_the_result() {
    let scene = Scene::new(15);
    let dataset = scene.build().unwrap();
    let source = &dataset.rows[0].run_id;
    let plant = |started: &str, ended: &str| {
        scene.plant(source, "planted", |manifest, proof| {
            rename(manifest, proof, "planted");
            restamp(manifest, proof, started, ended);
        });
        let planted = scene.build().unwrap();
        scene.remove("planted");
        let others = known(&planted)
            .into_iter()
            .filter(|(run, _)| run != "planted");
        others.collect::<Vec<_>>()
    };
    // It begins after everything else; it began before, but has not ended.
    let future = plant("2031-01-01T00:00:00Z", "2031-01-01T00:05:00Z");
    assert_eq!(future, known(&dataset));
    let running = plant("2025-01-01T00:00:00Z", "2031-01-01T00:05:00Z");
    assert_eq!(running, known(&dataset));
    // Had it ended in time, others would know it.
    let past = plant("2025-10-09T08:53:20.000000Z", "2025-10-09T08:53:21Z");
    assert_ne!(past, known(&dataset));
}

#[test]
fn a_planted_sibling_is_not_used_and_would_change_the_result() {
    let scene = Scene::new(15);
    // The last run of the last decision with three candidates.
    let dataset = scene.build().unwrap();
    let row = dataset
        .rows
        .iter()
        .rfind(|row| row.label_action.swarm_id == "speculate_vote")
        .unwrap();
    let first = row.run_id.clone();
    let sibling = format!("{}b", first.strip_suffix('a').unwrap());
    let minute_before =
        |ms: u64| amphora_planner::contracts::time::format(row.started_ms - ms).unwrap();
    let input_of = |dataset: &amphora_training::dataset::Dataset| {
        known(dataset).into_iter().find(|(run, _)| *run == first)
    };
    // The sibling started, and even ended, before the decision's own time.
    scene.edit(&sibling, |_, proof| {
        proof["metadata"]["started_at"] = minute_before(60_000).into();
        proof["metadata"]["completed_at"] = minute_before(30_000).into();
        proof["metadata"]["duration_ms"] = 30_000.into();
    });
    let planted = scene.build().unwrap();
    assert_eq!(planted.rows.len(), dataset.rows.len());
    let row_now = planted
        .rows
        .iter()
        .find(|row| row.run_id == sibling)
        .unwrap();
    assert!(
        row_now
            .planner_input
            .history
            .last_n_similar_runs
            .iter()
            .all(|run| run.run_id != sibling),
        "the sibling is in its own decision's history"
    );
    // Had it been a decision of its own, the others would have known it.
    scene.edit(&sibling, |manifest, proof| {
        manifest["planner"] = Value::Null;
        manifest["speculate_mode"] = false.into();
        proof["metadata"]["started_at"] = minute_before(60_000).into();
        proof["metadata"]["completed_at"] = minute_before(30_000).into();
        proof["metadata"]["duration_ms"] = 30_000.into();
    });
    let other = scene.build().unwrap();
    let row_now = other.rows.iter().find(|row| row.run_id == first).unwrap();
    assert!(
        row_now
            .planner_input
            .history
            .last_n_similar_runs
            .iter()
            .any(|run| run.run_id == sibling)
    );
    assert_ne!(input_of(&other), input_of(&dataset));
}

#[test]
fn planted_copies_are_not_used_and_would_change_the_result() {
    let scene = Scene::new(15);
    let dataset = scene.build().unwrap();
    let serial = |name: &str| {
        let row = dataset
            .rows
            .iter()
            .find(|row| row.label_action.swarm_id == name);
        row.unwrap().run_id.clone()
    };
    for source in [serial("serial_handoff"), serial("speculate_vote")] {
        // The same id in another folder, sorted before and after its original.
        for folder in ["aa-copy", "zz-copy"] {
            scene.plant(&source, folder, |_, _| {});
            let copied = scene.build().unwrap();
            assert_eq!(copied.rows, dataset.rows);
            assert_eq!(copied.meta.dropped["duplicate"], 1);
            scene.remove(folder);
        }
        // Another id, everything else the same.
        let id = "zz-copy";
        scene.plant(&source, id, |manifest, proof| rename(manifest, proof, id));
        let copied = scene.build().unwrap();
        assert_eq!(copied.rows, dataset.rows, "{source}");
        assert_eq!(copied.meta.dropped["duplicate_content"], 1);
        scene.remove(id);
        // A run that is no copy: a decision of its own, and part of others' histories.
        scene.plant(&source, "zz-other", |manifest, proof| {
            rename(manifest, proof, "zz-other");
            restamp(
                manifest,
                proof,
                "2025-10-09T08:53:20.001000Z",
                "2025-10-09T08:53:21Z",
            );
        });
        let other = scene.build().unwrap();
        assert_ne!(other.meta.dataset_hash, dataset.meta.dataset_hash);
        scene.remove("zz-other");
    }
}
