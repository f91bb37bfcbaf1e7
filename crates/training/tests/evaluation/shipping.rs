//! The policy that cross-validation ships.

use std::time::{Duration, Instant};

use amphora_files::sha256;
use amphora_training::crossvalidate::{Recipe, fit_shipped, parts_by_time};
use amphora_training::train::{ModelKind, REPORT, Stage, TrainedModel, TrainingReport};

use crate::scene::{Scene, settings, small_fold};

#[test]
fn the_shipped_checkpoint_says_that_it_learned_from_outcomes() {
    let scene = Scene::new();
    let found = small_fold(&scene, &[ModelKind::Mlp]);
    let out = scene.path("checkpoint");
    let (report, _) =
        fit_shipped(&scene.dataset, &scene.trials, &settings(), &found, &out).unwrap();
    assert_eq!(report.config.stage, Stage::B);
    assert_eq!(TrainedModel::open(&out).unwrap().config().stage, Stage::B);
    for config in Recipe::small(&ModelKind::ALL).models {
        assert_eq!(config.stage, Stage::B);
    }
}

#[test]
fn a_recipe_without_a_model_to_ship_is_refused() {
    let refused = Recipe::small(&[ModelKind::Value, ModelKind::Joint]).check_shippable();
    assert_eq!(refused.unwrap_err().rule(), "shipped-model");
    Recipe::small(&[ModelKind::Value, ModelKind::Urm])
        .check_shippable()
        .unwrap();
}

/// Its weights are replaced after training: whoever finds the directory finds the last ones.
#[test]
fn the_shipped_checkpoint_appears_when_it_is_finished() {
    let scene = Scene::new();
    let found = small_fold(&scene, &[ModelKind::Mlp]);
    let out = scene.path("checkpoint");
    let seen = std::thread::scope(|threads| {
        let watcher = threads.spawn(|| {
            let limit = Instant::now() + Duration::from_secs(120);
            while !out.exists() && Instant::now() < limit {
                std::thread::yield_now();
            }
            // What a process that is killed at this moment leaves behind.
            let report = fs_err::read(out.join(REPORT)).ok()?;
            let report: TrainingReport = serde_json::from_slice(&report).ok()?;
            let weights = fs_err::read(out.join("model.safetensors")).ok()?;
            let state = out.join("training_state.safetensors").exists();
            (sha256(&weights).to_string() == report.members[0].digest && !state).then_some(weights)
        });
        fit_shipped(&scene.dataset, &scene.trials, &settings(), &found, &out).unwrap();
        watcher.join().unwrap()
    });
    let weights = fs_err::read(out.join("model.safetensors")).unwrap();
    assert!(seen.is_some_and(|seen| seen == weights));
    let again = fit_shipped(&scene.dataset, &scene.trials, &settings(), &found, &out);
    assert_eq!(again.unwrap_err().rule(), "output-exists");
}

#[test]
fn equal_inputs_stay_on_one_side_of_a_cut_in_time() {
    let scene = Scene::new();
    let mut rows: Vec<_> = scene.dataset.rows[..10].to_vec();
    // Rows 3 and 6 ask the same as row 8, at other dates.
    for place in [3, 6] {
        let created_at = rows[place].planner_input.created_at.clone();
        rows[place].planner_input = rows[8].planner_input.clone();
        rows[place].planner_input.created_at = created_at;
        rows[place].run_id = format!("copy-{place}");
    }
    let rows: Vec<_> = rows.iter().collect();
    let parts = parts_by_time(&rows, [0.6, 0.8]).unwrap();
    assert_eq!(parts.each_ref().map(Vec::len), [5, 1, 4]);
    for (part, rows) in parts.iter().enumerate() {
        for row in rows {
            let together = row.planner_input.issue == parts[2][2].planner_input.issue;
            assert!(part == 2 || !together, "{}", row.run_id);
        }
    }
    // Nothing equal, nothing moved.
    let rows: Vec<_> = scene.dataset.rows.iter().collect();
    let mut hashes: Vec<_> = rows
        .iter()
        .map(|row| row.planner_input.input_hash().unwrap())
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.len() == rows.len() {
        let parts = parts_by_time(&rows, [0.6, 0.8]).unwrap();
        assert_eq!(parts[0].len(), (0.6 * rows.len() as f64) as usize);
    }
}
