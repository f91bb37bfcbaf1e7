//! Metrics against numbers worked out by hand, against brute force, and against known distributions.

use std::collections::{BTreeMap, BTreeSet};

use amphora_runtime::Calibration;
use amphora_testing::each;
use amphora_training::calibration::{CalibrationRow, FittedTemperatures};
use amphora_training::crossvalidate::grouped_folds;
use amphora_training::metrics::{
    Agreement, Bootstrap, Collapse, Decision, Example, LabelMatch, OutcomeMetrics, Pick,
    Reliability, choose_threshold, coverage_curve, kl_divergence, masked_softmax,
    population_stability_index,
};
use proptest::prelude::*;

fn decisions(values: &[(f64, f64)]) -> Vec<Decision> {
    values
        .iter()
        .map(|&(confidence, correct)| Decision {
            confidence,
            correct,
        })
        .collect()
}

fn near(found: f64, expected: f64) -> Result<(), String> {
    if (found - expected).abs() < 1e-9 {
        Ok(())
    } else {
        Err(format!("expected {expected}, found {found}"))
    }
}

#[test]
fn calibration_errors_by_hand() {
    #[derive(Debug)]
    struct Case {
        values: &'static [(f64, f64)],
        ece: f64,
        mce: f64,
        brier: f64,
    }
    each(
        &[
            // Bin [0.9, 1]: confidence 0.95, accuracy 0.5; bin [0.6, 0.7): 0.65 against 1.
            Case {
                values: &[(0.95, 1.0), (0.95, 0.0), (0.65, 1.0)],
                ece: (2.0 * 0.45 + 0.35) / 3.0,
                mce: 0.45,
                brier: (0.0025 + 0.9025 + 0.1225) / 3.0,
            },
            // Confidence 1 belongs to the last bin, 0 to the first.
            Case {
                values: &[(1.0, 1.0), (0.0, 0.0)],
                ece: 0.0,
                mce: 0.0,
                brier: 0.0,
            },
            // Two errors that cancel inside one bin.
            Case {
                values: &[(0.52, 1.0), (0.48, 0.0), (0.54, 0.0), (0.56, 1.0)],
                ece: (3.0 * (2.0 / 3.0 - 0.54) + 0.48) / 4.0,
                mce: 0.48,
                brier: (0.48_f64.powi(2) * 2.0 + 0.54_f64.powi(2) + 0.44_f64.powi(2)) / 4.0,
            },
            Case {
                values: &[],
                ece: 0.0,
                mce: 0.0,
                brier: 0.0,
            },
        ],
        |case| {
            let found = Reliability::of(&decisions(case.values));
            near(found.ece, case.ece)?;
            near(found.mce, case.mce)?;
            near(found.brier, case.brier)?;
            let counted: usize = found.bins.iter().map(|bin| bin.count).sum();
            if counted != case.values.len() {
                return Err(format!("{counted} decisions in the bins"));
            }
            Ok::<(), String>(())
        },
    );
}

proptest! {
    #[test]
    fn coverage_curve_is_brute_force(
        rows in prop::collection::vec((0_u8..6, 0.0..1.0_f64, -1.0..1.0_f64, -1.0..1.0_f64), 0..40)
    ) {
        let rows: Vec<(Decision, f64, f64)> = rows
            .into_iter()
            .map(|(step, correct, own, base)| {
                (Decision { confidence: f64::from(step) / 5.0, correct }, own, base)
            })
            .collect();
        for point in coverage_curve(&rows) {
            let taken: Vec<_> = rows.iter().filter(|r| r.0.confidence >= point.threshold).collect();
            let n = rows.len() as f64;
            prop_assert!((point.coverage - taken.len() as f64 / n).abs() < 1e-12);
            let correct: f64 = taken.iter().map(|r| r.0.correct).sum();
            if !taken.is_empty() {
                prop_assert!((point.accuracy - correct / taken.len() as f64).abs() < 1e-9);
            }
            let utility: f64 = rows
                .iter()
                .map(|r| if r.0.confidence >= point.threshold { r.1 } else { r.2 })
                .sum();
            prop_assert!((point.utility - utility / n).abs() < 1e-9);
        }
    }
}

