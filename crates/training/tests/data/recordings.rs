//! The recordings beside the checkout.

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{Objective, UniverseDefaults};
use amphora_planner::history::archives;
use amphora_planner::issues::read_issues;
use amphora_planner::replay::Trials;
use amphora_training::bench::{BenchRequest, bench};
use amphora_training::dataset::{BuildRequest, build};
use amphora_training::import::{ImportRequest, Policy, import};
use amphora_training::stats::stats;

#[test]
fn the_recordings_become_archives_a_dataset_and_a_bench() {
    let Some(folder) = amphora_testing::data("agent_trials") else {
        return;
    };
    let space =
        ActionSpace::from_json(&std::fs::read(folder.join("action_space.json")).unwrap()).unwrap();
    let issues = read_issues(&folder.join("issues.jsonl")).unwrap();
    let trials = Trials::read(folder.join("trials.jsonl")).unwrap();
    let toolchains = trials.toolchains();
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("archives");
    let imported = import(
        &ImportRequest {
            issues: &issues,
            trials: &trials,
            toolchains: &toolchains,
            action_space: &space,
            policy: &Policy::Uniform,
            seed: 42,
            similar: 8,
            universe_id: "unknown",
            universe_defaults: &UniverseDefaults::default(),
        },
        &out,
    )
    .unwrap();
    assert_eq!(imported.repeated, 34);
    assert_eq!(imported.archives + imported.left_over, 2_321);
    assert_eq!(imported.without_issue, 0);
    let dataset = || {
        let request = BuildRequest {
            runs: &archives::collect(&out).unwrap(),
            issues: &issues,
            action_space: None,
            similar: 8,
            world_runs: None,
            universe: None,
        };
        build(&request).unwrap()
    };
    let first = dataset();
    assert!(first.meta.dropped.is_empty(), "{:?}", first.meta.dropped);
    assert_eq!(first.rows.len(), imported.decisions);
    for (number, entry) in std::fs::read_dir(&out)
        .unwrap()
        .enumerate()
        .collect::<Vec<_>>()
    {
        let shuffled = format!("{:04}", (number * 1_117) % 2_503);
        std::fs::rename(entry.unwrap().path(), out.join(shuffled)).unwrap();
    }
    assert_eq!(dataset().meta.dataset_hash, first.meta.dataset_hash);
    let stats = stats(&archives::collect(&out).unwrap(), &first);
    assert!(stats.gates[0].met, "{:?}", stats.gates);
    let stage_b = bench(&BenchRequest {
        dataset: &first,
        trials: &trials,
        toolchains: &toolchains,
        objective: Objective::MinimizeDuration,
        seed: 42,
    })
    .unwrap();
    assert_eq!(stage_b.rows.len(), first.rows.len());
    assert!(stage_b.rows.iter().all(|row| row.candidates.len() == 18));
}
