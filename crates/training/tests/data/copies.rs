//! Copies under a new name, and siblings that lost their input.

use amphora_planner::contracts::time;
use serde_json::json;

use crate::scene::{Scene, rename};

/// The name of a planted copy, after all others.
const COPY: &str = "zz-copy";

#[test]
fn a_copy_is_found_where_the_number_of_runs_says_nothing() {
    let not_limited = Scene::with_policy(6, &"fixed:speculate_vote/NA/120/NA".parse().unwrap());
    let of_three = Scene::with_policy(6, &"fixed:speculate_vote/3/120/NA".parse().unwrap());
    for scene in [&not_limited, &of_three] {
        let source = scene.build().unwrap().rows[0].run_id.clone();
        // Fewer are archived than were executed.
        let sibling = format!("{}b", source.strip_suffix('a').unwrap());
        scene.remove(&sibling);
        let dataset = scene.build().unwrap();
        scene.plant(&source, COPY, |manifest, proof| {
            rename(manifest, proof, COPY)
        });
        let copied = scene.build().unwrap();
        assert_eq!(copied.meta.dropped["duplicate_content"], 1);
        assert_eq!(copied.rows, dataset.rows);
        // Another run, a millisecond longer.
        scene.edit(COPY, |_, proof| {
            let duration = proof["metadata"]["duration_ms"].as_u64().unwrap();
            proof["metadata"]["duration_ms"] = (duration + 1).into();
        });
        assert!(scene.build().unwrap().meta.dropped.is_empty());
        // Two that were cut at one cap look alike, and are two.
        for folder in [&source, COPY] {
            scene.edit(folder, |_, proof| {
                proof["status"] = "timeout".into();
                proof["metadata"]["duration_ms"] = 7_200_000.into();
                proof["metadata"]["completed_at"].take();
            });
        }
        assert!(scene.build().unwrap().meta.dropped.is_empty());
    }
}

#[test]
fn a_sibling_whose_input_cannot_be_read_makes_no_second_row() {
    let scene = Scene::with_policy(6, &"fixed:speculate_vote/3/120/NA".parse().unwrap());
    let dataset = scene.build().unwrap();
    let sibling = format!("{}b", dataset.rows[3].run_id.strip_suffix('a').unwrap());
    let started_ms = dataset.rows[3].started_ms;
    scene.edit(&sibling, |manifest, proof| {
        manifest["planner"]["planner_input"] = json!({"schema_version": 1});
        proof["metadata"]["started_at"] = time::format(started_ms + 5).unwrap().into();
    });
    let broken = scene.build().unwrap();
    assert_eq!(broken.meta.findings.unreadable_parts["planner_input"], 1);
    assert!(broken.meta.dropped.is_empty(), "{:?}", broken.meta.dropped);
    let runs = |rows: &[amphora_planner::contracts::DatasetRow]| -> Vec<(String, u64)> {
        rows.iter()
            .map(|row| (row.run_id.clone(), row.started_ms))
            .collect()
    };
    assert_eq!(runs(&broken.rows), runs(&dataset.rows));
}
