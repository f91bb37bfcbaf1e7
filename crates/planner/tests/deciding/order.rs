//! Two faults and more at once: the first in the documents' order is the reason.

use std::time::Duration;

use amphora_error::Error;
use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{Bin, Mode};
use amphora_planner::decide::{
    Baseline, Planner, Policy, Prediction, Reason, Settings, Speculation,
};
use amphora_planner::decode::Temperatures;
use amphora_testing::each;

use crate::decide::{always, proposal};
use crate::support::{input, model};

/// A decision with something wrong about it.
#[derive(Debug, Clone)]
struct Faults {
    mode: Mode,
    policy: Policy,
    toolchains: Option<Vec<String>>,
    deadline: Duration,
    baseline: Baseline,
}

/// One run of two candidates for an hour with one iteration, and a single toolchain.
fn narrow() -> Baseline {
    Baseline {
        swarm_id: "speculate_vote".to_owned(),
        candidates: 2,
        timeout_seconds: 3600,
        iterations: Some(1),
        speculation: Speculation {
            toolchains: Some(1),
            ..Baseline::default().speculation
        },
    }
}

/// Wants more than [`narrow`] allows in every way.
fn greedy(confidence: f64) -> Prediction {
    let bins = [3, 120, 5].map(Bin::Count);
    proposal("speculate_vote", bins, Some(confidence))
}

fn enforced(prediction: Prediction) -> Faults {
    Faults {
        mode: Mode::Enforce,
        policy: always(prediction),
        toolchains: None,
        deadline: Duration::from_secs(600),
        baseline: narrow(),
    }
}

fn failing() -> Policy {
    let broken = |_: &_| Err(Error::internal("broken", "broken"));
    Policy::new(
        model("test"),
        ActionSpace::default(),
        Temperatures::ONE,
        broken,
    )
    .quick()
}

