//! Evaluation against brute force on simulated trials, and every model through one small fold.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::UniverseDefaults;
use amphora_planner::history::archives;
use amphora_planner::issues::{Issues, parse_issues};
use amphora_planner::replay::{Replay, Trials};
use amphora_testing::each;
use amphora_training::ablate::{Grid, ablate};
use amphora_training::crossvalidate::{
    CrossValidation, Recipe, SHIPPED, cross_validate, fit_shipped,
};
use amphora_training::dataset::{BuildRequest, Dataset, build};
use amphora_training::evaluate::{
    EvaluateRequest, Evaluation, FIXED, Gate, HEURISTIC, Model, Outcomes, Settings, Task,
    cross_validated, drift, evaluate,
};
use amphora_training::import::{ImportRequest, Policy, import};
use amphora_training::report::page;
use amphora_training::simulator::{Simulation, TOOLCHAINS, simulate};
use amphora_training::train::{ModelKind, TrainConfig};

/// Simulated issues; decisions are made by the last toolchain, replayed on the first two.
struct Scene {
    root: tempfile::TempDir,
    trials: Trials,
    dataset: Dataset,
}

impl Scene {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let simulated = simulate(&Simulation {
            issues: 18,
            runs: 4,
            seed: 3,
            start_ms: 1_760_000_000_000,
        })
        .unwrap();
        let lines: String = simulated
            .issues
            .iter()
            .map(|issue| format!("{issue}\n"))
            .collect();
        let issues: Issues = parse_issues(lines.as_bytes());
        let archives = root.path().join("archives");
        import(
            &ImportRequest {
                issues: &issues,
                trials: &simulated.trials,
                toolchains: &[TOOLCHAINS[2].to_owned()],
                action_space: &ActionSpace::default(),
                policy: &Policy::Heuristic,
                seed: 0,
                similar: 8,
                universe_id: "simulated",
                universe_defaults: &UniverseDefaults::default(),
            },
            &archives,
        )
        .unwrap();
        let dataset = build(&BuildRequest {
            runs: &archives::collect(&archives).unwrap(),
            issues: &issues,
            action_space: None,
            similar: 8,
            world_runs: None,
            universe: None,
        })
        .unwrap();
        Self {
            root,
            trials: simulated.trials,
            dataset,
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }
}

fn settings() -> Settings {
    let mut settings = Settings::new(TOOLCHAINS[..2].iter().map(|n| (*n).to_owned()).collect());
    settings.replays = 4;
    settings.bootstrap.resamples = 200;
    settings
}

/// A configuration that is trained in a moment.
fn tiny(kind: ModelKind) -> TrainConfig {
    let mut config = TrainConfig::new(kind);
    config.epochs = 2;
    config.schedule_epochs = 2;
    config.members = 2;
    config.sizes.d_hidden = 16;
    config.sizes.n_layers = 1;
    config.sizes.d_model = 8;
    config.sizes.n_heads = 2;
    config.sizes.d_ff = 8;
    config.sizes.d_inner = 8;
    config.sizes.loops = 2;
    config.sizes.gradient_loops = 1;
    config
}

fn small_fold(scene: &Scene, kinds: &[ModelKind]) -> CrossValidation {
    let recipe = Recipe {
        folds: 3,
        rows_per_task: 2,
        by_time: true,
        models: kinds.iter().map(|kind| tiny(*kind)).collect(),
    };
    cross_validate(
        &scene.dataset,
        &scene.trials,
        &settings(),
        &recipe,
        &mut |_| (),
    )
    .unwrap()
}

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

/// A checkpoint in `out`, trained for a moment on the labels that cross-validation uses.
fn checkpoint(scene: &Scene, out: &Path) {
    let found = small_fold(scene, &[ModelKind::Mlp]);
    fit_shipped(&scene.dataset, &scene.trials, &settings(), &found, out).unwrap();
}

#[test]
fn row_109_a_policy_that_is_worse_than_the_baseline_fails_the_gate() {
    let scene = Scene::new();
    let out = scene.path("checkpoint");
    checkpoint(&scene, &out);
    let model = Model::open(&out).unwrap();
    let settings = settings();
    let request = EvaluateRequest {
        dataset: &scene.dataset,
        trials: Some(&scene.trials),
        model: &model,
        settings: &settings,
    };
    let mut found = evaluate(&request).unwrap();
    let name = model.name().to_owned();
    each(
        &[
            // Lower, not beyond chance, beyond chance.
            (-0.2, -0.1, false),
            (-0.1, 0.3, false),
            (0.0, 0.3, false),
            (0.1, 0.3, true),
        ],
        |&(low, high, passes)| {
            for gate in [Gate::Heuristic, Gate::BestFixed] {
                let policy = found.policies.iter_mut().find(|p| p.name == name).unwrap();
                for difference in [&mut policy.minus_heuristic, &mut policy.minus_best_fixed] {
                    (difference.low, difference.high) = (low, high);
                }
                found.judge(gate).unwrap();
                let verdict = found.gate.as_ref().unwrap().verdict();
                match verdict {
                    Ok(()) if passes => {}
                    Err(error) if !passes && error.kind().exit_code() == 1 => {}
                    other => return Err(format!("{gate:?}: {other:?}")),
                }
            }
            Ok(())
        },
    );
}

