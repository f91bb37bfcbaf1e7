//! When to leave a decision to the baseline.

use std::collections::BTreeMap;

use crate::metrics::{Coverage, Decision, Interval, choose_threshold, coverage_curve};

use super::{Judged, Settings};

/// The confidence below which answers go to the baseline: what is best on judged validation rows while it
/// leaves no more than [`Settings::minimum_coverage`] allows, if that is beyond chance better than taking
/// every answer; else 0.
pub(super) fn threshold(judged: &[Judged], settings: &Settings) -> f64 {
    let wanted = choose_threshold(&curve(judged), settings.minimum_coverage);
    match gain(judged, wanted, settings).above_zero() {
        true => wanted,
        false => 0.0,
    }
}

/// Coverage, correctness and utility by threshold.
pub(super) fn curve(judged: &[Judged]) -> Vec<Coverage> {
    let rows: Vec<(Decision, f64, f64)> = judged
        .iter()
        .map(|row| (row.decision, row.utility, row.baseline_utility))
        .collect();
    coverage_curve(&rows)
}

/// What abstaining below `threshold` gains in utility, over tasks: a threshold that fits the noise of a
/// few validation tasks is none.
fn gain(judged: &[Judged], threshold: f64, settings: &Settings) -> Interval {
    let mut tasks: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for row in judged {
        let task = tasks.entry(&row.issue).or_default();
        task.0 += row.utility_at(threshold) - row.utility;
        task.1 += 1.0;
    }
    let means: Vec<f64> = tasks.values().map(|(sum, rows)| sum / rows).collect();
    settings.bootstrap.mean(&means)
}

#[cfg(test)]
mod tests {
    use amphora_planner::action_space::Action;

    use super::*;
    use crate::metrics::LabelMatch;

    /// An answer to a task: its confidence, its utility, the baseline's.
    fn judged(task: usize, confidence: f64, utility: f64, baseline_utility: f64) -> Judged {
        let action = Action::from_classes([0; 4]);
        Judged {
            issue: format!("task-{task}"),
            action,
            best: action,
            baseline: action,
            valid: true,
            taken: true,
            decision: Decision {
                confidence,
                correct: utility,
            },
            heads: [None; 4],
            brier: [0.0; 4],
            matches: LabelMatch {
                heads: [1.0; 4],
                exact: 1.0,
            },
            utility,
            baseline_utility,
        }
    }

    fn settings() -> Settings {
        Settings::new(Vec::new())
    }

    /// Twelve tasks: the unsure answer of each loses `lost` against the baseline, the sure one wins.
    fn rows(lost: impl Fn(usize) -> f64) -> Vec<Judged> {
        (0..12)
            .flat_map(|task| {
                [
                    judged(task, 0.3, 0.5 - lost(task), 0.5),
                    judged(task, 0.9, 1.0, 0.5),
                ]
            })
            .collect()
    }

    #[test]
    fn a_gain_is_the_mean_over_tasks() {
        // One task with one unsure answer, one with an unsure and a sure one, one with a sure one.
        let rows = [
            judged(0, 0.2, 0.0, 0.6),
            judged(1, 0.2, 0.0, 0.6),
            judged(1, 0.8, 1.0, 0.6),
            judged(2, 0.8, 1.0, 0.6),
        ];
        let found = gain(&rows, 0.5, &settings());
        assert!((found.estimate - (0.6 + 0.3 + 0.0) / 3.0).abs() < 1e-12);
        assert_eq!(gain(&rows, 0.0, &settings()).estimate, 0.0);
    }

    #[test]
    fn it_abstains_where_that_is_better_beyond_chance() {
        assert_eq!(threshold(&rows(|_| 0.4), &settings()), 0.9);
        // The same mean, but lost on one task alone: that may be noise.
        let once = rows(|task| if task == 0 { 0.4 } else { 0.0 });
        assert_eq!(threshold(&once, &settings()), 0.0);
        // Nothing lost, nothing to leave.
        assert_eq!(threshold(&rows(|_| -0.4), &settings()), 0.0);
        assert_eq!(threshold(&[], &settings()), 0.0);
    }

    #[test]
    fn it_leaves_no_more_than_it_may() {
        let rows = rows(|_| 0.4);
        let strict = Settings {
            minimum_coverage: 0.6,
            ..settings()
        };
        assert_eq!(threshold(&rows, &strict), 0.0);
    }
}