#[test]
fn threshold_takes_the_best_utility_that_covers_enough() {
    // The unsure decision loses 1 against the baseline, the sure one wins 1.
    let sure = Decision {
        confidence: 0.9,
        correct: 1.0,
    };
    let unsure = Decision {
        confidence: 0.3,
        correct: 0.0,
    };
    let curve = coverage_curve(&[(sure, 1.0, 0.0), (unsure, -1.0, 0.0)]);
    assert_eq!(choose_threshold(&curve, 0.0), 0.9);
    assert_eq!(choose_threshold(&curve, 0.8), 0.0);
    assert_eq!(choose_threshold(&[], 0.0), 0.0);
}

#[test]
fn bootstrap_covers_a_known_mean_and_is_reproducible() {
    // Twenty-five values from each of 400 uniform samples: the percentile interval of the mean is known
    // to cover a little less than its nominal 95 % at this size.
    let mut state = 12_345_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let bootstrap = Bootstrap {
        resamples: 400,
        seed: 7,
        confidence: 0.95,
    };
    let covered = (0..400)
        .filter(|_| {
            let sample: Vec<f64> = (0..25).map(|_| uniform()).collect();
            let interval = bootstrap.mean(&sample);
            interval.low <= 0.5 && 0.5 <= interval.high
        })
        .count();
    assert!((356..=392).contains(&covered), "{covered} of 400");

    let sample: Vec<f64> = (0..25).map(|_| uniform()).collect();
    assert_eq!(bootstrap.mean(&sample), bootstrap.mean(&sample));
    let other = Bootstrap {
        seed: 8,
        ..bootstrap
    };
    assert_ne!(bootstrap.mean(&sample), other.mean(&sample));
}

#[test]
fn bootstrap_width_is_the_standard_error() {
    // 0 and 1 in equal number: standard error sqrt(0.25 / n), 95 % interval 1.96 of them each way.
    let sample: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
    let interval = Bootstrap {
        resamples: 4_000,
        ..Bootstrap::default()
    }
    .mean(&sample);
    assert_eq!(interval.estimate, 0.5);
    assert!((interval.high - interval.low - 2.0 * 1.96 * 0.025).abs() < 0.006);
}

#[test]
fn bootstrap_ratio_is_of_sums_not_of_means() {
    let interval = Bootstrap::default().ratio(&[(10.0, 1.0), (2.0, 3.0)]);
    assert_eq!(interval.estimate, 3.0);
    let empty = Bootstrap::default().mean(&[]);
    assert!(empty.low.is_nan());
}

#[test]
fn agreement_and_collapse_by_hand() {
    let hit = LabelMatch {
        heads: [1.0, 1.0, 0.5, 1.0],
        exact: 0.25,
    };
    let miss = LabelMatch {
        heads: [0.0, 1.0, 0.0, 1.0],
        exact: 0.0,
    };
    let agreement = Agreement::of(&[hit, miss]);
    assert_eq!(agreement.heads, [0.5, 1.0, 0.25, 1.0]);
    assert_eq!(agreement.exact, 0.125);

    let collapse = Collapse::of([("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a1")]);
    near(
        collapse.entropy,
        0.5 * 2.0_f64.ln() + 2.0 * 0.25 * 4.0_f64.ln(),
    )
    .unwrap();
    near(
        collapse.swarm_entropy,
        0.75 * (4.0_f64 / 3.0).ln() + 0.25 * 4.0_f64.ln(),
    )
    .unwrap();
    assert_eq!(collapse.top1_frequency, 0.5);
    assert_eq!(collapse.unique_actions, 3);
}

