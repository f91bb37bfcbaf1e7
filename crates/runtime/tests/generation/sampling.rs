//! Choosing tokens, against the definitions written down once more.

use std::collections::BTreeMap;

use amphora_bundle::manifest::Sampling;
use amphora_runtime::generation::Sampler;

use crate::scene::Numbers;

/// The distribution that tokens are drawn from, straight from the definitions.
fn defined(logits: &[f32], seen: &[u32], sampling: &Sampling) -> Vec<(u32, f64)> {
    let mut kept: Vec<(u32, f64)> = (0..).zip(logits.iter().map(|&l| l.into())).collect();
    for (token, logit) in &mut kept {
        if let (true, Some(penalty)) = (seen.contains(token), sampling.repetition_penalty) {
            *logit = if *logit > 0.0 {
                *logit / penalty
            } else {
                *logit * penalty
            };
        }
    }
    kept.retain(|(_, logit)| *logit != f64::NEG_INFINITY);
    if let Some(k) = sampling.top_k.filter(|&k| k > 0) {
        let all = kept.clone();
        kept.retain(|(_, l)| all.iter().filter(|(_, other)| other > l).count() < k as usize);
    }
    if let Some(p) = sampling.top_p {
        let all = softmax(&kept, 1.0);
        let before = |token: u32, own: f64| -> f64 {
            all.iter()
                .filter(|(t, other)| *other > own || (*other == own && *t < token))
                .map(|(_, probability)| probability)
                .sum()
        };
        let stays: Vec<u32> = all
            .iter()
            .filter(|(token, own)| before(*token, *own) < p)
            .map(|(token, _)| *token)
            .collect();
        kept.retain(|(token, _)| stays.contains(token));
    }
    if let Some(p) = sampling.min_p {
        let all = softmax(&kept, 1.0);
        let most = all.iter().map(|(_, own)| *own).fold(0.0, f64::max);
        let stays = |token: &u32| all.iter().any(|(t, own)| t == token && *own >= p * most);
        kept.retain(|(token, _)| stays(token));
    }
    softmax(&kept, sampling.temperature.unwrap_or(1.0))
}

fn softmax(logits: &[(u32, f64)], temperature: f64) -> Vec<(u32, f64)> {
    let powers = logits.iter().map(|(t, l)| (*t, (l / temperature).exp()));
    let powers: Vec<(u32, f64)> = powers.collect();
    let total: f64 = powers.iter().map(|(_, power)| power).sum();
    powers
        .iter()
        .map(|(t, power)| (*t, power / total))
        .collect()
}

/// Between -6 and 6, with ties.
fn logits(numbers: &mut Numbers, count: usize) -> Vec<f32> {
    (0..count)
        .map(|_| numbers.below(480) as f32 / 40.0 - 6.0)
        .collect()
}

fn settings() -> Vec<Sampling> {
    let mut all = Vec::new();
    for temperature in [None, Some(0.3), Some(2.5)] {
        for top_k in [None, Some(1), Some(7), Some(1000)] {
            for top_p in [None, Some(0.35), Some(0.9), Some(1.0)] {
                for min_p in [None, Some(0.05), Some(1.0)] {
                    for repetition_penalty in [None, Some(1.3), Some(0.8)] {
                        let sampling = Sampling {
                            temperature,
                            top_k,
                            top_p,
                            min_p,
                            repetition_penalty,
                        };
                        let drawn = temperature.is_some() || top_k.is_some();
                        if drawn || top_p.is_some() || min_p.is_some() {
                            all.push(sampling);
                        }
                    }
                }
            }
        }
    }
    all
}

#[test]
fn every_setting_gives_the_defined_distribution() {
    let mut numbers = Numbers(17);
    let cases: Vec<(Sampling, Vec<f32>, Vec<u32>)> = settings()
        .into_iter()
        .map(|sampling| {
            let mut logits = logits(&mut numbers, 60);
            logits[numbers.below(60) as usize] = f32::NEG_INFINITY;
            let seen = (0..8).map(|_| numbers.below(64)).collect();
            (sampling, logits, seen)
        })
        .collect();
    amphora_testing::each(&cases, |(sampling, logits, seen)| {
        let sampler = Sampler::new(sampling, 0).unwrap();
        let found = sampler.probabilities(logits, seen).unwrap();
        let expected = defined(logits, seen, sampling);
        let ids = |all: &[(u32, f64)]| all.iter().map(|(t, _)| *t).collect::<Vec<_>>();
        if ids(&found) != ids(&expected) {
            return Err(format!("{:?}, not {:?}", ids(&found), ids(&expected)));
        }
        let worst = found.iter().zip(&expected).map(|(a, b)| (a.1 - b.1).abs());
        let worst = worst.fold(0.0, f64::max);
        if worst < 1e-12 {
            Ok(())
        } else {
            Err(format!("differs by {worst}"))
        }
    });
}

