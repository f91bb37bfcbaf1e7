//! From an output of a graph towards an answer: the steps that a manifest may list.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::golden::finite;

/// One step from an output of the graph towards an answer. An output has each of them at most once, in
/// the order in which they stand here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Postprocessing {
    /// One vector for each sequence: `[batch, time, width]` becomes `[batch, width]`; the input
    /// `attention_mask` says which tokens count.
    Pooling {
        /// Which tokens the vector is made of.
        mode: Pooling,
    },
    /// Every vector along the last axis is divided by its Euclidean length.
    Normalize,
    /// Logits along the last axis become probabilities.
    Softmax {
        /// Divides the logits first; 1 when absent.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "finite"
        )]
        temperature: Option<f64>,
    },
    /// The names of the most probable classes along the last axis, from the labels of the bundle. The
    /// values are probabilities, by a softmax before this step or by the graph's own.
    Labels {
        /// How many are named; 5 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        top_k: Option<u32>,
    },
    /// The index of the largest value along the last axis; of equal ones the lowest.
    Argmax,
    /// The values are the samples of one sound, float32 around -1 to 1. No other step stands beside it.
    Audio {
        /// Samples per second of each channel.
        sample_rate: u32,
        /// 1 or 2; 1 when absent.
        #[serde(default = "one")]
        channels: u32,
        /// The order of the axes; `NCT` when absent.
        #[serde(default)]
        layout: AudioLayout,
    },
}

fn one() -> u32 {
    1
}

/// The order of the axes of a tensor of sounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum AudioLayout {
    /// `[batch, channels, samples]`
    #[default]
    Nct,
    /// `[batch, samples, channels]`
    Ntc,
    /// `[batch, samples]`, of one channel.
    Nt,
}

impl AudioLayout {
    /// What is wrong with a sound of this layout.
    pub fn fault(self, sample_rate: u32, channels: u32) -> Option<&'static str> {
        match (sample_rate, channels, self) {
            (0, _, _) => Some("`sample_rate` is 0"),
            (_, 2, Self::Nt) => Some("the layout NT has no axis for two channels"),
            (_, 1 | 2, _) => None,
            _ => Some("`channels` is neither 1 nor 2"),
        }
    }
}

/// Which tokens stand for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean of all tokens that are not padding.
    Mean,
    /// The first token.
    Cls,
    /// The last token that is not padding.
    Last,
}

/// How many classes are named where a manifest does not say.
const DEFAULT_LABELS: u32 = 5;

/// What the step makes of an output, for people.
impl fmt::Display for Postprocessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pooling { mode } => f.write_str(match mode {
                Pooling::Mean => "the mean over its tokens",
                Pooling::Cls => "its first token",
                Pooling::Last => "its last token",
            }),
            Self::Normalize => f.write_str("division by its length"),
            Self::Softmax { temperature: None } => f.write_str("softmax"),
            Self::Softmax {
                temperature: Some(temperature),
            } => write!(f, "softmax at temperature {temperature}"),
            Self::Argmax => f.write_str("the index of its largest value"),
            Self::Labels { top_k } => {
                write!(
                    f,
                    "naming the {} best classes",
                    top_k.unwrap_or(DEFAULT_LABELS)
                )
            }
            Self::Audio {
                sample_rate,
                channels,
                ..
            } => match channels {
                1 => write!(f, "taking it for a sound of {sample_rate} Hz"),
                _ => write!(
                    f,
                    "taking it for a sound of {sample_rate} Hz in {channels} channels"
                ),
            },
        }
    }
}

impl Postprocessing {
    /// What is wrong with `steps`, whatever output they are applied to: a temperature that is not
    /// positive, no class to name, a sound that cannot be, or an order that makes no sense, such as
    /// probabilities of probabilities.
    ///
    /// ```
    /// use amphora_bundle::manifest::Postprocessing::{Argmax, Labels, Softmax};
    ///
    /// let (softmax, labels) = (Softmax { temperature: None }, Labels { top_k: Some(3) });
    /// assert_eq!(amphora_bundle::manifest::Postprocessing::fault(&[softmax.clone(), labels]), None);
    /// assert!(amphora_bundle::manifest::Postprocessing::fault(&[Argmax, softmax]).is_some());
    /// ```
    pub fn fault(steps: &[Self]) -> Option<String> {
        for step in steps {
            match step {
                Self::Softmax {
                    temperature: Some(temperature),
                } if !(*temperature > 0.0 && temperature.is_finite()) => {
                    return Some(format!("the temperature {temperature} is not positive"));
                }
                Self::Labels { top_k: Some(0) } => {
                    return Some("top_k is 0: no class would be named".to_owned());
                }
                Self::Audio { .. } if steps.len() > 1 => {
                    return Some("audio cannot stand beside another step".to_owned());
                }
                Self::Audio {
                    sample_rate,
                    channels,
                    layout,
                } => return layout.fault(*sample_rate, *channels).map(str::to_owned),
                _ => {}
            }
        }
        let places = steps.windows(2).find_map(|pair| match pair {
            [first, second] if first.place() >= second.place() => Some((first, second)),
            _ => None,
        });
        places.map(|(first, second)| {
            let order = Self::WORDS[..5].join(", ");
            format!(
                "{} cannot follow {}: the order is {order}, each at most once",
                second.word(),
                first.word()
            )
        })
    }

    /// The steps in their order, and the one that stands alone.
    const WORDS: [&str; 6] = [
        "pooling",
        "normalize",
        "softmax",
        "labels",
        "argmax",
        "audio",
    ];

    fn place(&self) -> usize {
        match self {
            Self::Pooling { .. } => 0,
            Self::Normalize => 1,
            Self::Softmax { .. } => 2,
            Self::Labels { .. } => 3,
            Self::Argmax => 4,
            Self::Audio { .. } => 5,
        }
    }

    fn word(&self) -> &'static str {
        Self::WORDS[self.place()]
    }
}
