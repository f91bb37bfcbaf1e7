//! The element-wise functions between layers, and what configurations call them.

use serde_json::{Map, Value};

use super::config::Reader;

/// An element-wise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * (1 + erf(x / sqrt(2))) / 2`, the exact Gaussian error linear unit.
    Gelu,
    /// Its approximation with a hyperbolic tangent.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Every spelling of `transformers`; the first of each is written.
    const WORDS: [(&'static str, Self); 11] = [
        ("gelu", Self::Gelu),
        ("gelu_python", Self::Gelu),
        ("gelu_new", Self::GeluTanh),
        ("gelu_pytorch_tanh", Self::GeluTanh),
        ("gelu_python_tanh", Self::GeluTanh),
        ("gelu_fast", Self::GeluTanh),
        ("gelu_accurate", Self::GeluTanh),
        ("relu", Self::Relu),
        ("silu", Self::Silu),
        ("swish", Self::Silu),
        ("tanh", Self::Tanh),
    ];

    /// What configurations call it.
    pub(super) fn word(self) -> &'static str {
        let mut words = Self::WORDS.iter();
        words.find(|(_, it)| *it == self).map_or("", |row| row.0)
    }

    /// The one that a configuration names under `key`.
    pub(super) fn read(
        reader: &mut Reader,
        object: &Map<String, Value>,
        key: &str,
        default: Self,
    ) -> Self {
        let Some(value) = object.get(key).filter(|value| !value.is_null()) else {
            return default;
        };
        let mut known = Self::WORDS.iter();
        if let Some((_, activation)) = known.find(|(word, _)| value.as_str() == Some(word)) {
            return *activation;
        }
        let words = Self::WORDS.map(|(word, _)| word);
        reader.unsupported(format!(
            "`{key}`: only {} are implemented, found {}",
            words.join(", "),
            super::config::shown(value)
        ));
        default
    }
}
