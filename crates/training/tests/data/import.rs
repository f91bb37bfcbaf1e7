//! Import: archives that say what the trials say.

use std::collections::{BTreeMap, BTreeSet};

use amphora_planner::issues::Issues;
use amphora_training::import::Policy;

use crate::scene::{Scene, import_into, simulated};

#[test]
fn each_trial_is_used_at_most_once_and_keeps_what_was_recorded() {
    let scene = Scene::new(12);
    let mut used = BTreeSet::new();
    let trials: BTreeMap<_, _> = scene
        .trials
        .as_slice()
        .iter()
        .map(|trial| (trial.trial.as_str(), trial))
        .collect();
    for folder in scene.folders() {
        let manifest = scene.document(&folder, "manifest.json");
        let proof = scene.document(&folder, "proof.json");
        let name = manifest["recorded"]["trial"].as_str().unwrap();
        let trial = trials[name];
        assert!(used.insert(name.to_owned()), "{name} is used twice");
        assert_eq!(manifest["recorded"]["started_ms"], trial.started_ms);
        assert_eq!(manifest["recorded"]["duration_ms"], trial.duration_ms);
        assert_eq!(manifest["toolchain"], trial.toolchain.as_str());
        assert_eq!(manifest["issue"]["id"], trial.issue_id.as_str());
        let cap = manifest["planner"]["timeout_seconds_override"].as_u64();
        let cut = cap.is_some_and(|cap| trial.duration_ms > cap * 1000);
        let (status, duration) = match cut {
            true => ("timeout", cap.unwrap() * 1000),
            false => (trial.status.word(), trial.duration_ms),
        };
        assert_eq!(proof["status"], status);
        assert_eq!(proof["metadata"]["duration_ms"], duration);
        assert_eq!(proof["verification"]["all_passed"], status == "success");
    }
    assert_eq!(used.len(), scene.imported.archives);
    assert_eq!(
        scene.imported.archives + scene.imported.left_over,
        scene.trials.as_slice().len()
    );
}

#[test]
fn a_decision_starts_with_its_earliest_trial() {
    let scene = Scene::new(12);
    let collected = scene.collected();
    assert!(collected.dropped.is_empty() && collected.ignored_parts.is_empty());
    let mut decisions: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for run in &collected.runs {
        decisions
            .entry(run.decision.clone().unwrap())
            .or_default()
            .push(run);
    }
    assert_eq!(decisions.len(), scene.imported.decisions);
    let mut groups = 0;
    for (key, runs) in &decisions {
        let recorded = |run: &&amphora_planner::history::archives::ArchivedRun, field: &str| {
            scene.document(&run.folder, "manifest.json")["recorded"][field]
                .as_u64()
                .unwrap()
        };
        let earliest = runs
            .iter()
            .map(|run| recorded(run, "started_ms"))
            .min()
            .unwrap();
        // A millisecond later for each decision of the issue that began in the same one.
        assert!(
            (earliest..earliest + 4).contains(&key.started_ms),
            "{key:?}"
        );
        assert!(
            runs.iter()
                .all(|run| run.summary.started_ms == key.started_ms)
        );
        groups += usize::from(runs.len() > 1);
    }
    assert!(groups > 3, "too few speculations to say anything: {groups}");
}

#[test]
fn an_import_is_the_same_every_time_and_never_overwrites() {
    let scene = Scene::new(6);
    let again = scene.path("again");
    let imported = import_into(&again, &scene.issues, &scene.trials, &Policy::Heuristic).unwrap();
    assert_eq!(imported, scene.imported);
    for folder in scene.folders() {
        for name in ["manifest.json", "proof.json", "rollout.json"] {
            let read =
                |root: &std::path::Path| std::fs::read(root.join(&folder).join(name)).unwrap();
            assert_eq!(read(&again), read(&scene.archives()), "{folder}/{name}");
        }
    }
    let refused = import_into(&again, &scene.issues, &scene.trials, &Policy::Heuristic);
    assert_eq!(refused.unwrap_err().rule(), "output-exists");
    let leftovers = std::fs::read_dir(scene.path("")).unwrap();
    assert_eq!(leftovers.count(), 2, "a staging directory was left");
}

#[test]
fn policies_are_read_and_obeyed() {
    let rows = [
        ("heuristic", Ok("heuristic")),
        ("uniform", Ok("uniform")),
        (
            "fixed:speculate_vote/2/15/NA",
            Ok("fixed:speculate_vote/2/15/NA"),
        ),
        ("fixed:speculate_vote/2/15", Err("policy")),
        ("fixed:speculate_vote/two/15/NA", Err("policy")),
        ("greedy", Err("policy")),
    ];
    amphora_testing::each(&rows, |(text, wanted)| {
        let found = text.parse::<Policy>();
        match (&found, wanted) {
            (Ok(policy), Ok(text)) if policy.to_string() == *text => Ok(()),
            (Err(error), Err(rule)) if error.rule() == *rule => Ok(()),
            _ => Err(format!("{found:?}")),
        }
    });
    let fixed: Policy = "fixed:speculate_vote/3/30/NA".parse().unwrap();
    let scene = Scene::with_policy(4, &fixed);
    let actions: Vec<_> = scene.imported.actions.keys().collect();
    assert_eq!(actions, ["speculate_vote/3/30/NA"]);
    let uniform = Scene::with_policy(20, &Policy::Uniform);
    assert!(
        uniform.imported.actions.len() > 10,
        "{:?}",
        uniform.imported.actions
    );

    let (issues, trials) = simulated(2, 7);
    let root = tempfile::tempdir().unwrap();
    for (policy, rule) in [
        // Serial means one candidate; the space has no such minutes; it has no such swarm.
        ("fixed:serial_handoff/3/30/NA", "policy-action"),
        ("fixed:serial_handoff/1/31/NA", "policy-action"),
        ("fixed:tournament/2/30/NA", "policy-action"),
    ] {
        let refused = import_into(
            &root.path().join("a"),
            &issues,
            &trials,
            &policy.parse().unwrap(),
        );
        assert_eq!(refused.unwrap_err().rule(), rule);
    }
    let nothing = Issues {
        issues: Vec::new(),
        skipped: 0,
    };
    let none = import_into(
        &root.path().join("a"),
        &nothing,
        &trials,
        &Policy::Heuristic,
    );
    assert_eq!(none.unwrap_err().rule(), "import-empty");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}
