//! The gate, drift, and the page.

use std::collections::BTreeMap;

use amphora_planner::contracts::Split;
use amphora_testing::each;
use amphora_training::evaluate::{
    EvaluateRequest, Evaluation, Gate, Model, cross_validated, drift, evaluate,
};
use amphora_training::report::page;
use amphora_training::train::ModelKind;

use crate::scene::{Scene, checkpoint, settings, small_fold};

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

/// Decisions whose history may hold what is replayed, counted one by one.
#[test]
fn decisions_that_may_know_outcomes_are_counted() {
    let mut scene = Scene::new();
    // The last decision began before anything else did.
    let last = scene.dataset.rows.last_mut().unwrap();
    last.started_ms = 0;
    let out = scene.path("checkpoint");
    checkpoint(&scene, &out);
    let settings = settings();
    let found = evaluate(&EvaluateRequest {
        dataset: &scene.dataset,
        trials: Some(&scene.trials),
        model: &Model::open(&out).unwrap(),
        settings: &settings,
    })
    .unwrap();
    let mut count = 0;
    for row in scene.dataset.split(Split::Test) {
        let known = scene.trials.as_slice().iter().any(|trial| {
            settings.toolchains.contains(&trial.toolchain)
                && trial.issue_id == row.planner_input.issue.issue_id
                && trial.started_ms + trial.duration_ms <= row.started_ms
        });
        count += usize::from(known);
    }
    assert!(count > 0 && count < found.rows, "{count} of {}", found.rows);
    assert_eq!(found.rows_that_may_know_outcomes, count);
}

/// Where nothing passed there are no minutes per pass; JSON says null.
#[test]
fn a_report_with_numbers_that_are_none_is_read_back() {
    let scene = Scene::new();
    let found = small_fold(&scene, &[ModelKind::Mlp]);
    let mut report = cross_validated(&scene.dataset, &scene.trials, &settings(), found);
    let scheme = &mut report.cross_validation.as_mut().unwrap().by_task;
    let minutes = &mut scheme.policies[0].intervals.agent_minutes_per_pass;
    (minutes.estimate, minutes.low) = (f64::NAN, f64::INFINITY);
    scheme.fitted[0].calibrated.utility = f64::NEG_INFINITY;
    let read = Evaluation::from_json(&serde_json::to_vec(&report).unwrap()).unwrap();
    assert_eq!(read.snapshot, report.snapshot);
    let scheme = &read.cross_validation.as_ref().unwrap().by_task;
    let minutes = scheme.policies[0].intervals.agent_minutes_per_pass;
    assert!(minutes.estimate.is_nan() && minutes.low.is_nan() && minutes.high.is_finite());
    assert!(!page(&read, "none", None).contains("NaN"));
}

#[test]
fn the_page_tells_of_invalid_answers_where_there_are_any() {
    let scene = Scene::new();
    let found = small_fold(&scene, &[ModelKind::Mlp]);
    let mut report = cross_validated(&scene.dataset, &scene.trials, &settings(), found);
    assert!(!page(&report, "valid", None).contains("% invalid"));
    let models = &mut report.cross_validation.as_mut().unwrap().by_task.models;
    models[0].invalid_rate = 0.25;
    assert!(page(&report, "invalid", None).contains("25 % invalid"));
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
    // What is said about the rules is what the rules are.
    for words in [
        "first 60 %",
        "when that class is the label",
        "goes to one of them",
    ] {
        let plain = html.replace("</em>", "").replace("<em>", "");
        assert!(plain.contains(words), "{words}");
    }
    for stale in ["training split", "to the degree", "share their preference"] {
        assert!(!html.contains(stale), "{stale}");
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
