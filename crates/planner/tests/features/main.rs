//! Golden values of every field of the feature vector, at the documents' offsets.
//!
//! Expected buckets were computed apart (Python's `hashlib`).
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod issue;
mod layout;
mod runs;
mod scene;
mod surroundings;