#[test]
fn outcome_metrics_by_hand() {
    let pick = |passed, duration_ms, agent_minutes| Pick {
        passed,
        duration_ms,
        agent_minutes,
        cost_usd: Some(0.5),
    };
    let example = |pick, oracle, is_oracle| Example {
        pick,
        oracle,
        is_oracle,
        longest_ms: 900.0,
        weight: 1.0,
    };
    let best = pick(true, 100.0, 1.0);
    let metrics = OutcomeMetrics::of(
        &[
            example(best, Some(best), true),
            example(pick(true, 300.0, 2.0), Some(best), false),
            // Failed while something passed: counts 901 ms.
            example(pick(false, 200.0, 3.0), Some(best), false),
            // Nothing could pass: no regret, not comparable.
            example(pick(false, 400.0, 4.0), None, false),
        ],
        0.02,
    );
    let expected = OutcomeMetrics {
        examples: 4.0,
        pass_rate: 0.5,
        mean_time_to_pass_ms: Some(200.0),
        duration_per_pass_ms: Some(500.0),
        agent_minutes_per_pass: Some(5.0),
        cost_per_pass_usd: Some(1.0),
        utility: metrics.utility,
        oracle_match_rate: Some(1.0 / 3.0),
        mean_regret_ms: Some((0.0 + 200.0 + 801.0) / 3.0),
        mean_relative_regret: (0.0 + 2.0 + 8.01 + 0.0) / 4.0,
        failed_picks: 1.0,
    };
    assert_eq!(metrics, expected);
    near(metrics.utility, (2.0 - 0.02 * 10.0) / 4.0).unwrap();

    let nothing = OutcomeMetrics::of(&[example(pick(false, 1.0, 1.0), None, false)], 0.02);
    assert_eq!(nothing.duration_per_pass_ms, None);
    assert_eq!(nothing.mean_regret_ms, None);
    assert_eq!(nothing.mean_relative_regret, 0.0);
}

#[test]
fn weights_are_a_random_policys_expectation() {
    let pick = |passed| Pick {
        passed,
        duration_ms: 100.0,
        agent_minutes: 1.0,
        cost_usd: None,
    };
    let example = |passed, weight| Example {
        pick: pick(passed),
        oracle: Some(pick(true)),
        is_oracle: passed,
        longest_ms: 100.0,
        weight,
    };
    let metrics = OutcomeMetrics::of(&[example(true, 0.25), example(false, 0.75)], 0.02);
    assert_eq!(metrics.examples, 1.0);
    assert_eq!(metrics.pass_rate, 0.25);
    assert_eq!(metrics.failed_picks, 0.75);
}

#[test]
fn drift_by_hand() {
    let old = BTreeMap::from([("a".to_owned(), 9), ("b".to_owned(), 9)]);
    let new = BTreeMap::from([("a".to_owned(), 18)]);
    // Half a count each: old 9.5/19 twice, new 18.5/19 and 0.5/19.
    let (p, q): ([f64; 2], [f64; 2]) = ([0.5, 0.5], [18.5 / 19.0, 0.5 / 19.0]);
    let psi: f64 = (0..2).map(|k| (q[k] - p[k]) * (q[k] / p[k]).ln()).sum();
    let kl: f64 = (0..2).map(|k| q[k] * (q[k] / p[k]).ln()).sum();
    near(population_stability_index(&old, &new), psi).unwrap();
    near(kl_divergence(&old, &new), kl).unwrap();
    assert_eq!(population_stability_index(&old, &old), 0.0);
    assert_eq!(population_stability_index(&old, &BTreeMap::new()), 0.0);
}

/// Rows whose labels follow `softmax(logits / temperature)` exactly, as soft targets.
fn rows_at(temperature: f64, count: usize) -> Vec<CalibrationRow> {
    let mask = vec![true, true, true, false];
    (0..count)
        .map(|row| {
            let spread = row as f32 / 7.0;
            let logits = vec![spread, -spread, 0.3, 50.0];
            let targets = masked_softmax(&logits, &mask, temperature);
            CalibrationRow {
                logits: [logits.clone(), logits.clone(), logits.clone(), logits],
                masks: [
                    mask.clone(),
                    mask.clone(),
                    mask.clone(),
                    vec![false, true, false, false],
                ],
                targets: [targets.clone(), targets.clone(), targets.clone(), targets],
            }
        })
        .collect()
}

