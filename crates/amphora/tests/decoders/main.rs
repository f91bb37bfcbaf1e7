//! Language models of Hugging Face directories: exported, run, compared with PyTorch, with a reference
//! and with another implementation.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod candle;
mod families;
mod files;
mod fixtures;
mod peers;
mod rotary;
mod support;
