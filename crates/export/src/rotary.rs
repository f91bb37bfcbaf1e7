//! Rotary positions (Su et al. 2021), in the arrangement that turns halves of a head.

use amphora_checkpoint::architecture::{Rotary, RotaryScaling};
use amphora_error::Result;
use amphora_onnx::Dtype;
use amphora_onnx::build::{Attribute, GraphBuilder, Value};

use crate::emitter::Emitter;

/// Cosines and sines of the angles, `[batch, 1, sequence, d_head / 2]`.
pub(crate) struct Rotation {
    cos: Value,
    sin: Value,
    half: i64,
}

/// The rotation of tokens at `places` (`[batch, sequence]`). Angles are products of float32 numbers, as
/// in the implementations that models are trained with: far from the start their rounding matters.
pub(crate) fn rotation(
    emitter: &mut Emitter<'_>,
    rotary: &Rotary,
    d_head: u64,
    places: &Value,
) -> Result<Rotation> {
    let half = d_head / 2;
    let speeds = emitter.buffer("rotary.inv_freq", &[half], || {
        (0..half).map(|pair| speed(rotary, pair, d_head)).collect()
    })?;
    let graph = &mut emitter.graph;
    let places = graph.cast(places, Dtype::Float32);
    let places = graph.unsqueeze(&places, &[1, 3]);
    let angles = graph.binary("Mul", &places, &speeds);
    let [mut cos, mut sin] = ["Cos", "Sin"].map(|wave| graph.unary(wave, &angles));
    if let RotaryScaling::Yarn {
        attention_factor, ..
    } = rotary.scaling
    {
        let factor = graph.scalar(attention_factor as f32);
        cos = graph.binary("Mul", &cos, &factor);
        sin = graph.binary("Mul", &sin, &factor);
    }
    Ok(Rotation {
        cos,
        sin,
        half: half as i64,
    })
}

impl Rotation {
    /// `x` of `[batch, heads, sequence, d_head]`, turned.
    pub(crate) fn turn(&self, graph: &mut GraphBuilder, x: &Value) -> Value {
        let [low, high] = graph.split(x, -1, [self.half; 2]);
        let mut product = |half: &Value, wave: &Value| graph.binary("Mul", half, wave);
        let (low_cos, high_sin) = (product(&low, &self.cos), product(&high, &self.sin));
        let (high_cos, low_sin) = (product(&high, &self.cos), product(&low, &self.sin));
        let turned_low = graph.binary("Sub", &low_cos, &high_sin);
        let turned_high = graph.binary("Add", &high_cos, &low_sin);
        let axis = [("axis", Attribute::Int(-1))];
        graph.node("Concat", &[&turned_low, &turned_high], &axis)
    }
}

/// By how much a pair turns from one position to the next, in radians. Every step is rounded to float32
/// where PyTorch rounds it.
fn speed(rotary: &Rotary, pair: u64, d_head: u64) -> f64 {
    let exponent = (2 * pair) as f32 / d_head as f32;
    let base = f64::from(rotary.theta as f32);
    let period = base.powf(f64::from(exponent)) as f32;
    let speed = 1.0 / period;
    let speed = match rotary.scaling {
        RotaryScaling::None => speed,
        RotaryScaling::Linear { factor } => speed / factor as f32,
        RotaryScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_context,
        } => {
            let factor = factor as f32;
            let length = std::f32::consts::TAU / speed;
            let turns = original_context as f32 / length;
            if f64::from(length) < original_context as f64 / high_freq_factor {
                speed
            } else if f64::from(length) > original_context as f64 / low_freq_factor {
                speed / factor
            } else {
                let spread = (high_freq_factor - low_freq_factor) as f32;
                let smooth = (turns - low_freq_factor as f32) / spread;
                (1.0 - smooth) * speed / factor + smooth * speed
            }
        }
        RotaryScaling::Yarn {
            factor,
            beta_fast,
            beta_slow,
            truncate,
            original_context,
            ..
        } => {
            // The pair that turns so often over the first training's context.
            let place = |turns: f64| {
                let length = original_context as f64 / (turns * std::f64::consts::TAU);
                d_head as f64 * length.ln() / (2.0 * rotary.theta.ln())
            };
            let (mut fast, mut slow) = (place(beta_fast), place(beta_slow));
            if truncate {
                (fast, slow) = (fast.floor(), slow.ceil());
            }
            let (fast, mut slow) = (fast.max(0.0), slow.min(d_head as f64 - 1.0));
            if fast == slow {
                slow += 0.001;
            }
            let ramp = (pair as f32 - fast as f32) / (slow - fast) as f32;
            let kept = 1.0 - ramp.clamp(0.0, 1.0);
            let slowed = 1.0 / (factor as f32 * period);
            slowed * (1.0 - kept) + speed * kept
        }
    };
    f64::from(speed)
}
