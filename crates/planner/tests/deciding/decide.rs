//! Every reason, and what a fallback leaves behind.

use std::thread;
use std::time::Duration;

use amphora_error::Error;
use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{ActionVersion, Bin, Budgets, Mode, PlannerAction};
use amphora_planner::decide::{
    Baseline, Planner, Policy, Prediction, Reason, Settings, Speculation,
};
use amphora_planner::decode::Temperatures;

use crate::support::{input, model};

/// Logits that make (swarm, candidates, minutes, iterations) certain.
pub(crate) fn certain(classes: [usize; 4]) -> Prediction {
    let widths = [2, 4, 6, 5];
    Prediction::Logits([0, 1, 2, 3].map(|head| {
        let mut logits = vec![0.0; widths[head]];
        logits[classes[head]] = 50.0;
        logits
    }))
}

/// A policy that always answers the same.
pub(crate) fn always(prediction: Prediction) -> Policy {
    Policy::new(
        model("test"),
        ActionSpace::default(),
        Temperatures::ONE,
        move |_| Ok(prediction.clone()),
    )
    .quick()
}

pub(crate) fn proposal(swarm_id: &str, bins: [Bin; 3], confidence: Option<f64>) -> Prediction {
    Prediction::Action(Box::new(PlannerAction {
        schema_version: ActionVersion,
        created_at: "2026-02-03T09:00:00Z".to_owned(),
        swarm_id: swarm_id.to_owned(),
        budgets: Budgets {
            max_candidates_bin: bins[0],
            max_minutes_bin: bins[1],
            max_iterations_bin: bins[2],
        },
        probs: None,
        confidence,
        abstain_to_default: false,
        reason: None,
        model: None,
        input_hash: None,
    }))
}

/// Two candidates for an hour.
fn speculating() -> Baseline {
    Baseline {
        swarm_id: "speculate_vote".to_owned(),
        candidates: 2,
        timeout_seconds: 3600,
        ..Baseline::default()
    }
}

/// Nothing here is late because the machine is busy.
pub(crate) fn settings(mode: Mode) -> Settings {
    Settings {
        mode,
        threshold: 0.5,
        deadline: Some(Duration::from_secs(600)),
        ..Settings::default()
    }
}

