//! What can go wrong with a planner, row by row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use amphora_error::Error;
use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{Bin, Mode};
use amphora_planner::decide::{
    Baseline, BreakerSettings, Planner, Policy, Prediction, Reason, Settings,
};
use amphora_planner::decode::Temperatures;
use amphora_testing::each;

use crate::decide::{always, certain};
use crate::support::{input, model};

fn settings() -> Settings {
    Settings {
        mode: Mode::Enforce,
        threshold: 0.5,
        deadline: Some(Duration::from_secs(600)),
        ..Settings::default()
    }
}

fn room() -> Baseline {
    Baseline {
        timeout_seconds: 7200,
        ..Baseline::default()
    }
}

#[test]
fn row_103_another_schema_falls_back() {
    let features = Error::incompatible("feature-schema", "the bundle was made for other features");
    let mut other = input("code");
    other.action_space.max_minutes_bins[0] = Bin::Count(20);
    let mut rules = input("code");
    rules.action_space.validity_rules.pop();
    let toolchains = Settings {
        toolchains: Some(vec!["codex".into(), "claude".into()]),
        ..settings()
    };
    let swapped = vec!["claude".to_owned(), "codex".to_owned()];
    let rows = [
        (
            "features",
            Policy::missing(&features),
            settings(),
            input("code"),
        ),
        ("bins", always(certain([0, 0, 1, 4])), settings(), other),
        ("rules", always(certain([0, 0, 1, 4])), settings(), rules),
        (
            "toolchains",
            always(certain([0, 0, 1, 4])).for_toolchains(swapped.clone()),
            toolchains,
            input("code"),
        ),
        (
            "toolchains that the caller does not state",
            always(certain([0, 0, 1, 4])).for_toolchains(swapped),
            settings(),
            input("code"),
        ),
    ];
    each(&rows, |(_, policy, settings, input)| {
        let planner = Planner::new(policy.clone(), settings.clone()).unwrap();
        let found = planner.decide(input, &room()).reason;
        (found == Some(Reason::SchemaMismatch))
            .then_some(())
            .ok_or(format!("{found:?}"))
    });
}

#[test]
fn row_104_predictions_and_inputs_out_of_the_ordinary_fall_back_and_are_counted() {
    let widths = [2, 4, 6, 5];
    let flat = |value: f32| Prediction::Logits(widths.map(|width| vec![value; width]));
    let mut nearly = widths.map(|width| vec![0.0; width]);
    nearly[2] = vec![1e-3, 0.0, 0.0, 0.0, 0.0, 0.0];
    let rows = [
        ("NaN", flat(f32::NAN), Reason::MalformedPrediction),
        ("infinite", flat(f32::INFINITY), Reason::MalformedPrediction),
        ("all equal", flat(0.0), Reason::LowConfidence),
        ("all huge", flat(f32::MAX), Reason::LowConfidence),
        (
            "hardly different",
            Prediction::Logits(nearly),
            Reason::LowConfidence,
        ),
        (
            "empty",
            Prediction::Logits(Default::default()),
            Reason::MalformedPrediction,
        ),
    ];
    each(&rows, |(_, prediction, reason)| {
        let planner = Planner::new(always(prediction.clone()), settings()).unwrap();
        let found = planner.decide(&input("code"), &room()).reason;
        (found == Some(*reason) && planner.count(found) == 1)
            .then_some(())
            .ok_or(format!("{found:?}"))
    });
    let mut crowd = input("code");
    crowd.action_space.max_candidates_bins = (1..=1_000_000).map(Bin::Count).collect();
    let planner = Planner::new(Policy::heuristic(), settings()).unwrap();
    let found = planner.decide(&crowd, &room()).reason;
    assert_eq!(found, Some(Reason::SchemaMismatch));
    let mut empty = input("");
    empty.issue.tags.clear();
    empty.issue.issue_id.clear();
    assert_eq!(planner.decide(&empty, &room()).reason, None);
}

#[test]
fn row_105_a_prediction_that_breaks_a_rule_is_never_executed() {
    let space = serde_json::to_value(ActionSpace::default()).unwrap();
    let planner = |prediction| Planner::new(always(prediction), settings()).unwrap();
    let mut executed = 0;
    for swarm in 0..2 {
        for candidates in 0..4 {
            for minutes in 0..6 {
                for iterations in 0..5 {
                    let wanted = certain([swarm, candidates, minutes, iterations]);
                    for job_type in ["code", "fab-world"] {
                        let decision = planner(wanted.clone()).decide(&input(job_type), &room());
                        if decision.reason.is_some() {
                            assert!(decision.executed_plan.fallback_applied);
                            continue;
                        }
                        executed += 1;
                        let named = serde_json::to_value(&decision.trace.executed).unwrap();
                        let faults =
                            amphora_planner::checker::action_violations(&space, job_type, &named);
                        assert!(faults.is_empty(), "{faults:?}");
                    }
                }
            }
        }
    }
    assert!(executed > 100, "{executed}");
}

#[test]
fn row_106_a_model_that_is_slow_or_dead_costs_no_more_than_the_deadline_and_recovers() {
    let stuck = Arc::new(AtomicBool::new(true));
    let gate = Arc::clone(&stuck);
    let policy = Policy::new(
        model("test"),
        ActionSpace::default(),
        Temperatures::ONE,
        move |_| {
            while gate.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            Ok(certain([0, 0, 1, 4]))
        },
    );
    let settings = Settings {
        deadline: Some(Duration::from_millis(30)),
        breaker: BreakerSettings {
            failures: 2,
            rest: Duration::from_secs(1),
        },
        ..settings()
    };
    let planner = Planner::new(policy, settings).unwrap();
    let decide = || planner.decide(&input("code"), &room());
    let start = Instant::now();
    assert_eq!(decide().reason, Some(Reason::InferenceTimeout));
    assert_eq!(decide().reason, Some(Reason::InferenceTimeout));
    // The model never answered, and yet both decisions came.
    assert!(stuck.load(Ordering::SeqCst) && start.elapsed() >= Duration::from_millis(60));
    assert_eq!(decide().reason, Some(Reason::ModelUnavailable));
    stuck.store(false, Ordering::SeqCst);
    let recovered = (0..1000).find_map(|_| {
        thread::sleep(Duration::from_millis(10));
        let decision = decide();
        decision.reason.is_none().then_some(decision)
    });
    let plan = recovered.expect("it never recovered").executed_plan;
    assert_eq!(plan.timeout_seconds_executed, Some(1800));
}
