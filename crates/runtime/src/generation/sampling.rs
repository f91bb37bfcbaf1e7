//! Which token comes next.

use std::collections::BTreeSet;

use amphora_bundle::manifest::Sampling;
use amphora_error::{Error, Result};

use super::random::Random;

/// Chooses tokens from logits.
///
/// In this order, each step only when it is set:
///
/// 1. repetition penalty `r` (Keskar et al. 2019, as Hugging Face applies it): the logit of every token
///    that occurred, in the prompt or since, is divided by `r` when it is positive and multiplied by
///    `r` otherwise;
/// 2. greedy choice, when nothing asks for drawing: the token of the largest logit, of several the one
///    with the lowest id. Drawing is asked for by a temperature above 0, or, without a temperature, by
///    one of top-k, top-p and min-p;
/// 3. top-k: the `k` largest logits stay; those equal to the smallest of them stay too;
/// 4. top-p (nucleus sampling, Holtzman et al. 2020): in the order of falling probability, ties by
///    rising id, tokens stay until their sum reaches `p`; the token that crosses `p` stays;
/// 5. min-p (Nguyen et al. 2024): tokens stay that have at least the fraction `min_p` of the largest
///    probability;
/// 6. temperature: the logits that are left are divided by it (1 when it is not set);
/// 7. one token is drawn from the softmax of those: with `u` uniform in `[0, 1)`, the first token, by
///    rising id, at which the running sum of probabilities exceeds `u`.
///
/// So the temperature does not change which tokens steps 3 to 5 leave, as in llama.cpp and unlike in
/// Hugging Face's `generate`, which divides first.
///
/// All is computed in `f64`, with an exponential function of Amphora's own build rather than the
/// system's, and `u` comes from SplitMix64 started with the seed. The same logits and the same seed
/// therefore give the same token on every machine.
#[derive(Debug, Clone)]
pub struct Sampler {
    /// `None`: greedy.
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    random: Random,
}

/// A token that may come next.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    token: u32,
    logit: f64,
}

impl Sampler {
    /// A sampler as `sampling` says, that draws by `seed`.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] listing every number out of range: temperature below 0,
    /// top-p outside (0, 1], min-p outside [0, 1], repetition penalty not above 0.
    pub fn new(sampling: &Sampling, seed: u64) -> Result<Self> {
        check(sampling)?;
        let narrowed =
            sampling.top_k.is_some() || sampling.top_p.is_some() || sampling.min_p.is_some();
        let temperature = match sampling.temperature {
            Some(temperature) => Some(temperature).filter(|&t| t > 0.0),
            None => narrowed.then_some(1.0),
        };
        Ok(Self {
            temperature,
            top_k: sampling.top_k.filter(|&k| k > 0).map(|k| k as usize),
            top_p: sampling.top_p.filter(|&p| p < 1.0),
            min_p: sampling.min_p.filter(|&p| p > 0.0),
            repetition_penalty: sampling.repetition_penalty.filter(|&r| r != 1.0),
            random: Random::new(seed),
        })
    }

    /// The next token, where `seen` are the tokens that occurred. Logits of minus infinity mark tokens
    /// that may not come.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Incompatible`] when a logit is NaN or plus infinity, or when no
    /// token is left.
    pub fn choose(&mut self, logits: &[f32], seen: &[u32]) -> Result<u32> {
        let candidates = self.candidates(logits, seen)?;
        let Some(temperature) = self.temperature else {
            return Ok(greedy(&candidates));
        };
        let weights = weights(&self.narrowed(candidates), temperature);
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        let aim = self.random.unit() * total;
        let mut sum = 0.0;
        let mut chosen = None;
        for (token, weight) in weights {
            sum += weight;
            if weight > 0.0 {
                chosen = Some(token);
            }
            if sum > aim {
                break;
            }
        }
        chosen.ok_or_else(none_left)
    }

    /// The distribution that [`Sampler::choose`] draws from: tokens by rising id with their
    /// probabilities. Of a greedy sampler, the one token with probability 1.
    ///
    /// # Errors
    ///
    /// Those of [`Sampler::choose`].
    pub fn probabilities(&self, logits: &[f32], seen: &[u32]) -> Result<Vec<(u32, f64)>> {
        let candidates = self.candidates(logits, seen)?;
        let Some(temperature) = self.temperature else {
            return Ok(vec![(greedy(&candidates), 1.0)]);
        };
        let weights = weights(&self.narrowed(candidates), temperature);
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        Ok(weights.into_iter().map(|(t, w)| (t, w / total)).collect())
    }

