//! Random numbers that depend on nothing but the seed, the purpose and a counter.

use std::f64::consts::TAU;

/// What a stream of random numbers is for; streams of different purposes are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Initial weights; the counter is the parameter.
    Initial = 1,
    /// The order of the examples; the counter is the epoch.
    Order = 2,
    /// Dropout masks; the counter is the optimizer's step.
    Dropout = 3,
    /// Weights of the example groups of an ensemble member; the counter is the member.
    Ensemble = 4,
}

/// xoshiro256++ (Blackman and Vigna 2019), seeded through SplitMix64 (Steele et al. 2014).
///
/// Every use starts its own stream from a counter, so that training resumes at an epoch without any
/// stored generator.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream number `counter` of `purpose`.
    pub(crate) fn stream(seed: u64, purpose: Purpose, counter: u64) -> Self {
        let mut mixed = seed;
        for part in [purpose as u64, counter] {
            mixed = split_mix(&mut { mixed }) ^ part.wrapping_mul(0xd134_2543_de82_ef95);
        }
        Self {
            state: std::array::from_fn(|_| split_mix(&mut mixed)),
        }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Uniform in `[0, 1)`, with 53 random bits.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Standard normal (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// Shuffles in place (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            // A product of 128 bits: the bias of its upper half is below 2^-50 for any slice in memory here.
            let chosen = (u128::from(self.bits()) * (last as u128 + 1)) >> 64;
            items.swap(last, chosen as usize);
        }
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_gives_its_published_first_numbers() {
        let mut state = 1_234_567;
        let found: [u64; 3] = std::array::from_fn(|_| split_mix(&mut state));
        assert_eq!(
            found,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn streams_differ_by_seed_purpose_and_counter_and_repeat() {
        let first = |seed, purpose, counter| Random::stream(seed, purpose, counter).bits();
        let base = first(1, Purpose::Order, 0);
        assert_eq!(base, first(1, Purpose::Order, 0));
        assert_ne!(base, first(2, Purpose::Order, 0));
        assert_ne!(base, first(1, Purpose::Dropout, 0));
        assert_ne!(base, first(1, Purpose::Order, 1));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::stream(7, Purpose::Initial, 0);
        let n = 100_000;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / f64::from(n);
        let uniform: Vec<f64> = (0..n).map(|_| random.uniform()).collect();
        let normal: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let exponential: Vec<f64> = (0..n).map(|_| random.exponential()).collect();
        let squares: Vec<f64> = normal.iter().map(|x| x * x).collect();
        // Four standard errors each.
        assert!((mean(&uniform) - 0.5).abs() < 0.004);
        assert!(mean(&normal).abs() < 0.013);
        assert!((mean(&squares) - 1.0).abs() < 0.018);
        assert!((mean(&exponential) - 1.0).abs() < 0.013);
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::stream(3, Purpose::Order, 5).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
