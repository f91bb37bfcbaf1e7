//! Rotary positions (Su et al. 2021) with the stretchings of longer contexts.

use amphora_checkpoint::architecture::{Rotary, RotaryScaling};
use candle_core::{Device, Tensor};

use crate::Precision;

/// How fast each pair of a head turns.
pub(crate) struct Angles {
    /// Radians from one position to the next, a number for each pair.
    speeds: Vec<f32>,
    /// Cosines and sines are multiplied by it.
    scale: f64,
    precision: Precision,
}

impl Angles {
    /// Speeds and angles are rounded to float32 in either precision, as in the implementations that
    /// models are trained with: thousands of positions on, it is those angles that the weights know.
    pub(crate) fn new(rotary: &Rotary, d_head: usize, precision: Precision) -> Self {
        let pairs = 0..d_head / 2;
        let speeds = pairs.map(|pair| {
            let exponent = (2 * pair) as f32 / d_head as f32;
            let wavelength = f64::from(rotary.theta as f32).powf(exponent.into()) as f32;
            match rotary.scaling {
                RotaryScaling::Yarn { .. } => by_pair(rotary, pair, d_head, wavelength.recip()),
                scaling => stretched(scaling, wavelength.recip()),
            }
        });
        Self {
            speeds: speeds.collect(),
            scale: match rotary.scaling {
                RotaryScaling::Yarn {
                    attention_factor, ..
                } => attention_factor,
                _ => 1.0,
            },
            precision,
        }
    }

    /// Cosines and sines of the angles at `places`, `[batch, 1, time, d_head]`: every pair twice, once
    /// for each half of a head.
    pub(crate) fn waves(&self, places: &[Vec<u32>]) -> candle_core::Result<(Tensor, Tensor)> {
        let time = places.first().map_or(0, Vec::len);
        let shape = (places.len(), 1, time, 2 * self.speeds.len());
        let twice = || self.speeds.iter().chain(&self.speeds);
        let angles = places
            .iter()
            .flatten()
            .flat_map(|place| twice().map(move |speed| f64::from(*place as f32 * speed)));
        let angles: Vec<f64> = angles.collect();
        let wave = |function: fn(f64) -> f64| {
            let values: Vec<f64> = angles
                .iter()
                .map(|angle| f64::from((function(*angle) * self.scale) as f32))
                .collect();
            Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.precision.dtype())
        };
        Ok((wave(f64::cos)?, wave(f64::sin)?))
    }
}

fn stretched(scaling: RotaryScaling, speed: f32) -> f32 {
    match scaling {
        RotaryScaling::None | RotaryScaling::Yarn { .. } => speed,
        RotaryScaling::Linear { factor } => speed / factor as f32,
        RotaryScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_context,
        } => {
            // Turns over the first training's context, and how far that is from slow (0) to fast (1).
            let turns = original_context as f32 * speed / std::f32::consts::TAU;
            let low = low_freq_factor as f32;
            let fast = (turns - low) / (high_freq_factor as f32 - low);
            let fast = fast.clamp(0.0, 1.0);
            let slowed = speed / factor as f32;
            (1.0 - fast) * slowed + fast * speed
        }
    }
}

/// YaRN: the pair that turns `beta` times over the first training's context is the one with
/// `theta^(2 i / d_head) = original_context / (2 pi beta)`; before that of the fast ones speeds are kept,
/// behind that of the slow ones they are divided, and between the two they are mixed evenly.
fn by_pair(rotary: &Rotary, pair: usize, d_head: usize, speed: f32) -> f32 {
    let RotaryScaling::Yarn {
        factor,
        beta_fast,
        beta_slow,
        truncate,
        original_context,
        ..
    } = rotary.scaling
    else {
        return speed;
    };
    let pair_of = |beta: f64| {
        let turns = original_context as f64 / std::f64::consts::TAU / beta;
        turns.log(rotary.theta) * d_head as f64 / 2.0
    };
    let whole = |pair: f64, rounded: f64| if truncate { rounded } else { pair };
    let (first, last) = (pair_of(beta_fast), pair_of(beta_slow));
    let first = whole(first, first.floor()).max(0.0);
    let last = whole(last, last.ceil()).min(d_head as f64 - 1.0);
    let width = if last == first { 0.001 } else { last - first };
    let slowness = ((pair as f64 - first) / width).clamp(0.0, 1.0) as f32;
    slowness * (speed / factor as f32) + (1.0 - slowness) * speed
}