#[test]
fn every_reason_is_reached_counted_and_leaves_the_whole_baseline() {
    use Bin::{Count, NotApplicable as Na};
    let flat = Prediction::Logits([2, 4, 6, 5].map(|width| vec![0.0; width]));
    let nan = Prediction::Logits([2, 4, 6, 5].map(|width| vec![f32::NAN; width]));
    let missing = Error::not_found("bundle", "there is no bundle");
    let other = Error::incompatible("feature-schema", "made for other features");
    let another_space = || {
        let space = ActionSpace {
            max_minutes_bins: vec![Count(15)],
            ..ActionSpace::default()
        };
        Policy::new(model("test"), space, Temperatures::ONE, |_| {
            Ok(certain([0, 0, 0, 0]))
        })
    };
    let failing = || {
        Policy::new(
            model("test"),
            ActionSpace::default(),
            Temperatures::ONE,
            |_| Err(Error::internal("broken", "broken")),
        )
    };
    let panicking = || {
        Policy::new(
            model("test"),
            ActionSpace::default(),
            Temperatures::ONE,
            |_| panic!("a model that breaks off"),
        )
    };
    let slow = || {
        Policy::new(
            model("test"),
            ActionSpace::default(),
            Temperatures::ONE,
            |_| {
                thread::sleep(Duration::from_millis(400));
                Ok(certain([0, 0, 0, 4]))
            },
        )
    };
    let hurried = Settings {
        deadline: Some(Duration::from_millis(30)),
        ..settings(Mode::Enforce)
    };
    let good = [1, 1, 1, 4];
    let action = |swarm: &str, bins| always(proposal(swarm, bins, Some(0.9)));
    let enforce = settings(Mode::Enforce);
    let toolchains = Settings {
        toolchains: Some(vec!["codex".into()]),
        ..enforce.clone()
    };
    let one_toolchain = Baseline {
        speculation: Speculation {
            toolchains: Some(1),
            ..speculating().speculation
        },
        ..speculating()
    };
    let required = Baseline {
        speculation: Speculation {
            required: true,
            ..speculating().speculation
        },
        ..speculating()
    };
    let base = speculating;
    let limited = Baseline {
        iterations: Some(1),
        ..base()
    };
    let rows: Vec<(Reason, Policy, Settings, Baseline)> = vec![
        (
            Reason::PlannerOff,
            always(certain(good)),
            settings(Mode::Off),
            base(),
        ),
        (
            Reason::LogOnly,
            always(certain(good)),
            settings(Mode::Log),
            base(),
        ),
        (
            Reason::ModelUnavailable,
            Policy::missing(&missing),
            enforce.clone(),
            base(),
        ),
        (
            Reason::SchemaMismatch,
            Policy::missing(&other),
            enforce.clone(),
            base(),
        ),
        (
            Reason::SchemaMismatch,
            another_space(),
            enforce.clone(),
            base(),
        ),
        (
            Reason::SchemaMismatch,
            always(certain(good)).for_toolchains(vec!["claude".into()]),
            toolchains.clone(),
            base(),
        ),
        (Reason::InferenceFailed, failing(), enforce.clone(), base()),
        (
            Reason::InferenceFailed,
            failing().quick(),
            enforce.clone(),
            base(),
        ),
        (
            Reason::InferenceFailed,
            panicking(),
            enforce.clone(),
            base(),
        ),
        (
            Reason::InferenceFailed,
            panicking().quick(),
            enforce.clone(),
            base(),
        ),
        (Reason::InferenceTimeout, slow(), hurried.clone(), base()),
        (
            Reason::InferenceTimeout,
            slow().quick(),
            hurried.clone(),
            base(),
        ),
        (Reason::LowConfidence, always(flat), enforce.clone(), base()),
        (
            Reason::MalformedPrediction,
            always(nan),
            enforce.clone(),
            base(),
        ),
        (
            Reason::MalformedPrediction,
            always(proposal(
                "serial_handoff",
                [Count(1), Na, Na],
                Some(f64::NAN),
            )),
            enforce.clone(),
            base(),
        ),
        (
            Reason::PredictionOutOfSpace,
            action("tournament", [Count(1), Na, Na]),
            enforce.clone(),
            base(),
        ),
        (
            Reason::PredictionOutOfSpace,
            action("serial_handoff", [Count(1), Count(31), Na]),
            enforce.clone(),
            base(),
        ),
        (
            Reason::PredictionInvalid,
            action("serial_handoff", [Count(2), Na, Na]),
            enforce.clone(),
            base(),
        ),
        (
            Reason::SwarmMismatch,
            always(certain([0, 0, 1, 4])),
            enforce.clone(),
            required,
        ),
        (
            Reason::SwarmMismatch,
            always(certain(good)),
            enforce.clone(),
            Baseline {
                speculation: Speculation {
                    enabled: false,
                    ..base().speculation
                },
                ..Baseline::default()
            },
        ),
        (
            Reason::MaxCandidatesExceedsCap,
            always(certain([1, 2, 1, 4])),
            enforce.clone(),
            base(),
        ),
        (
            Reason::TimeoutExceedsCap,
            always(certain([1, 1, 4, 4])),
            enforce.clone(),
            base(),
        ),
        (
            Reason::ToolchainUnavailable,
            always(certain(good)),
            enforce,
            one_toolchain,
        ),
    ];
    let reached: std::collections::BTreeSet<Reason> = rows.iter().map(|row| row.0).collect();
    assert_eq!(reached.len(), Reason::ALL.len());
    for (reason, policy, settings, baseline) in rows {
        let planner = Planner::new(policy, settings).unwrap();
        let decision = planner.decide(&input("code"), &baseline);
        assert_eq!(decision.reason, Some(reason), "{decision:#?}");
        assert_eq!(planner.count(Some(reason)), 1);
        assert_eq!(planner.count(None), 0);
        let plan = &decision.executed_plan;
        assert_eq!(plan.swarm_id_executed, baseline.swarm_id);
        assert_eq!(plan.max_candidates_executed, Some(baseline.candidates));
        assert_eq!(
            plan.timeout_seconds_executed,
            Some(baseline.timeout_seconds)
        );
        assert_eq!(plan.max_iterations_executed, baseline.iterations);
        assert_eq!(decision.timeout_seconds_override, None);
        let off = reason == Reason::PlannerOff;
        assert_eq!(plan.fallback_applied, !off);
        let code = (!off).then_some(reason.code());
        assert_eq!(plan.fallback_reason.as_deref(), code);
        assert!(decision.action.abstain_to_default);
        assert_eq!(decision.action.reason.as_deref(), Some(reason.code()));
        assert_eq!(decision.trace.reason.as_deref(), Some(reason.code()));
        assert_eq!(
            decision.trace.executed,
            baseline.binned(&ActionSpace::default())
        );
    }
    let planner = Planner::new(
        action("speculate_vote", [Count(1), Na, Na]),
        settings(Mode::Enforce),
    )
    .unwrap();
    let mut input = input("anything");
    assert_eq!(planner.decide(&input, &limited).reason, None);
    input.issue.tags.clear();
    let more = action("speculate_vote", [Count(1), Na, Count(2)]);
    let planner = Planner::new(more, settings(Mode::Enforce)).unwrap();
    let decision = planner.decide(&input, &limited);
    assert_eq!(decision.reason, Some(Reason::PredictionInvalid));
}

