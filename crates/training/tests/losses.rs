//! Losses against brute force, and their gradients against finite differences.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_training::loss::{
    ClassTarget, HeadTarget, binary_cross_entropy, censored_duration, cross_entropy,
    expected_duration, log_deviation, sigmoid,
};

const LOGITS: [f64; 4] = [0.3, -1.2, 2.0, 700.0];

fn close(found: f64, expected: f64) -> Result<(), String> {
    match (found - expected).abs() <= 1e-6 * (1.0 + expected.abs()) {
        true => Ok(()),
        false => Err(format!("{found}, not {expected}")),
    }
}

#[test]
fn masked_cross_entropy_is_the_sum_over_the_valid_classes() {
    let class = ClassTarget::Class;
    let soft = |shares: &[f32]| ClassTarget::Soft(shares.to_vec());
    let cases = [
        (class(0), [true, true, true, false], 0.0),
        (class(2), [true, true, true, false], 0.1),
        (class(1), [false, true, true, false], 0.2),
        (class(3), [true, true, true, true], 0.1),
        (soft(&[1.0, 3.0, 0.0, 0.0]), [true, true, true, false], 0.1),
    ];
    amphora_testing::each(&cases, |(target, valid, smoothing)| {
        let target = HeadTarget {
            target: target.clone(),
            valid: valid.to_vec(),
        };
        let q = target.probabilities(*smoothing).unwrap();
        close(q.iter().sum(), 1.0)?;
        let sum: f64 = (0..4)
            .filter(|i| valid[*i])
            .map(|i| (LOGITS[i] - 700.0).exp())
            .sum();
        let brute: f64 = (0..4)
            .filter(|i| valid[*i])
            .map(|i| -q[i] * (LOGITS[i] - 700.0 - sum.ln()))
            .sum();
        let loss =
            |logits: &[f64], gradient: &mut [f64]| cross_entropy(logits, valid, &q, 2.0, gradient);
        let mut gradient = [0.0; 4];
        let found = loss(&LOGITS, &mut gradient);
        assert!(found.is_finite());
        close(found, brute)?;
        for i in 0..4 {
            let mut shifted = LOGITS;
            shifted[i] += 1e-5;
            let above = loss(&shifted, &mut [0.0; 4]);
            shifted[i] -= 2e-5;
            let numeric = (above - loss(&shifted, &mut [0.0; 4])) / 2e-5;
            close(gradient[i], 2.0 * numeric)?;
            assert!(
                valid[i] || gradient[i] == 0.0,
                "a masked class has a gradient"
            );
        }
        Ok::<(), String>(())
    });
}

#[test]
fn smoothing_stays_within_the_valid_classes() {
    let target = HeadTarget {
        target: ClassTarget::Class(1),
        valid: vec![false, true, true, false],
    };
    let q = target.probabilities(0.1).unwrap();
    assert_eq!(q[0], 0.0);
    assert!((q[1] - 0.95).abs() < 1e-12 && (q[2] - 0.05).abs() < 1e-12);
    let forced = HeadTarget {
        target: ClassTarget::Class(1),
        valid: vec![false, true],
    };
    let q = forced.probabilities(0.1).unwrap();
    let mut gradient = [0.0; 2];
    assert_eq!(
        cross_entropy(&[5.0, -3.0], &forced.valid, &q, 1.0, &mut gradient),
        0.0
    );
    assert_eq!(gradient, [0.0; 2]);
}

#[test]
fn labels_that_are_not_valid_are_refused() {
    let cases = [
        ClassTarget::Class(0),
        ClassTarget::Class(9),
        ClassTarget::Soft(vec![0.5, 0.5]),
        ClassTarget::Soft(vec![0.0, 0.0]),
        ClassTarget::Soft(vec![0.0, f32::NAN]),
        ClassTarget::Soft(vec![1.0]),
    ];
    amphora_testing::each(&cases, |target| {
        let target = HeadTarget {
            target: target.clone(),
            valid: vec![false, true],
        };
        match target.probabilities(0.1) {
            Err(error) if error.rule() == "training-label" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn binary_cross_entropy_is_finite_everywhere() {
    amphora_testing::each(&[-800.0, -3.0, 0.0, 0.7, 800.0], |logit| {
        for target in [false, true] {
            let mut gradient = 0.0;
            let found = binary_cross_entropy(*logit, target, 1.0, &mut gradient);
            let p = sigmoid(if target { *logit } else { -logit });
            let brute = if p > 0.0 { -p.ln() } else { logit.abs() };
            close(found, brute)?;
            let at = |x: f64| binary_cross_entropy(x, target, 1.0, &mut 0.0);
            close(gradient, (at(logit + 1e-5) - at(logit - 1e-5)) / 2e-5)?;
        }
        Ok::<(), String>(())
    });
}

/// The mean of `f` under the standard normal density above `from`, by the midpoint rule.
fn integral(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let steps = 400_000;
    let width = (to - from) / f64::from(steps);
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    let terms = (0..steps).map(|i| from + width * (f64::from(i) + 0.5));
    terms.map(|x| f(x) * density(x) * width).sum()
}

#[test]
fn a_censored_duration_has_the_likelihood_of_lasting_longer() {
    let cases = [
        (0.0, 0.0, 0.5),
        (1.0, -0.4, 0.2),
        (2.0, 1.5, 6.0),
        (-1.0, -8.0, 9.0),
    ];
    amphora_testing::each(&cases, |(mean, raw, observed)| {
        let deviation = log_deviation(*raw).exp();
        let z = (observed - mean) / deviation;
        if z < 8.0 {
            let tail = integral(z, z.max(0.0) + 12.0, |_| 1.0);
            let found = censored_duration([*mean, *raw], *observed, true, 1.0, &mut [0.0; 2]);
            close(found, -tail.ln())?;
        }
        let exact = censored_duration([*mean, *raw], *observed, false, 1.0, &mut [0.0; 2]);
        close(exact, 0.5 * z * z + deviation.ln())?;
        for censored in [false, true] {
            let mut gradient = [0.0; 2];
            censored_duration([*mean, *raw], *observed, censored, 1.5, &mut gradient);
            for part in 0..2 {
                let at = |shift: f64| {
                    let mut x = [*mean, *raw];
                    x[part] += shift;
                    censored_duration(x, *observed, censored, 1.0, &mut [0.0; 2])
                };
                let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                let off = (gradient[part] - 1.5 * numeric).abs();
                if off > 1e-5 * (1.0 + gradient[part].abs()) {
                    return Err(format!(
                        "part {part}: {}, not {}",
                        gradient[part],
                        1.5 * numeric
                    ));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn the_expected_duration_is_that_of_a_log_normal_cut_at_the_limit() {
    let cases = [
        (1.0, 0.5, Some(3.0)),
        (2.0, 1.2, Some(0.5)),
        (0.0, 0.3, Some(50.0)),
        (1.5, 0.8, None),
    ];
    amphora_testing::each(&cases, |(mean, deviation, limit)| {
        let brute = integral(-12.0, 12.0, |z| {
            (mean + deviation * z)
                .exp()
                .min(limit.unwrap_or(f64::INFINITY))
        });
        close(expected_duration(*mean, *deviation, *limit), brute)
    });
}
