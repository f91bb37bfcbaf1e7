//! Rotary positions (Su et al. 2021), in both spellings of their keys: `rope_theta` beside
//! `rope_scaling`, and `rope_parameters` with everything in it.

use amphora_error::quoted;
use serde_json::{Map, Value, json};

use super::super::config::{MAX_SIZE, Reader};

/// Base of the angles where a configuration names none.
const DEFAULT_THETA: f64 = 10_000.0;

/// How queries and keys are turned by their positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rotary {
    /// Base of the angles: pair `i` of `d_head` turns by `theta^(-2i / d_head)` for each position.
    pub theta: f64,
    /// How the angles are stretched for longer contexts.
    pub scaling: RotaryScaling,
}

/// How angles are stretched for contexts longer than those of the first training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RotaryScaling {
    /// Not at all.
    None,
    /// All divided by a factor (Chen et al. 2023).
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Slow ones divided by a factor, fast ones kept, those between mixed (Llama 3.1, Dubey et al.
    /// 2024).
    Llama3 {
        /// The factor.
        factor: f64,
        /// Angles that turn less often than this over the first training's context are slow.
        low_freq_factor: f64,
        /// Angles that turn more often than this over it are fast.
        high_freq_factor: f64,
        /// The first training's context.
        original_context: u64,
    },
    /// As `Llama3`, mixed over the pairs of a head instead of their frequencies, and what attention reads
    /// is made larger (YaRN, Peng et al. 2023).
    Yarn {
        /// The factor.
        factor: f64,
        /// Pairs before the one that turns this often over the first training's context are fast.
        beta_fast: f64,
        /// Pairs behind the one that turns this often over it are slow.
        beta_slow: f64,
        /// Whether these two are whole numbers.
        truncate: bool,
        /// Cosines and sines are multiplied by it.
        attention_factor: f64,
        /// The first training's context.
        original_context: u64,
    },
}

impl Rotary {
    /// Reads the keys of a model with `context` tokens at most.
    pub(super) fn read(object: &Map<String, Value>, context: u64, reader: &mut Reader) -> Self {
        let group = |key: &str| object.get(key).filter(|value| !value.is_null());
        let spellings = [
            ("rope_parameters", group("rope_parameters")),
            ("rope_scaling", group("rope_scaling")),
        ];
        if let [(_, Some(new)), (_, Some(old))] = spellings
            && new != old
        {
            reader.invalid("`rope_parameters` and `rope_scaling` contradict each other");
        }
        let empty = Map::new();
        let mut key = "rope_parameters";
        let mut scaling = &empty;
        if let Some((name, value)) = spellings
            .into_iter()
            .find_map(|(name, value)| Some((name, value?)))
        {
            key = name;
            match value.as_object() {
                Some(object) => scaling = object,
                None => reader.invalid(format!("`{key}`: expected a mapping")),
            }
        }
        let place = match scaling.contains_key("rope_theta") {
            true => scaling,
            false => object,
        };
        let theta = reader.real_or(
            place,
            "rope_theta",
            DEFAULT_THETA,
            "a number above 1",
            |real| real > 1.0 && real <= 1e12,
        );
        for place in [scaling, object] {
            let part = reader.real_or(place, "partial_rotary_factor", 1.0, "a number", |_| true);
            if part != 1.0 {
                reader.unsupported("`partial_rotary_factor`: only 1 is implemented");
            }
        }
        let kind = scaling.get("rope_type").or_else(|| scaling.get("type"));
        let scaling = match kind.map(Value::as_str) {
            None | Some(Some("default")) => RotaryScaling::None,
            Some(Some("linear")) => RotaryScaling::Linear {
                factor: factor(scaling, reader, "factor"),
            },
            Some(Some("llama3")) => {
                let low_freq_factor = factor(scaling, reader, "low_freq_factor");
                let high_freq_factor = factor(scaling, reader, "high_freq_factor");
                if high_freq_factor <= low_freq_factor {
                    reader.invalid(format!(
                        "`{key}`: `high_freq_factor` = {high_freq_factor} is not above \
                         `low_freq_factor` = {low_freq_factor}"
                    ));
                }
                let original = "original_max_position_embeddings";
                RotaryScaling::Llama3 {
                    factor: factor(scaling, reader, "factor"),
                    low_freq_factor,
                    high_freq_factor,
                    original_context: reader.size(scaling, original, 1..=MAX_SIZE),
                }
            }
            Some(Some("yarn")) => yarn(scaling, context, reader),
            Some(kind) => {
                let found = kind.map_or("something else".to_owned(), |k| quoted(k).to_string());
                reader.unsupported(format!(
                    "`{key}`: only default, linear, llama3 and yarn are implemented, found {found}"
                ));
                RotaryScaling::None
            }
        };
        Self { theta, scaling }
    }

