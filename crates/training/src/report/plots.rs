//! The plots of a page.

use crate::evaluate::{ModelReport, PolicyReport};
use crate::metrics::Reliability;
use crate::train::{Curve, TrainingReport};

use super::svg::{Bar, Plot, rows};

/// Confidence against correctness, in ten bins, with the number of decisions as the area of dots.
pub(super) fn reliability(found: &Reliability, caption: &str) -> String {
    let mut plot = Plot::new((0.0, 1.0), "confidence", (0.0, 1.0), "correct");
    plot.reference((0.0, 0.0), (1.0, 1.0));
    let most = found
        .bins
        .iter()
        .map(|bin| bin.count)
        .max()
        .unwrap_or(1)
        .max(1) as f64;
    for bin in found.bins.iter().filter(|bin| bin.count > 0) {
        let title = format!(
            "{} decisions, confidence {:.3}, correct {:.3}",
            bin.count, bin.confidence, bin.accuracy
        );
        plot.bar(bin.from, bin.to, bin.accuracy, 7, &title);
        plot.dot(
            bin.confidence,
            bin.accuracy,
            bin.count as f64 / most,
            0,
            &title,
        );
    }
    plot.figure(caption)
}

/// Utility of everybody and correctness of the decisions taken, by the share taken.
pub(super) fn coverage(models: &[&ModelReport], caption: &str) -> String {
    let values: Vec<f64> = models
        .iter()
        .flat_map(|model| model.coverage.iter().map(|point| point.utility))
        .collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let pad = ((high - low) * 0.1).max(0.01);
    let mut plot = Plot::new(
        (0.0, 1.0),
        "share of decisions taken (the rest goes to the heuristic)",
        (low - pad, high + pad),
        "mean utility",
    );
    for (color, model) in models.iter().enumerate() {
        let points: Vec<(f64, f64)> = model
            .coverage
            .iter()
            .map(|point| (point.coverage, point.utility))
            .collect();
        plot.line(&points, color, &model.name);
    }
    plot.figure(caption)
}

/// How often each action is chosen.
pub(super) fn actions(model: &ModelReport, caption: &str) -> String {
    let counts = &model.actions.counts;
    let total: usize = counts.values().sum();
    let bars: Vec<Bar> = counts
        .iter()
        .map(|(action, count)| Bar {
            name: action.clone(),
            estimate: *count as f64 / total.max(1) as f64,
            interval: None,
            color: 0,
            text: format!(
                "{count} ({:.0} %)",
                100.0 * *count as f64 / total.max(1) as f64
            ),
        })
        .collect();
    rows(&bars, caption)
}

/// Regret of each task, the smallest first.
pub(super) fn regret(policies: &[&PolicyReport], caption: &str) -> String {
    let sorted = |policy: &PolicyReport| {
        let mut regrets: Vec<f64> = policy.tasks.values().map(|task| task.regret).collect();
        regrets.sort_by(f64::total_cmp);
        regrets
    };
    let most = policies
        .iter()
        .flat_map(|policy| sorted(policy))
        .fold(0.1, f64::max);
    let mut plot = Plot::new(
        (0.0, 1.0),
        "share of tasks, the smallest regret first",
        (0.0, most * 1.05),
        "regret in utility against the oracle",
    );
    for (color, policy) in policies.iter().enumerate() {
        let regrets = sorted(policy);
        let count = regrets.len().max(1) as f64;
        let points: Vec<(f64, f64)> = regrets
            .iter()
            .enumerate()
            .map(|(place, regret)| ((place + 1) as f64 / count, *regret))
            .collect();
        plot.line(&points, color, &policy.name);
    }
    plot.figure(caption)
}

/// Utility less the heuristic's, with intervals.
pub(super) fn differences(policies: &[&PolicyReport], caption: &str) -> String {
    let bars: Vec<Bar> = policies
        .iter()
        .map(|policy| {
            let difference = policy.minus_heuristic;
            Bar {
                name: policy.name.clone(),
                estimate: difference.estimate,
                interval: Some((difference.low, difference.high)),
                color: usize::from(policy.name.starts_with("fixed:")) * 7,
                text: format!(
                    "{:+.3} [{:+.3}, {:+.3}]",
                    difference.estimate, difference.low, difference.high
                ),
            }
        })
        .collect();
    rows(&bars, caption)
}

/// Loss by epoch.
pub(super) fn training(report: &TrainingReport) -> String {
    report
        .members
        .iter()
        .enumerate()
        .map(|(number, member)| {
            let caption = match report.members.len() {
                1 => match report.uniform_loss {
                    Some(loss) => format!(
                        "Loss by epoch; the weights of the marked epoch were kept; a uniform guess has a \
                         validation loss of {loss:.3}"
                    ),
                    None => "Loss by epoch; the weights of the marked epoch were kept".to_owned(),
                },
                _ => format!("Loss by epoch, member {}", number + 1),
            };
            curve(&member.curve, &caption)
        })
        .collect()
}

fn curve(curve: &Curve, caption: &str) -> String {
    let epochs = &curve.epochs;
    let training: Vec<(f64, f64)> = epochs.iter().map(|e| (e.epoch as f64, e.loss)).collect();
    let validation: Vec<(f64, f64)> = epochs
        .iter()
        .filter_map(|e| Some((e.epoch as f64, e.validation_loss?)))
        .collect();
    let all = || training.iter().chain(&validation).map(|point| point.1);
    let (low, high) = (
        all().fold(f64::INFINITY, f64::min),
        all().fold(f64::NEG_INFINITY, f64::max),
    );
    if !low.is_finite() || !high.is_finite() {
        return String::new();
    }
    let last = epochs.iter().map(|e| e.epoch).max().unwrap_or(1);
    let mut plot = Plot::new((0.0, last as f64), "epoch", (low, high), "loss");
    plot.line(&training, 0, "training");
    plot.line(&validation, 1, "validation");
    plot.mark(curve.best_epoch as f64, "kept");
    plot.figure(caption)
}
