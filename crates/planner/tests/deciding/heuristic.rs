//! The rule, and what an orchestrator does today.

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{Bin, Risk, Size};
use amphora_planner::heuristic::{self, kernel::Kernel, kernel::RoutingRule};
use amphora_testing::each;

use crate::support::input;

#[test]
fn risk_then_size_choose_and_the_valid_set_decides() {
    let rows = [
        (Risk::Low, Size::Xs, "code", "serial_handoff/1/15/NA"),
        (Risk::Low, Size::S, "code", "serial_handoff/1/30/NA"),
        (Risk::Medium, Size::M, "code", "serial_handoff/1/45/NA"),
        (Risk::Low, Size::L, "code", "speculate_vote/2/60/NA"),
        (Risk::Medium, Size::Xl, "code", "speculate_vote/2/120/NA"),
        (Risk::High, Size::Xs, "code", "speculate_vote/3/15/NA"),
        (Risk::Critical, Size::Xl, "code", "speculate_vote/3/120/NA"),
        (Risk::High, Size::M, "fab-world", "speculate_vote/3/45/NA"),
        (Risk::Low, Size::M, "fab-world", "serial_handoff/1/45/NA"),
    ];
    each(&rows, |(risk, size, job_type, expected)| {
        let mut input = input(job_type);
        (input.issue.dk_risk, input.issue.dk_size) = (*risk, *size);
        let action = heuristic::action(&input).unwrap();
        let found = input.action_space.named(action).unwrap().to_string();
        (found == *expected).then_some(()).ok_or(found)
    });
}

#[test]
fn another_space_gets_the_nearest_valid_action() {
    let mut input = input("code");
    input.issue.dk_size = Size::Xl;
    input.action_space.max_minutes_bins = [2, 5, 30].map(Bin::Count).to_vec();
    input.action_space.max_candidates_bins = [3, 1].map(Bin::Count).to_vec();
    let named = |input: &amphora_planner::contracts::PlannerInput| {
        let action = heuristic::action(input)?;
        Some(input.action_space.named(action).unwrap().to_string())
    };
    assert_eq!(named(&input).as_deref(), Some("speculate_vote/1/30/NA"));
    input.action_space.swarm_ids = vec!["serial_handoff".into()];
    assert_eq!(named(&input).as_deref(), Some("serial_handoff/1/30/NA"));
    input.action_space.swarm_ids = vec!["tournament".into()];
    assert_eq!(named(&input).as_deref(), Some("tournament/1/30/NA"));
    input.action_space.max_iterations_bins = vec![Bin::Count(1)];
    assert_eq!(named(&input), None);
}

#[test]
fn an_orchestrator_speculates_when_its_configuration_says_so() {
    let risky = RoutingRule {
        dk_risk: vec![Risk::High],
        speculate: true,
        parallelism: Some(3),
        ..RoutingRule::default()
    };
    let routed = Kernel {
        routing: vec![risky],
        ..Kernel::default()
    };
    let off = Kernel {
        speculation: false,
        force_speculate: true,
        ..Kernel::default()
    };
    let forced = Kernel {
        force_speculate: true,
        ..Kernel::default()
    };
    let rate = |rate: f64| Kernel {
        force_speculate: true,
        action_rate: Some(rate),
        ..Kernel::default()
    };
    let plain = Kernel::default();
    type Row = (
        &'static str,
        Kernel,
        Risk,
        bool,
        bool,
        Option<u32>,
        (&'static str, u32),
    );
    let rows: [Row; 12] = [
        (
            "plain",
            plain.clone(),
            Risk::Critical,
            false,
            false,
            None,
            ("serial_handoff", 1),
        ),
        (
            "wanted",
            plain.clone(),
            Risk::Low,
            true,
            false,
            None,
            ("speculate_vote", 2),
        ),
        (
            "critical path",
            plain.clone(),
            Risk::High,
            false,
            true,
            None,
            ("speculate_vote", 2),
        ),
        (
            "harmless there",
            plain,
            Risk::Medium,
            false,
            true,
            None,
            ("serial_handoff", 1),
        ),
        (
            "routed",
            routed.clone(),
            Risk::High,
            false,
            false,
            None,
            ("speculate_vote", 3),
        ),
        (
            "not routed",
            routed.clone(),
            Risk::Low,
            false,
            false,
            None,
            ("serial_handoff", 1),
        ),
        (
            "off",
            off,
            Risk::High,
            true,
            true,
            None,
            ("serial_handoff", 1),
        ),
        (
            "forced",
            forced,
            Risk::Low,
            false,
            false,
            None,
            ("speculate_vote", 2),
        ),
        (
            "one toolchain",
            routed,
            Risk::High,
            false,
            false,
            Some(1),
            ("speculate_vote", 1),
        ),
        (
            "trapped",
            rate(0.05),
            Risk::Low,
            false,
            false,
            None,
            ("speculate_vote", 3),
        ),
        (
            "balanced",
            rate(0.3),
            Risk::Low,
            false,
            false,
            None,
            ("speculate_vote", 2),
        ),
        (
            "chaotic",
            rate(0.7),
            Risk::Low,
            false,
            false,
            None,
            ("speculate_vote", 1),
        ),
    ];
    each(
        &rows,
        |(_, kernel, risk, wanted, critical, toolchains, expected)| {
            let mut issue = input("code").issue;
            issue.dk_risk = *risk;
            let found = kernel.baseline(&issue, *wanted, *critical, 3, *toolchains);
            let seen = (found.swarm_id.as_str(), found.candidates);
            (seen == *expected).then_some(()).ok_or(format!("{seen:?}"))
        },
    );
}

#[test]
fn the_default_baseline_is_one_run_of_half_an_hour() {
    let baseline = Kernel::default().baseline(&input("code").issue, false, false, 3, None);
    let named = baseline.binned(&ActionSpace::default());
    assert_eq!(named.to_string(), "serial_handoff/1/30/NA");
}
