//! Rotary positions (Su et al. 2021) with the stretchings of longer contexts.

use amphora_checkpoint::architecture::{Rotary, RotaryScaling};
use candle_core::{Device, Tensor};

use crate::Precision;

/// How fast each pair of a head turns.
pub(crate) struct Angles {
    /// Radians from one position to the next, a number for each pair.
    speeds: Vec<f32>,
    precision: Precision,
}

impl Angles {
    /// Speeds and angles are rounded to float32 in either precision, as in the implementations that
    /// models are trained with: thousands of positions on, it is those angles that the weights know.
    pub(crate) fn new(rotary: &Rotary, d_head: usize, precision: Precision) -> Self {
        let plain = (0..d_head / 2).map(|pair| {
            let exponent = (2 * pair) as f32 / d_head as f32;
            let wavelength = f64::from(rotary.theta as f32).powf(exponent.into()) as f32;
            wavelength.recip()
        });
        Self {
            speeds: plain
                .map(|speed| stretched(rotary.scaling, speed))
                .collect(),
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
                .map(|angle| f64::from(function(*angle) as f32))
                .collect();
            Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.precision.dtype())
        };
        Ok((wave(f64::cos)?, wave(f64::sin)?))
    }
}

fn stretched(scaling: RotaryScaling, speed: f32) -> f32 {
    match scaling {
        RotaryScaling::None => speed,
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
