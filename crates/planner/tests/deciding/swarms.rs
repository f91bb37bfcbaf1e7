//! Which swarms a planner may change to.

use amphora_planner::contracts::Mode;
use amphora_planner::decide::{Baseline, Planner, Reason, Speculation};
use amphora_testing::each;

use crate::decide::{always, certain, settings};
use crate::support::input;

#[test]
fn swarms_change_only_where_the_orchestrator_can() {
    let serial = Baseline {
        timeout_seconds: 7200,
        ..Baseline::default()
    };
    let with = |baseline: &Baseline, change: fn(&mut Speculation)| {
        let mut baseline = baseline.clone();
        change(&mut baseline.speculation);
        baseline
    };
    let several = Baseline {
        swarm_id: "speculate_vote".to_owned(),
        candidates: 3,
        ..serial.clone()
    };
    let mut third = several.clone();
    third.swarm_id = "tournament".to_owned();
    let (to_two, to_three, to_serial) = ([1, 1, 1, 4], [1, 2, 1, 4], [0, 0, 1, 4]);
    let rows = [
        ("to several", to_two, serial.clone(), None),
        (
            "forbidden",
            to_two,
            with(&serial, |s| s.enabled = false),
            Some(Reason::SwarmMismatch),
        ),
        (
            "no slots",
            to_two,
            with(&serial, |s| s.free_slots = 1),
            Some(Reason::SwarmMismatch),
        ),
        (
            "one toolchain",
            to_two,
            with(&serial, |s| s.toolchains = Some(1)),
            Some(Reason::SwarmMismatch),
        ),
        (
            "two toolchains for three",
            to_three,
            with(&serial, |s| s.toolchains = Some(2)),
            Some(Reason::ToolchainUnavailable),
        ),
        (
            "two slots for three",
            to_three,
            with(&serial, |s| s.free_slots = 2),
            Some(Reason::MaxCandidatesExceedsCap),
        ),
        ("to one", to_serial, several.clone(), None),
        (
            "to one, but several are required",
            to_serial,
            with(&several, |s| s.required = true),
            Some(Reason::SwarmMismatch),
        ),
        (
            "between kinds of several",
            to_two,
            third,
            Some(Reason::SwarmMismatch),
        ),
        (
            "no toolchain at all",
            to_serial,
            with(&serial, |s| s.toolchains = Some(0)),
            Some(Reason::ToolchainUnavailable),
        ),
    ];
    each(&rows, |(_, classes, baseline, reason)| {
        let planner = Planner::new(always(certain(*classes)), settings(Mode::Enforce)).unwrap();
        let found = planner.decide(&input("code"), baseline).reason;
        (found == *reason).then_some(()).ok_or(format!("{found:?}"))
    });
}
