//! Bundles that decide.

use amphora_planner::bundle::PlannerBundle;
use amphora_planner::contracts::Bin;
use amphora_planner::decide::{Baseline, Planner, Policy, Reason, Settings};
use serde_json::json;

use crate::scene::{Scene, input};

/// Room for every action, and time for a busy machine.
fn decide(policy: Policy, scene: &Scene) -> amphora_planner::decide::Decision {
    let settings = Settings {
        deadline: Some(std::time::Duration::from_secs(600)),
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
