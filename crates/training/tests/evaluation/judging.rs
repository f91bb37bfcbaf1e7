//! The report of judged answers, worked out by hand.

use amphora_planner::action_space::{Action, ActionSpace};
use amphora_training::evaluate::{Judged, summarize};
use amphora_training::metrics::{Decision, LabelMatch};

fn action(classes: [usize; 4]) -> Action {
    Action::from_classes(classes)
}

fn decision(confidence: f64, correct: f64) -> Decision {
    Decision {
        confidence,
        correct,
    }
}

/// An answer of which only the swarm is a choice.
fn judged(
    issue: &str,
    [answered, best]: [[usize; 4]; 2],
    [valid, taken]: [bool; 2],
    confidence: f64,
) -> Judged {
    let right = f64::from(u8::from(answered[0] == best[0]));
    let exact = f64::from(u8::from(answered == best));
    Judged {
        issue: issue.to_owned(),
        action: action(answered),
        best: action(best),
        baseline: action([0, 0, 0, 4]),
        valid,
        taken,
        decision: decision(confidence, right),
        heads: [Some(decision(confidence, right)), None, None, None],
        brier: [2.0 * (right - confidence).powi(2), 0.0, 0.0, 0.0],
        matches: LabelMatch {
            heads: [right, 1.0, 1.0, 1.0],
            exact,
        },
        utility: right,
        baseline_utility: 0.5,
    }
}

#[test]
fn four_answers_by_hand() {
    let (serial, vote) = ([0, 0, 0, 4], [1, 1, 0, 4]);
    let rows = [
        judged("a", [serial, serial], [true, true], 0.95),
        judged("a", [serial, vote], [true, true], 0.75),
        judged("b", [vote, vote], [true, false], 0.55),
        // One run and two candidates: no valid action, although it was sure.
        judged("b", [[0, 1, 0, 4], vote], [false, false], 0.85),
    ];
    let report = summarize("hand", &rows, &ActionSpace::default());
    let close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    };
    close(report.abstain_rate, 0.5);
    close(report.invalid_rate, 0.25);
    close(report.majority_exact, 0.75);
    close(report.agreement.exact, 0.5);
    close(report.agreement.heads[0], 0.5);
    // Four bins of one answer each: 0.05 and 0.45 too unsure, 0.75 and 0.85 too sure.
    close(report.decisions.ece, (0.05 + 0.75 + 0.45 + 0.85) / 4.0);
    close(report.decisions.mce, 0.85);
    let squares = [0.05, 0.75, 0.45, 0.85].map(|gap: f64| gap * gap);
    close(report.decisions.brier, squares.iter().sum::<f64>() / 4.0);
    // Only what was taken.
    assert_eq!(report.taken.count, 2);
    close(report.taken.ece, (0.05 + 0.75) / 2.0);
    close(report.taken.confidence, 0.85);
    close(report.taken.accuracy, 0.5);
    // The swarm's own report; the other heads had no choice.
    close(report.heads[0].ece, report.decisions.ece);
    close(report.heads[0].mce, 0.85);
    close(report.heads[0].brier, 2.0 * report.decisions.brier);
    for head in &report.heads[1..] {
        assert_eq!((head.ece, head.mce, head.brier), (0.0, 0.0, 0.0));
    }
    assert_eq!(report.actions.counts["serial_handoff/1/15/NA"], 2);
    assert_eq!(report.actions.unique_actions, 3);
    // From taking everything to leaving everything: the threshold rises by one answer at a time.
    let curve: Vec<(f64, f64, f64)> = report
        .coverage
        .iter()
        .map(|point| (point.threshold, point.coverage, point.utility))
        .collect();
    assert_eq!(
        curve[..4],
        [
            (0.0, 1.0, 0.5),
            (0.75, 0.75, 0.375),
            (0.85, 0.5, 0.5),
            (0.95, 0.25, 0.625)
        ]
    );
    assert_eq!((curve[4].1, curve[4].2), (0.0, 0.5));
    let executed: Vec<Action> = rows.iter().map(Judged::executed).collect();
    assert_eq!(executed, [serial, serial, serial, serial].map(action));
}