#[test]
fn without_trials_a_model_is_compared_with_what_was_executed() {
    let scene = Scene::new();
    let out = scene.path("checkpoint");
    checkpoint(&scene, &out);
    let settings = settings();
    let mut found = evaluate(&EvaluateRequest {
        dataset: &scene.dataset,
        trials: None,
        model: &Model::open(&out).unwrap(),
        settings: &settings,
    })
    .unwrap();
    assert!(found.policies.is_empty());
    let agreement = &found.model.as_ref().unwrap().agreement;
    assert_eq!(agreement.labelled, found.rows);
    // The iterations of code jobs are not a choice.
    assert_eq!(agreement.heads[3], 1.0);
    let error = found.judge(Gate::Heuristic).unwrap_err();
    assert_eq!(error.rule(), "gate-outcomes");
}

#[test]
fn drift_is_zero_against_itself_and_seen_when_planted() {
    let scene = Scene::new();
    let found = small_fold(&scene, &[ModelKind::Mlp]);
    let report = cross_validated(&scene.dataset, &scene.trials, &settings(), found);
    let same = drift(&report.snapshot, &report.snapshot);
    assert!(
        same.inputs
            .iter()
            .all(|entry| entry.psi == 0.0 && entry.kl == 0.0)
    );
    assert_eq!((same.actions.psi, same.ece), (0.0, 0.0));

    let mut moved = report.snapshot.clone();
    let risks = moved.inputs.get_mut("dk_risk").unwrap();
    let all: u64 = risks.values().sum();
    *risks = BTreeMap::from([("critical".to_owned(), all)]);
    moved.ece += 0.2;
    let found = drift(&report.snapshot, &moved);
    for entry in &found.inputs {
        let planted = entry.name == "dk_risk";
        assert_eq!(entry.psi > 0.25, planted, "{}: {}", entry.name, entry.psi);
    }
    assert!((found.ece - 0.2).abs() < 1e-12);
}

#[test]
fn the_page_is_whole_and_alone() {
    let scene = Scene::new();
    let found = small_fold(&scene, &[ModelKind::Mlp]);
    let report = cross_validated(&scene.dataset, &scene.trials, &settings(), found);
    let html = page(
        &report,
        "a <title> & more",
        Some("amphora planner evaluate"),
    );
    assert!(html.contains("a &lt;title&gt; &amp; more"));
    for part in [
        "Held-out tasks",
        "By time",
        "Reliability",
        "Coverage",
        "Regret of each task",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // Nothing is fetched, nothing runs, and no number is missing.
    for foreign in ["http:", "https:", "<script", "src=", "@import", "url("] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    for wrong in ["NaN", "inf,", "\"inf"] {
        assert!(!html.contains(wrong), "{wrong}");
    }
    for element in ["svg", "figure", "table", "div", "p", "text"] {
        let opened = html.matches(&format!("<{element}>")).count()
            + html.matches(&format!("<{element} ")).count();
        assert_eq!(
            opened,
            html.matches(&format!("</{element}>")).count(),
            "{element}"
        );
    }
}

const GRID: &str = r#"
folds = 3
rows_per_task = 1
base = { epochs = 1, schedule_epochs = 1, sizes = { d_hidden = 8, n_layers = 1 } }
[axes.hist]
0 = { similar_runs = 0 }
4 = { similar_runs = 4 }
16 = { similar_runs = 16 }
[axes.decoding]
joint = { model = "joint" }
autoregressive = { decoding = "autoregressive" }
"#;

#[test]
fn an_ablation_resumes_where_it_ended() {
    let scene = Scene::new();
    let grid = Grid::parse(GRID).unwrap();
    let out = scene.path("ablation");
    let mut settings = settings();
    settings.replays = 2;
    let run = |settings: &Settings| {
        let mut steps = 0;
        let found = ablate(
            &scene.dataset,
            &scene.trials,
            settings,
            &grid,
            &out,
            &mut |_| {
                steps += 1;
            },
        );
        found.map(|found| (found, steps))
    };
    let (first, steps) = run(&settings).unwrap();
    let names: Vec<&str> = first.rows.iter().map(|row| &*row.name).collect();
    assert_eq!(
        names,
        [
            "decoding_autoregressive",
            "decoding_joint",
            "hist_0",
            "hist_4",
            "hist_16"
        ]
    );
    assert_eq!(steps, 5 * 3);
    fs_err::remove_dir_all(out.join("hist_4")).unwrap();
    let (second, steps) = run(&settings).unwrap();
    assert_eq!((second, steps), (first, 3));
    assert!(out.join("ablation.html").is_file());

    settings.seed = 1;
    assert_eq!(run(&settings).unwrap_err().rule(), "ablation-mismatch");
}

#[test]
fn broken_grids_are_refused() {
    each(
        &[
            ("folds = 3", "grid"),
            ("folds = 3\nfold = 3\n[axes.a]\n0 = {}", "grid"),
            ("[axes]", "grid-empty"),
            ("[axes.a]\n0 = { epoch = 3 }", "grid-run"),
            ("[axes.a]\n0 = { model = \"oracle\" }", "grid-run"),
            ("[axes.a]\n0 = { epochs = 0 }", "grid-run"),
            ("[axes.a]\n\"../x\" = {}", "grid-run"),
        ],
        |&(text, rule)| match Grid::parse(text).and_then(|grid| grid.runs()) {
            Err(error) if error.rule() == rule => Ok(()),
            other => Err(format!("expected {rule}, found {other:?}")),
        },
    );
}

#[test]
fn the_shipped_grid_is_a_grid() {
    let text =
        fs_err::read_to_string(amphora_testing::repository().join("examples/planner_grid.toml"))
            .unwrap();
    assert_eq!(Grid::parse(&text).unwrap().runs().unwrap().len(), 40);
}