#[test]
fn the_first_of_several_faults_is_the_reason() {
    let count = Bin::Count;
    let codex = vec!["codex".to_owned()];
    let claude = vec!["claude".to_owned()];
    let broken = Error::internal("broken", "the bundle cannot be read");
    let logged = |faults: Faults| Faults {
        mode: Mode::Log,
        ..faults
    };
    let no_numbers = Prediction::Logits([2, 4, 6, 5].map(|width| vec![f32::NAN; width]));
    let no_heads = Prediction::Logits(Default::default());
    let even = Prediction::Logits([2, 4, 6, 5].map(|width| vec![0.0; width]));
    let nowhere = |confidence| proposal("tournament", [9, 31, 9].map(count), Some(confidence));
    let rows = [
        (
            "off, and there is no model",
            Faults {
                mode: Mode::Off,
                policy: Policy::missing(&broken),
                ..enforced(greedy(0.0))
            },
            Reason::PlannerOff,
        ),
        (
            "no model, and only logged",
            Faults {
                policy: Policy::missing(&broken),
                ..logged(enforced(greedy(0.0)))
            },
            Reason::ModelUnavailable,
        ),
        (
            "other toolchains, a failing model, and only logged",
            Faults {
                policy: failing().for_toolchains(codex.clone()),
                toolchains: Some(claude),
                ..logged(enforced(greedy(0.0)))
            },
            Reason::SchemaMismatch,
        ),
        (
            "a failure that comes late, and only logged",
            Faults {
                policy: failing(),
                deadline: Duration::ZERO,
                ..logged(enforced(greedy(0.0)))
            },
            Reason::InferenceTimeout,
        ),
        (
            "a failure, and only logged",
            Faults {
                policy: failing(),
                ..logged(enforced(greedy(0.0)))
            },
            Reason::InferenceFailed,
        ),
        (
            "logged, and unsure",
            logged(enforced(even.clone())),
            Reason::LogOnly,
        ),
        (
            "logged, and no numbers",
            logged(enforced(no_numbers.clone())),
            Reason::LogOnly,
        ),
        (
            "logged, and heads without classes",
            logged(enforced(no_heads)),
            Reason::LogOnly,
        ),
        (
            "logged, unsure and outside the space",
            logged(enforced(nowhere(0.1))),
            Reason::LogOnly,
        ),
        (
            "logged, and no probability",
            logged(enforced(greedy(7.0))),
            Reason::LogOnly,
        ),
        (
            "unsure, and no probability",
            enforced(greedy(-1.0)),
            Reason::LowConfidence,
        ),
        (
            "unsure, and outside the space",
            enforced(nowhere(0.1)),
            Reason::LowConfidence,
        ),
        (
            "unsure, and breaks a rule",
            enforced(proposal("serial_handoff", [2, 30, 1].map(count), Some(0.1))),
            Reason::LowConfidence,
        ),
        (
            "unsure, and too greedy",
            enforced(greedy(0.1)),
            Reason::LowConfidence,
        ),
        (
            "no probability, and outside the space",
            enforced(nowhere(7.0)),
            Reason::MalformedPrediction,
        ),
        (
            "no number, and too greedy",
            enforced(greedy(f64::NAN)),
            Reason::MalformedPrediction,
        ),
        (
            "no numbers at all, where nothing may run",
            enforced(no_numbers),
            Reason::MalformedPrediction,
        ),
        (
            "outside the space, and breaks a rule",
            enforced(proposal("serial_handoff", [2, 31, 1].map(count), Some(0.9))),
            Reason::PredictionOutOfSpace,
        ),
        (
            "outside the space in every way",
            enforced(nowhere(0.9)),
            Reason::PredictionOutOfSpace,
        ),
        (
            "breaks a rule, another swarm, and too long",
            Faults {
                baseline: Baseline {
                    speculation: Speculation {
                        required: true,
                        ..narrow().speculation
                    },
                    ..narrow()
                },
                ..enforced(proposal(
                    "serial_handoff",
                    [2, 120, 5].map(count),
                    Some(0.9),
                ))
            },
            Reason::PredictionInvalid,
        ),
        (
            "another swarm, too many and too long",
            Faults {
                baseline: Baseline {
                    swarm_id: "serial_handoff".to_owned(),
                    candidates: 1,
                    ..narrow()
                },
                ..enforced(greedy(0.9))
            },
            Reason::SwarmMismatch,
        ),
        (
            "too many, too long, too often, too few toolchains",
            enforced(greedy(0.9)),
            Reason::MaxCandidatesExceedsCap,
        ),
        (
            "too long, too often, too few toolchains",
            enforced(proposal(
                "speculate_vote",
                [2, 120, 5].map(count),
                Some(0.9),
            )),
            Reason::TimeoutExceedsCap,
        ),
        (
            "too often, too few toolchains",
            enforced(proposal("speculate_vote", [2, 60, 5].map(count), Some(0.9))),
            Reason::PredictionInvalid,
        ),
        (
            "too few toolchains",
            enforced(proposal("speculate_vote", [2, 60, 1].map(count), Some(0.9))),
            Reason::ToolchainUnavailable,
        ),
    ];
    each(&rows, |(_, faults, reason)| {
        let settings = Settings {
            mode: faults.mode,
            threshold: 0.5,
            deadline: Some(faults.deadline),
            toolchains: faults.toolchains.clone(),
            ..Settings::default()
        };
        let planner = Planner::new(faults.policy.clone(), settings).unwrap();
        let found = planner.decide(&input("anything"), &faults.baseline).reason;
        (found == Some(*reason))
            .then_some(())
            .ok_or(format!("{found:?}"))
    });
}

#[test]
fn what_is_logged_of_an_answer_without_sense_says_what_is_wrong_with_it() {
    let no_numbers = Prediction::Logits([2, 4, 6, 5].map(|width| vec![f32::NAN; width]));
    let settings = Settings {
        mode: Mode::Log,
        ..Settings::default()
    };
    let planner = Planner::new(always(no_numbers), settings).unwrap();
    let decision = planner.decide(&input("code"), &narrow());
    assert_eq!(decision.reason, Some(Reason::LogOnly));
    let detail = decision.executed_plan.fallback_detail.unwrap();
    assert!(detail.contains("not finite"), "{detail}");
    assert_eq!(decision.trace.predicted, None);
}