#[test]
fn temperature_is_recovered() {
    each(&[0.2, 0.7, 1.0, 2.5, 11.0], |&temperature| {
        let fitted = FittedTemperatures::fit(&rows_at(temperature, 40)).unwrap();
        let found = fitted.values();
        if (found[0] / temperature - 1.0).abs() > 1e-3 {
            return Err(format!("fitted {}", found[0]));
        }
        if found[3] != 1.0 || fitted.heads[3].rows != 0 {
            return Err("a head with one valid class was fitted".to_owned());
        }
        if fitted.heads[0].nll_after > fitted.heads[0].nll_before + 1e-12 {
            return Err("the likelihood got worse".to_owned());
        }
        Ok(())
    });
}

#[test]
fn few_rows_keep_temperature_one() {
    let fitted = FittedTemperatures::fit(&rows_at(3.0, 29)).unwrap();
    assert_eq!(fitted.values(), [1.0; 4]);
    assert_eq!(fitted.heads[0].rows, 29);
    assert_eq!(
        FittedTemperatures::fit(&[]).unwrap(),
        FittedTemperatures::identity()
    );
}

#[test]
fn temperature_stays_within_its_bounds() {
    let mut rows = rows_at(1.0, 40);
    for row in &mut rows {
        row.targets[0] = vec![0.0, 1.0, 0.0, 0.0];
    }
    let found = FittedTemperatures::fit(&rows).unwrap().values()[0];
    assert!((found / 20.0 - 1.0).abs() < 1e-3, "{found}");
}

#[test]
fn calibration_document_is_what_sessions_read() {
    let fitted = FittedTemperatures::fit(&rows_at(2.0, 40)).unwrap();
    let document = fitted.to_json(Some(0.04), Some("2026-02-03T10:00:00Z"));
    let read = Calibration::parse(document.to_string().as_bytes()).unwrap();
    assert_eq!(read.temperatures()["minutes"], fitted.values()[2]);
    assert_eq!(read.temperatures()["iterations"], 1.0);
    assert_eq!(document["validation_ece"], 0.04);
}

#[test]
fn logits_without_likelihood_are_refused() {
    let mut rows = rows_at(1.0, 40);
    rows[3].logits[1][0] = f32::NAN;
    let error = FittedTemperatures::fit(&rows).unwrap_err();
    assert_eq!(error.rule(), "calibration-logits");
}

#[test]
fn folds_hold_out_every_task_once() {
    let tasks: BTreeSet<String> = (0..23).map(|n| format!("task-{n}")).collect();
    let folds = grouped_folds(&tasks, 5, 1).unwrap();
    assert_eq!(folds, grouped_folds(&tasks, 5, 1).unwrap());
    assert_ne!(folds, grouped_folds(&tasks, 5, 2).unwrap());
    let mut held_out = Vec::new();
    for fold in &folds {
        assert!(fold.test.is_disjoint(&fold.train));
        assert!(fold.test.is_disjoint(&fold.validation));
        assert!(fold.train.is_disjoint(&fold.validation));
        let all = fold.test.len() + fold.train.len() + fold.validation.len();
        assert_eq!(all, tasks.len());
        held_out.extend(fold.test.iter().cloned());
    }
    held_out.sort();
    assert!(held_out.iter().eq(tasks.iter()));
    assert_eq!(
        grouped_folds(&tasks, 2, 1).unwrap_err().rule(),
        "fold-count"
    );
    assert_eq!(
        grouped_folds(&tasks, 24, 1).unwrap_err().rule(),
        "fold-count"
    );
}
