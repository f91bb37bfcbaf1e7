//! AdamW against a dense one, and clipping.

use super::*;
use crate::model::{Purpose, Random};

fn parameter(name: &str, shape: [usize; 2], table: bool, random: &mut Random) -> Parameter {
    let values = (0..shape[0] * shape[1]).map(|_| random.normal() as f32);
    Parameter {
        name: name.to_owned(),
        values: values.collect(),
        shape: shape.to_vec(),
        table,
    }
}

/// A table and a plain parameter, with gradients that touch some rows in each of 40 steps.
fn run(table: bool, settle_every: usize) -> (Vec<Parameter>, AdamW, Vec<Vec<Vec<f64>>>) {
    let (rows, width) = (9, 19);
    let mut random = Random::stream(1, Purpose::Initial, 0);
    let mut parameters = vec![
        parameter("table", [rows, width], table, &mut random),
        parameter("plain", [3, 5], false, &mut random),
    ];
    let mut adam = AdamW::new(AdamWConfig::default(), &parameters);
    let mut seen = Vec::new();
    for step in 0..40 {
        // The last row is never touched.
        let touched: Vec<u32> = (0..rows as u32 - 1)
            .filter(|row| (step * 7 + *row as usize * 3) % 5 < 2)
            .collect();
        let values: Vec<f32> = (0..touched.len() * width)
            .map(|_| random.normal() as f32)
            .collect();
        let plain: Vec<f32> = (0..15).map(|_| random.normal() as f32).collect();
        let mut dense = vec![0.0; rows * width];
        for (row, values) in touched.iter().zip(values.chunks(width)) {
            dense[*row as usize * width..][..width].copy_from_slice(values);
        }
        let widen = |x: &[f32]| x.iter().copied().map(f64::from).collect();
        seen.push(vec![widen(&dense), widen(&plain)]);
        if table {
            adam.settle(&mut parameters, 0, &touched);
        }
        let first = match table {
            true => Gradient::Rows(touched, values),
            false => Gradient::Dense(dense),
        };
        let rate = cosine(step, 40, 1e-2, 1e-4);
        adam.step(&mut parameters, &[first, Gradient::Dense(plain)], rate);
        if step % settle_every == 0 {
            adam.settle_all(&mut parameters);
        }
    }
    adam.settle_all(&mut parameters);
    (parameters, adam, seen)
}

#[test]
fn owed_steps_give_the_bits_of_plain_adamw() {
    let (dense, ..) = run(false, 1);
    for settle_every in [1, 13, 1000] {
        let (sparse, ..) = run(true, settle_every);
        for (sparse, dense) in sparse.iter().zip(&dense) {
            assert_eq!(sparse.values, dense.values, "{}", sparse.name);
        }
    }
}

/// PyTorch's single-tensor algorithm, in f64.
#[test]
fn steps_are_those_of_the_published_algorithm() {
    let (found, _, gradients) = run(true, 1000);
    let mut random = Random::stream(1, Purpose::Initial, 0);
    let start = [
        parameter("table", [9, 19], true, &mut random),
        parameter("plain", [3, 5], false, &mut random),
    ];
    for (index, start) in start.iter().enumerate() {
        for (element, value) in start.values.iter().enumerate() {
            let (mut p, mut m, mut v) = (f64::from(*value), 0.0, 0.0);
            for (step, gradients) in gradients.iter().enumerate() {
                let g = gradients[index][element];
                let rate = cosine(step, 40, 1e-2, 1e-4);
                p *= 1.0 - rate * 0.01;
                m += (g - m) * (1.0 - 0.9);
                v = 0.999 * v + (1.0 - 0.999) * g * g;
                let power = step as i32 + 1;
                let denominator = (v.sqrt() / (1.0 - 0.999_f64.powi(power)).sqrt()) + 1e-8;
                p -= rate / (1.0 - 0.9_f64.powi(power)) * m / denominator;
            }
            let off = (f64::from(found[index].values[element]) - p).abs();
            // Forty steps of three roundings each.
            let allowed = 120.0 * f64::from(f32::EPSILON) / 2.0 * (1.0 + p.abs());
            assert!(off < allowed, "{} {element}: off by {off}", start.name);
        }
    }
}

#[test]
fn a_restored_optimizer_goes_on_as_if_nothing_had_happened() {
    let (parameters, adam, _) = run(true, 13);
    let moments = adam
        .moments()
        .map(|(m, v)| (m.to_vec(), v.to_vec()))
        .collect();
    let rates = (0..40).map(|step| cosine(step, 40, 1e-2, 1e-4));
    let restored = AdamW::restore(AdamWConfig::default(), &parameters, moments, rates).unwrap();
    assert_eq!(restored, adam);
    let wrong = AdamW::restore(
        AdamWConfig::default(),
        &parameters,
        vec![],
        std::iter::empty(),
    );
    assert_eq!(wrong.unwrap_err().rule(), "training-state");
}

#[test]
fn clipping_keeps_the_direction_and_stops_at_what_is_not_finite() {
    let gradients = || {
        vec![
            Gradient::Dense(vec![3.0, 0.0]),
            Gradient::Rows(vec![2], vec![4.0]),
        ]
    };
    let mut clipped = gradients();
    assert_eq!(clip(&mut clipped, 1.0).unwrap(), 5.0);
    assert!((norm(&clipped) - 1.0).abs() < 1e-6);
    assert!((clipped[0].values()[0] - 0.6).abs() < 1e-6);
    let mut kept = gradients();
    clip(&mut kept, 10.0).unwrap();
    assert_eq!(kept, gradients());
    for bad in [f32::NAN, f32::INFINITY] {
        let refused = clip(&mut [Gradient::Dense(vec![bad])], 1.0).unwrap_err();
        assert_eq!(refused.rule(), "training-gradient");
    }
}

#[test]
fn the_schedule_is_half_a_cosine() {
    for (epoch, expected) in [
        (0, 1e-4),
        (50, (1e-4 + 1e-6) / 2.0),
        (100, 1e-6),
        (150, 1e-6),
    ] {
        let found = cosine(epoch, 100, 1e-4, 1e-6);
        assert!((found - expected).abs() < 1e-18, "{epoch}: {found}");
    }
}