#[test]
fn tokens_come_as_often_as_their_probability_says() {
    const DRAWS: usize = 40_000;
    let mut numbers = Numbers(23);
    for seed in [0, 1, u64::MAX] {
        let logits: Vec<f32> = (0..12).map(|_| numbers.below(300) as f32 / 100.0).collect();
        let sampling = Sampling {
            temperature: Some(1.2),
            ..Sampling::default()
        };
        let mut sampler = Sampler::new(&sampling, seed).unwrap();
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for _ in 0..DRAWS {
            *counts
                .entry(sampler.choose(&logits, &[]).unwrap())
                .or_default() += 1;
        }
        let statistic: f64 = defined(&logits, &[], &sampling)
            .into_iter()
            .map(|(token, probability)| {
                let expected = probability * DRAWS as f64;
                let found = counts.get(&token).copied().unwrap_or(0) as f64;
                (found - expected).powi(2) / expected
            })
            .sum();
        // One in 10,000 of the chi-squared distribution with 11 degrees of freedom lies beyond.
        assert!(statistic < 37.4, "seed {seed}: {statistic}");
    }
}

#[test]
fn a_seed_gives_the_same_tokens_on_every_machine() {
    let sampling = Sampling {
        temperature: Some(1.5),
        ..Sampling::default()
    };
    // Computed in Python from the published definition of SplitMix64.
    let recorded = [(42, DRAWN_BY_42), (43, DRAWN_BY_43)];
    for (seed, expected) in recorded {
        let mut sampler = Sampler::new(&sampling, seed).unwrap();
        let found = expected.map(|_| sampler.choose(&[0.0, 1.0, 2.0, 3.0], &[]).unwrap());
        assert_eq!(found, expected, "seed {seed}");
    }
}

const DRAWN_BY_42: [u32; 24] = [
    3, 1, 2, 2, 0, 3, 2, 3, 2, 3, 1, 3, 3, 3, 3, 1, 1, 3, 1, 3, 3, 1, 3, 3,
];
const DRAWN_BY_43: [u32; 24] = [
    3, 3, 2, 3, 0, 1, 2, 3, 3, 1, 3, 1, 3, 3, 2, 2, 0, 0, 2, 3, 1, 3, 3, 1,
];

#[test]
fn greedy_takes_the_lowest_of_equal_tokens() {
    let greedy = |sampling: &Sampling, logits: &[f32], seen: &[u32]| {
        let mut sampler = Sampler::new(sampling, 9).unwrap();
        sampler.choose(logits, seen).unwrap()
    };
    let none = Sampling::default();
    assert_eq!(greedy(&none, &[1.0, 3.0, 3.0, 2.0], &[]), 1);
    assert_eq!(greedy(&none, &[f32::NEG_INFINITY, -5.0], &[]), 1);
    let zero = Sampling {
        temperature: Some(0.0),
        top_k: Some(3),
        ..none.clone()
    };
    assert_eq!(greedy(&zero, &[1.0, 3.0, 3.0, 2.0], &[]), 1);
    let penalty = Sampling {
        repetition_penalty: Some(2.0),
        ..none
    };
    assert_eq!(greedy(&penalty, &[1.0, 3.0, 3.0, 2.0], &[1, 1, 7]), 2);
    assert_eq!(greedy(&penalty, &[-1.0, -3.0], &[0]), 0);
    assert_eq!(greedy(&penalty, &[-1.0, -1.5], &[0]), 1);
}

#[test]
fn logits_that_mean_nothing_are_refused() {
    let mut sampler = Sampler::new(&Sampling::default(), 0).unwrap();
    let rows: [(&[f32], &str); 4] = [
        (&[0.0, f32::NAN], "logits-not-finite"),
        (&[0.0, f32::INFINITY], "logits-not-finite"),
        (&[f32::NEG_INFINITY], "no-token"),
        (&[], "no-token"),
    ];
    amphora_testing::each(&rows, |(logits, rule)| {
        let error = sampler.choose(logits, &[]).unwrap_err();
        if error.rule() == *rule {
            Ok(())
        } else {
            Err(format!("{error:?}"))
        }
    });
}

#[test]
fn settings_out_of_range_are_refused_together() {
    let sampling = Sampling {
        temperature: Some(-1.0),
        top_k: Some(5),
        top_p: Some(0.0),
        min_p: Some(1.5),
        repetition_penalty: Some(0.0),
    };
    let error = Sampler::new(&sampling, 0).unwrap_err();
    assert_eq!(error.rule(), "sampling");
    assert_eq!(error.fault_list().len(), 4, "{error}");
    let sampling = Sampling {
        temperature: Some(f64::NAN),
        ..Sampling::default()
    };
    assert_eq!(Sampler::new(&sampling, 0).unwrap_err().rule(), "sampling");
}
