//! `tokenizer_config.json`: how inputs become numbers, beside the action space and the vocabulary.

use amphora_error::{Error, Result};
use amphora_files::json;
use serde::{Deserialize, Serialize};

use super::FeatureSchema;
use super::features::TAG_BUCKETS;

/// Most earlier runs in a token sequence: the vocabulary has so many `[RUN_i]`.
pub const MAX_SIMILAR_RUNS: usize = 16;
/// Shortest sequence: `[BOS]` and `[EOS]`.
const MIN_LEN: usize = 2;
/// Longest sequence accepted, in tokens.
const MAX_LEN: usize = 65_536;

/// `tokenizer_config.json`; a closed object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerConfig {
    /// Earlier runs in the feature vector.
    pub n_history_slots: usize,
    /// Buckets for tags in the feature vector.
    pub n_tag_buckets: u32,
    /// Width of the feature vector.
    pub d_in: usize,
    /// Most earlier runs in the token sequence, up to [`MAX_SIMILAR_RUNS`].
    #[serde(default = "default_similar_runs")]
    pub max_similar_runs: usize,
    /// Most tokens for each of them, without its separator.
    #[serde(default = "default_tokens_per_run")]
    pub max_tokens_per_run: usize,
    /// Most tokens of the sequence, `[EOS]` included.
    #[serde(default = "default_len")]
    pub max_len: usize,
}

fn default_similar_runs() -> usize {
    8
}

fn default_tokens_per_run() -> usize {
    64
}

fn default_len() -> usize {
    512
}

impl TokenizerConfig {
    /// The configuration for a layout of features: as many earlier runs in the sequence as in the
    /// vector, 64 tokens for each, 512 in all.
    pub fn new(schema: &FeatureSchema) -> Self {
        Self {
            n_history_slots: schema.history_slots(),
            n_tag_buckets: TAG_BUCKETS,
            d_in: schema.width(),
            max_similar_runs: schema.history_slots().min(MAX_SIMILAR_RUNS),
            max_tokens_per_run: default_tokens_per_run(),
            max_len: default_len(),
        }
    }

    /// Reads `tokenizer_config.json` strictly.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let config: Self = json::parse_into(bytes)?;
        config.check()?;
        Ok(config)
    }

    /// The bytes of `tokenizer_config.json`.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        json::to_pretty_bytes(self)
    }

    /// Whether sequences can be made at all.
    pub fn check(&self) -> Result<()> {
        let rows = [
            (
                "max_similar_runs",
                self.max_similar_runs,
                0,
                MAX_SIMILAR_RUNS,
            ),
            ("max_tokens_per_run", self.max_tokens_per_run, 1, MAX_LEN),
            ("max_len", self.max_len, MIN_LEN, MAX_LEN),
        ];
        for (name, found, least, most) in rows {
            if !(least..=most).contains(&found) {
                return Err(Error::malformed(
                    "tokenizer-config",
                    "the tokenizer cannot be configured like this",
                )
                .at(name)
                .expected(format!("{least} to {most}"))
                .found(found.to_string()));
            }
        }
        Ok(())
    }
}
