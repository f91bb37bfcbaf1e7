//! A model that keeps failing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use amphora_error::Error;
use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::Mode;
use amphora_planner::decide::{Baseline, BreakerSettings, Planner, Policy, Reason, Settings};
use amphora_planner::decode::Temperatures;

use crate::decide::{certain, settings};
use crate::support::{input, model};

/// A model that fails for the first three times, and how often it was asked.
fn failing_thrice(rest: Duration) -> (Planner, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let policy = Policy::new(
        model("test"),
        ActionSpace::default(),
        Temperatures::ONE,
        move |_| match counted.fetch_add(1, Ordering::SeqCst) {
            0..3 => Err(Error::internal("broken", "broken")),
            _ => Ok(certain([0, 0, 1, 4])),
        },
    );
    let settings = Settings {
        breaker: BreakerSettings { failures: 3, rest },
        ..settings(Mode::Enforce)
    };
    (Planner::new(policy, settings).unwrap(), asked)
}

#[test]
fn a_model_that_keeps_failing_is_left_alone_and_tried_again_after_a_rest() {
    let decide = |planner: &Planner| planner.decide(&input("code"), &Baseline::default()).reason;
    let (planner, asked) = failing_thrice(Duration::from_secs(3600));
    for _ in 0..3 {
        assert_eq!(decide(&planner), Some(Reason::InferenceFailed));
    }
    for _ in 0..5 {
        assert_eq!(decide(&planner), Some(Reason::ModelUnavailable));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    let (planner, asked) = failing_thrice(Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(decide(&planner), Some(Reason::InferenceFailed));
    }
    assert_eq!(decide(&planner), None);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}
