//! World runs beside archives: who knows which.

use amphora_planner::contracts::RunSummary;
use amphora_planner::contracts::time;
use amphora_planner::history::Collected;
use amphora_planner::history::world_runs::{WorldFilter, collect};
use amphora_planner::universe::Universe;
use amphora_training::dataset::{BuildRequest, Dataset, build};
use serde_json::json;

use crate::scene::Scene;

fn world_runs(scene: &Scene, before_ms: u64) -> Collected<RunSummary> {
    let root = scene.path("runs");
    for (name, world, objective, created_ms) in [
        ("run-mine", "w1", "passing_and_quick", before_ms - 60_000),
        (
            "run-other-world",
            "w2",
            "passing_and_quick",
            before_ms - 60_000,
        ),
        ("run-other-objective", "w1", "beautiful", before_ms - 60_000),
        (
            "run-under-way",
            "w1",
            "passing_and_quick",
            before_ms - 1_000,
        ),
    ] {
        let folder = root.join(name);
        fs_err::create_dir_all(&folder).unwrap();
        let manifest = json!({"run_id": name, "created_at": time::format(created_ms).unwrap(),
            "stages": [{"id": "build", "status": "success", "duration_ms": 5_000}]});
        let context = json!({"universe_id": "workshop", "world_id": world, "objective_id": objective,
            "swarm_id": "speculate_vote"});
        fs_err::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
        fs_err::write(folder.join("context.json"), context.to_string()).unwrap();
    }
    fs_err::create_dir_all(root.join("run-broken")).unwrap();
    let universe =
        Universe::open(&amphora_testing::repository().join("examples/universe")).unwrap();
    collect(&root, Some(&universe), &WorldFilter::default()).unwrap()
}

#[test]
fn a_world_knows_the_runs_of_its_world_and_objective() {
    let scene = Scene::with_policy(6, &"fixed:serial_handoff/1/30/NA".parse().unwrap());
    let dataset = scene.build().unwrap();
    // Two decisions become worlds, days apart; the earlier is archived with its input.
    let (earlier, later) = (&dataset.rows[0], dataset.rows.last().unwrap());
    assert!(earlier.started_ms + 86_400_000 < later.started_ms);
    for row in [earlier, later] {
        scene.edit(&row.run_id, |manifest, _| {
            manifest["job_type"] = "fab-world".into();
            let input = &mut manifest["planner"]["planner_input"];
            input["job_type"] = "fab-world".into();
            input["universe_id"] = "workshop".into();
            input["universe_defaults"]["objective_id"] = "passing_and_quick".into();
            input["issue"]["world_id"] = "w1".into();
        });
    }
    let worlds = world_runs(&scene, later.started_ms);
    let with = |world_runs: Option<&Collected<RunSummary>>| -> Dataset {
        build(&BuildRequest {
            runs: &scene.collected(),
            issues: &scene.issues,
            action_space: None,
            world_runs,
            similar: 8,
            universe: None,
        })
        .unwrap()
    };
    let known = |dataset: &Dataset| -> Vec<RunSummary> {
        let row = dataset.rows.iter().find(|row| row.run_id == later.run_id);
        row.unwrap()
            .planner_input
            .history
            .last_n_similar_runs
            .clone()
    };
    let ids = |runs: &[RunSummary]| -> Vec<String> {
        runs.iter().map(|run| run.run_id.clone()).collect()
    };
    let alone = with(None);
    assert!(!alone.meta.include_world);
    assert_eq!(ids(&known(&alone)), [earlier.run_id.as_str()]);
    let beside = with(Some(&worlds));
    assert!(beside.meta.include_world);
    assert_eq!(beside.rows.len(), dataset.rows.len());
    assert_eq!(beside.meta.dropped["world_run_no_manifest"], 1);
    let found = known(&beside);
    assert_eq!(ids(&found), ["run-mine", earlier.run_id.as_str()]);
    // The population of its swarm.
    assert_eq!(found[0].action_executed.max_candidates, Some(3));
    // Code knows no worlds.
    for (row, before) in beside.rows.iter().zip(&alone.rows) {
        assert!(row.run_id == later.run_id || row == before);
    }
}
