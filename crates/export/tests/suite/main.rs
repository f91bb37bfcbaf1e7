//! Exported graphs against the recorded outputs of PyTorch, on two engines.
#![expect(
    clippy::unwrap_used,
    reason = "a helper of the tests that fails is a failed test"
)]

mod embedded;
mod options;
mod peers;
mod support;
