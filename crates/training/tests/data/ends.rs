//! An outcome is known once its run, and the decision that started it, had ended.

use std::collections::BTreeMap;

use amphora_planner::contracts::RunStatus;
use serde_json::{Value, json};

use crate::scene::{Scene, known, rename, restamp};

/// Before every other run of a scene.
const EARLY: &str = "2025-10-09T08:50:00Z";
/// After all.
const LATE: &str = "2031-01-01T00:00:00Z";

#[test]
fn a_planted_run_that_completed_later_than_its_duration_says_is_not_known_before() {
    let scene = Scene::new(15);
    let dataset = scene.build().unwrap();
    let source = &dataset.rows[0].run_id;
    let plant = |metadata: Value, rollout: Option<Value>| {
        scene.plant(source, "planted", |manifest, proof| {
            rename(manifest, proof, "planted");
            restamp(manifest, proof, EARLY, EARLY);
            for key in ["completed_at", "duration_ms"] {
                proof["metadata"][key] = metadata[key].clone();
            }
        });
        if let Some(rollout) = rollout {
            let place = scene.archives().join("planted/rollout.json");
            fs_err::write(place, rollout.to_string()).unwrap();
        }
        let planted = scene.build().unwrap();
        scene.remove("planted");
        let others = known(&planted)
            .into_iter()
            .filter(|(run, _)| run != "planted");
        let no_end = planted.meta.dropped.get("no_end_time").copied();
        (others.collect::<Vec<_>>() == known(&dataset), no_end)
    };
    type Row = (Value, Option<Value>, (bool, Option<u64>));
    let rows: [Row; 6] = [
        // A minute by its duration, years by its end.
        (
            json!({"duration_ms": 60_000, "completed_at": LATE}),
            None,
            (true, None),
        ),
        (
            json!({"duration_ms": 60_000, "completed_at": EARLY}),
            None,
            (false, None),
        ),
        // Nothing says when it ended.
        (json!({}), None, (true, Some(1))),
        (json!({"duration_ms": 0}), None, (true, Some(1))),
        // Its rollout was written then.
        (json!({}), Some(json!({"generated_at": LATE})), (true, None)),
        (
            json!({}),
            Some(json!({"generated_at": EARLY})),
            (false, None),
        ),
    ];
    amphora_testing::each(&rows, |(metadata, rollout, expected)| {
        match plant(metadata.clone(), rollout.clone()) {
            found if found == *expected => Ok(()),
            found => Err(format!("unchanged, dropped: {found:?}")),
        }
    });
}

#[test]
fn a_decision_lasts_as_the_recorded_trials_say_and_is_known_only_then() {
    let policy = "fixed:speculate_vote/3/15/NA".parse().unwrap();
    let scene = Scene::with_policy(20, &policy);
    let trials: BTreeMap<&str, _> = scene
        .trials
        .as_slice()
        .iter()
        .map(|trial| (trial.trial.as_str(), trial))
        .collect();
    let mut groups: BTreeMap<u64, Vec<(String, Value)>> = BTreeMap::new();
    let collected = scene.collected();
    for run in &collected.runs {
        let manifest = scene.document(&run.folder, "manifest.json");
        let started = run.decision.as_ref().unwrap().started_ms;
        groups
            .entry(started)
            .or_default()
            .push((run.folder.clone(), manifest));
    }
    let (mut passed, mut none) = (0, 0);
    for (started_ms, group) in &groups {
        let runs: Vec<(u64, bool)> = group
            .iter()
            .map(|(_, manifest)| {
                let trial = trials[manifest["recorded"]["trial"].as_str().unwrap()];
                let cap = manifest["planner"]["timeout_seconds_override"]
                    .as_u64()
                    .unwrap()
                    * 1000;
                let passes = trial.status == RunStatus::Success && trial.duration_ms <= cap;
                (trial.duration_ms.min(cap), passes)
            })
            .collect();
        // The first moment at which one has passed, or all have ended.
        let is_over = |now: u64| {
            runs.iter().any(|(end, passes)| *passes && *end <= now)
                || runs.iter().all(|(end, _)| *end <= now)
        };
        let mut moments: Vec<u64> = runs.iter().map(|(end, _)| *end).collect();
        moments.sort_unstable();
        let wall_ms = moments.into_iter().find(|now| is_over(*now)).unwrap();
        for ((folder, manifest), (end, _)) in group.iter().zip(&runs) {
            assert_eq!(
                manifest["recorded"]["decision_wall_ms"], wall_ms,
                "{folder}"
            );
            let run = collected.runs.iter().find(|run| run.folder == *folder);
            assert_eq!(
                run.unwrap().known_ms,
                started_ms + wall_ms.max(*end),
                "{folder}"
            );
        }
        match runs.iter().any(|(_, passes)| *passes) {
            true => passed += 1,
            false => none += 1,
        }
    }
    assert!(passed > 5 && none > 0, "{passed} {none}");
}
