//! Bundles that decide.

use amphora_planner::bundle::{PlannerBundle, toolchains_digest};
use amphora_planner::contracts::Bin;
use amphora_planner::decide::{Baseline, Decision, Planner, Policy, Reason, Settings};
use serde_json::json;

use crate::scene::{Scene, input};

fn decide(policy: Policy, scene: &Scene) -> Decision {
    decide_with(policy, scene, None)
}

/// Room for every action, and time for a busy machine.
fn decide_with(policy: Policy, scene: &Scene, toolchains: Option<Vec<String>>) -> Decision {
    let settings = Settings {
        deadline: Some(std::time::Duration::from_secs(600)),
        toolchains,
        ..Settings::default()
    };
    let baseline = Baseline {
        timeout_seconds: 7200,
        ..Baseline::default()
    };
    let planner = Planner::new(policy, settings).unwrap();
    planner.decide(&input(&scene.space), &baseline)
}

#[test]
fn a_bundle_decides_with_its_own_rules_and_temperatures() {
    let scratch = tempfile::tempdir().unwrap();
    let scene = Scene::new().set("metadata.json", "confidence_threshold", json!(0.3));
    let path = scene.seal(scratch.path());
    let bundle = PlannerBundle::open(&path).unwrap();
    assert_eq!(bundle.threshold(), Some(0.3));
    let name = bundle.name().to_owned();
    let logits = bundle.logits(&input(&scene.space)).unwrap();
    let decision = decide(Policy::bundle(bundle).unwrap(), &scene);
    assert_eq!(decision.reason, None, "{decision:#?}");
    assert_eq!(decision.action.model.unwrap().checkpoint_id, name);
    // A code job has no iterations, and its minutes are calibrated by 2.
    assert_eq!(
        decision.action.budgets.max_iterations_bin,
        Bin::NotApplicable
    );
    let terms: Vec<f64> = logits[2]
        .iter()
        .map(|l| (f64::from(*l) / 2.0).exp())
        .collect();
    let sum: f64 = terms.iter().sum();
    let probabilities = &decision.action.probs.unwrap()["max_minutes_bin"];
    for (found, term) in probabilities.iter().zip(&terms) {
        assert!((found - term / sum).abs() < 1e-12);
    }
}

#[test]
fn row_103_a_bundle_for_other_features_falls_back() {
    let scratch = tempfile::tempdir().unwrap();
    let digests = json!({"feature_schema": "0".repeat(64)});
    let scene = Scene::new().set("metadata.json", "digests", digests);
    let error = PlannerBundle::open(&scene.lay_out(scratch.path())).unwrap_err();
    let decision = decide(Policy::missing(&error), &scene);
    assert_eq!(decision.reason, Some(Reason::SchemaMismatch));
    let gone = PlannerBundle::open(&scratch.path().join("gone")).unwrap_err();
    let decision = decide(Policy::missing(&gone), &scene);
    assert_eq!(decision.reason, Some(Reason::ModelUnavailable));
}

#[test]
fn row_103_toolchains_are_compared_by_their_digest() {
    let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let ours = list(&["codex", "claude"]);
    let digest = toolchains_digest(&ours);
    // What a bundle pins: the digest alone, as another exporter may leave it, the list alone, both.
    let pins = [
        (Some(digest.as_str()), None),
        (None, Some(&ours)),
        (Some(digest.as_str()), Some(&ours)),
    ];
    let callers = [
        (Some(ours.clone()), None),
        (
            Some(list(&["claude", "codex"])),
            Some(Reason::SchemaMismatch),
        ),
        (Some(list(&["codex"])), Some(Reason::SchemaMismatch)),
        (Some(Vec::new()), Some(Reason::SchemaMismatch)),
        (None, Some(Reason::SchemaMismatch)),
    ];
    let scratch = tempfile::tempdir().unwrap();
    for (number, (digest, names)) in pins.into_iter().enumerate() {
        let mut scene = Scene::new();
        if let Some(digest) = digest {
            scene = scene.set("metadata.json", "digests", json!({"toolchains": digest}));
        }
        if let Some(names) = names {
            scene = scene.set("metadata.json", "toolchains", json!(names));
        }
        let path = scene.lay_out(&scratch.path().join(number.to_string()));
        for (stated, expected) in &callers {
            let policy = Policy::bundle(PlannerBundle::open(&path).unwrap()).unwrap();
            let found = decide_with(policy, &scene, stated.clone());
            assert_eq!(found.reason, *expected, "{digest:?} {names:?} {stated:?}");
        }
    }
    // A bundle that pins nothing goes with any.
    let scene = Scene::new();
    let path = scene.lay_out(&scratch.path().join("free"));
    for (stated, _) in callers {
        let policy = Policy::bundle(PlannerBundle::open(&path).unwrap()).unwrap();
        assert_eq!(decide_with(policy, &scene, stated).reason, None);
    }
}

#[test]
#[cfg(feature = "engines")]
fn a_bundle_whose_golden_vectors_disagree_decides_on_an_engine() {
    let scratch = tempfile::tempdir().unwrap();
    let sound = Scene::new();
    let mut shifted = Scene::new();
    shifted.golden_shift = 2e-5;
    let rows = [(sound, "sparse"), (shifted, "rten ")];
    let decisions = rows.map(|(scene, runs_on)| {
        let path = scene.seal(&scratch.path().join(runs_on.trim()));
        let bundle = PlannerBundle::open(&path).unwrap();
        assert!(
            bundle.runs_on().starts_with(runs_on),
            "{}",
            bundle.runs_on()
        );
        let decision = decide(Policy::bundle(bundle).unwrap(), &scene);
        assert_eq!(decision.reason, None, "{decision:#?}");
        decision
    });
    assert_eq!(decisions[0].trace.executed, decisions[1].trace.executed);
    let [sparse, engine] = decisions.map(|decision| decision.action.confidence.unwrap());
    assert!((sparse - engine).abs() < 1e-5, "{sparse} {engine}");
}
