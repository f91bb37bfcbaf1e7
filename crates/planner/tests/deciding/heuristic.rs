//! The rule, and what an orchestrator does today.

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{Bin, Risk, Size};
use amphora_planner::heuristic::{self, kernel::Kernel, kernel::Pattern, kernel::RoutingRule};
use amphora_testing::each;
use serde_json::json;

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

#[test]
fn routing_matches_on_every_key_of_the_documents() {
    let issue = {
        let mut issue = input("code").issue;
        issue.dk_risk = Risk::High;
        issue.dk_size = Size::L;
        issue.dk_tool_hint = Some("codex".to_owned());
        issue.tags = vec!["kernel".to_owned(), "cache".to_owned()];
        issue.title = Some("Cache key drifts".to_owned());
        issue.description = Some("Line one.\nThe cache key lacks the length.".to_owned());
        issue
    };
    let nameless = {
        let mut issue = issue.clone();
        (issue.title, issue.description) = (None, None);
        issue
    };
    let rows = [
        (json!({}), true, true),
        (json!({"dk_tool_hint": "codex"}), true, true),
        (json!({"dk_tool_hint": ["claude", "codex"]}), true, true),
        (json!({"dk_tool_hint": "claude"}), false, false),
        (
            json!({"dk_risk": "high", "dk_size": ["L", "XL"]}),
            true,
            true,
        ),
        (json!({"dk_risk": "high", "dk_size": "S"}), false, false),
        (
            json!({"tags_any": ["cache", "net"], "tags_all": ["kernel", "cache"]}),
            true,
            true,
        ),
        (json!({"tags_all": ["kernel", "net"]}), false, false),
        (json!({"title_pattern": "key"}), true, false),
        (json!({"title_pattern": "^Cache .* drifts$"}), true, false),
        (json!({"title_pattern": "cache"}), false, false),
        (json!({"title_pattern": "(?i)\\bcache\\b"}), true, false),
        (json!({"title_pattern": ""}), true, false),
        (
            json!({"description_pattern": "(?m)^The .* length\\.$"}),
            true,
            false,
        ),
        (json!({"description_pattern": "^The"}), false, false),
        (
            json!({"title_pattern": "key", "description_pattern": "nothing"}),
            false,
            false,
        ),
        (
            json!({"title_pattern": "key", "dk_risk": "low"}),
            false,
            false,
        ),
    ];
    each(&rows, |(rule, whole, without_text)| {
        let mut rule = rule.clone();
        rule["speculate"] = json!(true);
        let kernel = json!({"routing": [rule], "speculate_on_critical_path": false});
        let kernel: Kernel = serde_json::from_value(kernel).map_err(|e| e.to_string())?;
        let found = [&issue, &nameless].map(|issue| kernel.speculates(issue, false, false));
        (found == [*whole, *without_text])
            .then_some(())
            .ok_or(format!("{found:?}"))
    });
    // A rule is written as it is read.
    let rule = json!({"dk_risk": "high", "title_pattern": "a|b", "description_pattern": "c"});
    let rule: RoutingRule = serde_json::from_value(rule).unwrap();
    let again = serde_json::to_value(&rule).unwrap();
    assert_eq!(serde_json::from_value::<RoutingRule>(again).unwrap(), rule);
}

#[test]
fn patterns_that_are_none_or_too_large_are_refused() {
    let deep = format!("{}a{}", "(".repeat(100), ")".repeat(100));
    let long = "a".repeat(5_000);
    let rows = [
        "(",
        "[",
        "a{2,1}",
        "(?<=a)b",
        "\\",
        "(a{1000}){1000}",
        &deep,
        &long,
    ];
    each(&rows, |text| match Pattern::new(text) {
        Err(error) if error.rule() == "routing-pattern" => {
            let rule = json!({"title_pattern": text});
            let read = serde_json::from_value::<RoutingRule>(rule);
            read.map_or(Ok(()), |_| Err("read as a part of a rule".to_owned()))
        }
        other => Err(format!("{other:?}")),
    });
    // Linear time, where a backtracking search would not end.
    let pattern = Pattern::new("(a*)*(a|aa)*b").unwrap();
    assert!(!pattern.is_in(&"a".repeat(100_000)));
}