#[test]
fn a_prediction_that_may_be_executed_is_executed_whole() {
    let planner = Planner::new(always(certain([1, 0, 1, 4])), settings(Mode::Enforce)).unwrap();
    let decision = planner.decide(&input("code"), &speculating());
    assert_eq!(decision.reason, None);
    assert_eq!(planner.count(None), 1);
    assert_eq!(decision.timeout_seconds_override, Some(1800));
    let plan = &decision.executed_plan;
    assert_eq!(plan.swarm_id_executed, "speculate_vote");
    assert_eq!(plan.max_candidates_executed, Some(1));
    assert_eq!(plan.timeout_seconds_executed, Some(1800));
    assert!(!plan.fallback_applied && plan.fallback_reason.is_none());
    let action = &decision.action;
    assert!(!action.abstain_to_default && action.reason.is_none());
    assert!(action.confidence.unwrap() > 0.99);
    let probs = action.probs.as_ref().unwrap();
    let heads: Vec<&String> = probs.keys().collect();
    assert_eq!(
        heads,
        [
            "max_candidates_bin",
            "max_iterations_bin",
            "max_minutes_bin",
            "swarm_id"
        ]
    );
    assert!(
        probs
            .values()
            .all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-9)
    );
    assert_eq!(decision.trace.ranking.len(), 5);
    assert_eq!(
        action.input_hash.as_deref(),
        Some(input("code").input_hash().unwrap().as_str())
    );
}

#[test]
fn a_fallback_keeps_the_prediction_and_without_one_the_baseline() {
    let logged = Planner::new(always(certain([1, 0, 1, 4])), settings(Mode::Log)).unwrap();
    let action = logged.decide(&input("code"), &speculating()).action;
    assert_eq!(action.budgets.max_candidates_bin, Bin::Count(1));
    assert_eq!(action.model.unwrap().checkpoint_id, "test");
    let error = Error::not_found("bundle", "there is no bundle at /models/x");
    let none = Planner::new(Policy::missing(&error), settings(Mode::Enforce)).unwrap();
    let decision = none.decide(&input("code"), &speculating());
    let action = decision.action;
    assert_eq!(action.swarm_id, "speculate_vote");
    assert_eq!(action.budgets.max_minutes_bin, Bin::Count(60));
    assert_eq!(action.confidence, Some(0.0));
    assert_eq!(action.model.unwrap().checkpoint_id, "unavailable");
    let plan = decision.executed_plan;
    assert_eq!(plan.fallback_reason.as_deref(), Some("model_unavailable"));
    assert!(plan.fallback_detail.unwrap().contains("/models/x"));
}

#[test]
fn thresholds_are_probabilities() {
    for threshold in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let settings = Settings {
            threshold,
            ..Settings::default()
        };
        assert!(Planner::new(Policy::heuristic(), settings).is_err());
    }
}
