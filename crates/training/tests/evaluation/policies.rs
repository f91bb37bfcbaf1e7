//! Policies against brute force, and every model through one small fold.

use std::collections::{BTreeMap, BTreeSet};

use amphora_planner::replay::Replay;
use amphora_training::crossvalidate::SHIPPED;
use amphora_training::evaluate::{Evaluation, FIXED, HEURISTIC, Outcomes, Task, cross_validated};
use amphora_training::train::ModelKind;

use crate::scene::{Scene, settings, small_fold};

#[test]
fn outcomes_are_the_replays_themselves() {
    let scene = Scene::new();
    let settings = settings();
    let inputs = || scene.dataset.rows.iter().map(|row| &row.planner_input);
    let outcomes = Outcomes::replay(inputs(), &scene.trials, &settings).unwrap();
    let tasks: BTreeSet<&String> = inputs().map(|input| &input.issue.issue_id).collect();
    assert_eq!(outcomes.tasks.len(), tasks.len());
    let learned: Vec<&String> = outcomes.tasks.keys().step_by(2).collect();
    let ties = outcomes.tie_break(learned.clone());
    for (issue, task) in &outcomes.tasks {
        for (place, action) in task.actions.iter().enumerate() {
            let named = outcomes.space.named(*action).unwrap();
            let utilities = (0..4).map(|seed| {
                let replay = Replay::new(&scene.trials, &settings.toolchains, seed).unwrap();
                replay.outcome(issue, &named).unwrap().utility(0.02)
            });
            let mean = utilities.sum::<f64>() / 4.0;
            assert!((task.utilities()[place] - mean).abs() < 1e-12);
        }
        let widths = outcomes.space.widths();
        let target = task.target(widths, &ties, &settings).unwrap();
        for shares in &target.shares {
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        // Less than one agent minute worse than the best, and of those the best on the other tasks.
        let utility = |action| task.utilities()[task.place(action).unwrap()];
        let highest = task.utilities().iter().copied().fold(f64::MIN, f64::max);
        let good: Vec<_> = task
            .actions
            .iter()
            .filter(|action| utility(**action) >= highest - 0.02)
            .copied()
            .collect();
        assert_eq!(good, target.equally_good);
        let general = |action| {
            let place = |task: &Task| Some(task.utilities()[task.place(action)?]);
            let found = learned.iter().filter_map(|id| place(&outcomes.tasks[*id]));
            found.sum::<f64>()
        };
        assert!(good.contains(&target.best));
        assert!(
            good.iter()
                .all(|action| general(*action) <= general(target.best) + 1e-9)
        );
        // The head of the best action prefers its class over every other.
        for (head, class) in target.best.classes().into_iter().enumerate() {
            let shares = &target.shares[head];
            assert!(shares.iter().all(|share| *share <= shares[class] + 1e-9));
        }
    }
}

#[test]
fn policies_are_compared_as_brute_force_does() {
    let scene = Scene::new();
    let found = small_fold(&scene, &[ModelKind::Mlp]);
    let settings = settings();
    let inputs = scene.dataset.rows.iter().map(|row| &row.planner_input);
    let outcomes = Outcomes::replay(inputs, &scene.trials, &settings).unwrap();
    let tasks = outcomes.tasks.len() as f64;
    let policies: BTreeMap<&str, f64> = found
        .by_task
        .policies
        .iter()
        .map(|policy| (&*policy.name, policy.metrics.utility))
        .collect();

    let mean =
        |value: &dyn Fn(&Task) -> f64| outcomes.tasks.values().map(value).sum::<f64>() / tasks;
    let close = |name: &str, expected: f64| {
        let difference = (policies[name] - expected).abs();
        assert!(
            difference < 1e-9,
            "{name}: {} not {expected}",
            policies[name]
        );
    };
    close(
        "uniform",
        mean(&|t| t.utilities().iter().sum::<f64>() / t.utilities().len() as f64),
    );
    close("best-per-task", mean(&|t| t.utilities()[t.best()]));
    let first = outcomes.tasks.values().next().unwrap().actions[0];
    let name = format!("{FIXED}{}", outcomes.space.named(first).unwrap());
    close(&name, mean(&|t| t.utilities()[0]));
    assert!(policies["oracle"] >= policies["best-per-task"] - 1e-9);
    assert!(
        policies
            .values()
            .all(|utility| *utility <= policies["oracle"] + 1e-9)
    );

    let heuristic = found.by_task.policy(HEURISTIC).unwrap();
    assert_eq!(heuristic.minus_heuristic.estimate, 0.0);
    let best_fixed = found
        .by_task
        .policies
        .iter()
        .filter(|policy| policy.name.starts_with(FIXED))
        .map(|policy| policy.metrics.utility)
        .fold(f64::NEG_INFINITY, f64::max);
    let difference = heuristic.minus_best_fixed.estimate;
    assert!((difference - (policies[HEURISTIC] - best_fixed)).abs() < 1e-9);
    let oracle = found.by_task.policy("oracle").unwrap();
    assert!(oracle.intervals.utility_regret.estimate.abs() < 1e-9);
}

#[test]
fn one_small_fold_of_every_model() {
    let scene = Scene::new();
    let found = small_fold(&scene, &ModelKind::ALL);
    let by_time = found.by_time.as_ref().unwrap();
    for scheme in [&found.by_task, by_time] {
        let names: Vec<&str> = scheme.models.iter().map(|model| &*model.name).collect();
        assert_eq!(
            names,
            [
                "mlp",
                "mlp-as-trained",
                "transformer",
                "transformer-as-trained",
                "urm",
                "urm-as-trained",
                "joint",
                "value",
                SHIPPED
            ]
        );
        for model in &scheme.models {
            assert!((0.0..=1.0).contains(&model.decisions.ece), "{}", model.name);
            assert!(model.decisions.confidence.is_finite());
            assert_eq!(model.decisions.count, scheme.rows);
        }
    }
    // Every task is held out once, and the shipped model is one that can be exported.
    assert_eq!(found.by_task.tasks, 18);
    assert_eq!(found.by_task.shipped.len(), 3);
    for name in &found.by_task.shipped {
        assert!(["mlp", "transformer", "urm"].contains(&&**name), "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let scene = Scene::new();
    let report = || {
        let found = small_fold(&scene, &[ModelKind::Mlp]);
        cross_validated(&scene.dataset, &scene.trials, &settings(), found)
    };
    let (first, second) = (report(), report());
    assert_eq!(first, second);
    let bytes = serde_json::to_vec(&first).unwrap();
    assert_eq!(Evaluation::from_json(&bytes).unwrap(), first);
}