    /// The tokens that may come, by rising id, after the repetition penalty.
    fn candidates(&self, logits: &[f32], seen: &[u32]) -> Result<Vec<Candidate>> {
        let wrong = logits
            .iter()
            .position(|l| l.is_nan() || *l == f32::INFINITY);
        if let Some(token) = wrong {
            return Err(Error::incompatible(
                "logits-not-finite",
                "a logit of the model is not a finite number",
            )
            .at(format!("token {token}"))
            .found(logits[token].to_string()));
        }
        let mut values: Vec<f64> = logits.iter().map(|&logit| logit.into()).collect();
        if let Some(penalty) = self.repetition_penalty {
            for &token in &BTreeSet::from_iter(seen) {
                if let Some(value) = values.get_mut(*token as usize) {
                    *value = if *value > 0.0 {
                        *value / penalty
                    } else {
                        *value * penalty
                    };
                }
            }
        }
        let named = (0_u32..).zip(values);
        let allowed = named.filter(|(_, logit)| *logit > f64::NEG_INFINITY);
        let candidates: Vec<Candidate> = allowed
            .map(|(token, logit)| Candidate { token, logit })
            .collect();
        if candidates.is_empty() {
            return Err(none_left());
        }
        Ok(candidates)
    }

    /// Top-k, top-p and min-p.
    fn narrowed(&self, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        if let Some(k) = self.top_k.filter(|&k| k < candidates.len()) {
            let mut logits: Vec<f64> = candidates.iter().map(|c| c.logit).collect();
            let (_, smallest, _) = logits.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
            let smallest = *smallest;
            candidates.retain(|candidate| candidate.logit >= smallest);
        }
        if let Some(p) = self.top_p {
            let mut weights = weights(&candidates, 1.0);
            weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
            let mut sum = 0.0;
            let last = weights.iter().position(|(_, weight)| {
                sum += weight;
                sum >= p * total
            });
            weights.truncate(last.map_or(weights.len(), |last| last + 1));
            let kept: BTreeSet<u32> = weights.into_iter().map(|(token, _)| token).collect();
            candidates.retain(|candidate| kept.contains(&candidate.token));
        }
        if let Some(p) = self.min_p {
            let kept: BTreeSet<u32> = weights(&candidates, 1.0)
                .into_iter()
                .filter(|(_, weight)| *weight >= p)
                .map(|(token, _)| token)
                .collect();
            candidates.retain(|candidate| kept.contains(&candidate.token));
        }
        candidates
    }
}

/// The token of the largest logit; `candidates` are in the order of their ids, and not empty.
fn greedy(candidates: &[Candidate]) -> u32 {
    let best = candidates.iter().reduce(|best, candidate| {
        if candidate.logit > best.logit {
            candidate
        } else {
            best
        }
    });
    best.map_or(0, |candidate| candidate.token)
}

/// Probabilities relative to the largest, which is 1.
fn weights(candidates: &[Candidate], temperature: f64) -> Vec<(u32, f64)> {
    let largest = candidates
        .iter()
        .map(|candidate| candidate.logit)
        .fold(f64::NEG_INFINITY, f64::max);
    candidates
        .iter()
        .map(|c| (c.token, libm::exp((c.logit - largest) / temperature)))
        .collect()
}

fn none_left() -> Error {
    Error::incompatible("no-token", "no token may come next")
}

fn check(sampling: &Sampling) -> Result<()> {
    let rules = [
        (
            "temperature",
            sampling.temperature,
            "a finite number from 0",
            (|t| t >= 0.0) as fn(f64) -> bool,
        ),
        ("top-p", sampling.top_p, "above 0, at most 1", |p| {
            p > 0.0 && p <= 1.0
        }),
        ("min-p", sampling.min_p, "from 0 to 1", |p| {
            (0.0..=1.0).contains(&p)
        }),
        (
            "repetition penalty",
            sampling.repetition_penalty,
            "a finite number above 0",
            |r| r > 0.0,
        ),
    ];
    let faults: Vec<String> = rules
        .iter()
        .filter_map(|(name, value, expected, holds)| {
            let value = (*value)?;
            let fault = format!("{name}: expected {expected}, found {value}");
            (!value.is_finite() || !holds(value)).then_some(fault)
        })
        .collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::usage("sampling", "the sampling makes no sense").faults(faults))
}