    /// As `rope_parameters` holds it.
    pub(super) fn document(&self) -> Value {
        match self.scaling {
            RotaryScaling::None => json!({"rope_type": "default", "rope_theta": self.theta}),
            RotaryScaling::Linear { factor } => {
                json!({"rope_type": "linear", "rope_theta": self.theta, "factor": factor})
            }
            RotaryScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_context,
            } => json!({
                "rope_type": "llama3",
                "rope_theta": self.theta,
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_context,
            }),
            RotaryScaling::Yarn {
                factor,
                beta_fast,
                beta_slow,
                truncate,
                attention_factor,
                original_context,
            } => json!({
                "rope_type": "yarn",
                "rope_theta": self.theta,
                "factor": factor,
                "beta_fast": beta_fast,
                "beta_slow": beta_slow,
                "truncate": truncate,
                "attention_factor": attention_factor,
                "original_max_position_embeddings": original_context,
            }),
        }
    }
}

/// The defaults are those of `transformers`: 32 and 1 turns, whole pairs, the context that the model has,
/// and by how much attention is made larger follows from the factor.
fn yarn(scaling: &Map<String, Value>, context: u64, reader: &mut Reader) -> RotaryScaling {
    let original = "original_max_position_embeddings";
    let original_context = reader.size_or(scaling, original, 1..=MAX_SIZE, context);
    let mut real = |key: &str, default: f64| {
        let positive = |real: f64| real > 0.0 && real <= 1e6;
        reader.real_or(scaling, key, default, "a positive number", positive)
    };
    let factor = real("factor", context as f64 / original_context as f64);
    let larger = |times: f64| match factor > 1.0 {
        true => 0.1 * times * factor.ln() + 1.0,
        false => 1.0,
    };
    let attention_factor = match ["mscale", "mscale_all_dim"].map(|key| real(key, 0.0)) {
        [times, all] if times > 0.0 && all > 0.0 => larger(times) / larger(all),
        _ => larger(1.0),
    };
    let attention_factor = real("attention_factor", attention_factor);
    let [beta_fast, beta_slow] = [real("beta_fast", 32.0), real("beta_slow", 1.0)];
    if beta_fast <= beta_slow {
        reader.invalid(format!(
            "`beta_fast` = {beta_fast} is not above `beta_slow` = {beta_slow}"
        ));
    }
    RotaryScaling::Yarn {
        factor,
        beta_fast,
        beta_slow,
        truncate: reader.flag_or(scaling, "truncate", true),
        attention_factor,
        original_context,
    }
}

/// A positive number that must be there.
fn factor(object: &Map<String, Value>, reader: &mut Reader, key: &str) -> f64 {
    if object.get(key).is_none_or(Value::is_null) {
        reader.invalid(format!("`{key}` of the rotary positions is missing"));
        return 1.0;
    }
    let positive = |real: f64| real > 0.0 && real <= 1e6;
    reader.real_or(object, key, 1.0, "a positive number", positive)
}
