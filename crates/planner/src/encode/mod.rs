//! A planner's input as numbers: a sparse vector of features, or a sequence of tokens.
//!
//! Both encodings are fixed by data: widths and values that depend on actions follow the action space,
//! everything else is the same in every bundle. [`FeatureSchema::digest`] names the layout of the
//! vector, so that a model is never fed with another.

mod bins;
mod features;
mod hash;
mod tokenizer_config;
mod tokens;
mod vocabulary;

pub use features::{FeatureSchema, Field, FieldKind, SparseVector};
pub use tokenizer_config::{MAX_SIMILAR_RUNS, TokenizerConfig};
pub use tokens::{TokenBatch, Tokenizer};
pub use vocabulary::Vocabulary;

/// Tags that count, the first ones: an input may have more.
const MAX_TAGS: usize = 32;
/// Keywords that count, the first ones.
const MAX_KEYWORDS: usize = 16;
