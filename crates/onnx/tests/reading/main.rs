//! Reading and writing models, through the public door.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

mod bytes; // Damaged encodings: the wire format itself.
mod contract; // What a graph promises to its callers.
mod fixtures; // Real models: contracts, external data, round trips.
mod mutations; // Random damage never panics.
mod sample; // The model that the other tests edit.
mod tensors; // Hostile tensors and external data, each beside a healthy twin.
mod writing; // Inline, data file, alignment, determinism.
