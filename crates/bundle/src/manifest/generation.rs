//! `spec.generation`: how a language model writes.

use std::num::NonZeroU32;

use amphora_files::RelativePath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::golden::finite;

/// Two graphs that write text: one reads the prompt, one continues it a token at a time. The cache
/// goes from one to the next by name: `present_key_i` is fed as `past_key_i`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// The graph that reads the prompt.
    pub prefill: String,
    /// The graph that continues.
    pub decode: String,
    /// Most tokens of prompt and answer together, where the model has a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// Most positions that are read in one call, of all prompts together. A graph computes the logits of
    /// every position it reads; a longer prompt is read in parts, the first by `prefill` and the others
    /// by `decode`, which must then take several positions at once. All at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions_per_call: Option<NonZeroU32>,
    /// The tokens that end an answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop_token_ids: Vec<u32>,
    /// The token that fills up the shorter prompts of a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad_token_id: Option<u32>,
    /// The template that turns a conversation into a prompt, where it is a file of its own;
    /// `tokenizer_config.json` may hold one too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<RelativePath>,
    /// How tokens are chosen unless the caller says otherwise; greedily when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
}

/// How tokens are drawn; what is absent is off.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Divides the logits.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "finite"
    )]
    pub temperature: Option<f64>,
    /// Only the k most probable tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Only the most probable tokens that together reach this probability.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "finite"
    )]
    pub top_p: Option<f64>,
    /// Only tokens with at least this fraction of the largest probability.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "finite"
    )]
    pub min_p: Option<f64>,
    /// Makes tokens that occurred less likely.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "finite"
    )]
    pub repetition_penalty: Option<f64>,
}

impl Sampling {
    /// The broken rule, if there is one.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let fraction = |value: Option<f64>| value.is_none_or(|value| value > 0.0 && value <= 1.0);
        let positive = |value: Option<f64>| value.is_none_or(|value| value > 0.0);
        if self.temperature.is_some_and(|value| value < 0.0) {
            return Some("the temperature is negative");
        }
        if self.top_k == Some(0) {
            return Some("top_k is 0");
        }
        if !fraction(self.top_p)
            || self
                .min_p
                .is_some_and(|value| !(0.0..=1.0).contains(&value))
        {
            return Some("top_p or min_p is no probability");
        }
        if !positive(self.repetition_penalty) {
            return Some("the repetition penalty is not positive");
        }
        None
    }
}
