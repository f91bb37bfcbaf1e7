//! Bundles made from the reference fixtures, verified through the public door.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

mod assets;
mod golden;
mod hostile;
mod planners;
mod support;
