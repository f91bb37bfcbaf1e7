//! Checking models and inferring shapes, against the Python package `onnx`.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

mod agreement;
mod built;
mod hostile;
mod hostile_cases;
mod mutants;
mod operators;
mod real_models;
mod shapes;
mod support;
