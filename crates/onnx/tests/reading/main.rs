//! Reading and writing models, through the public door.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

mod bytes; // Damaged encodings: the wire format itself.
mod contract; // What a graph promises to its callers.
mod fixtures; // Real models: contracts, external data, round trips.
mod limits; // Each limit, to the unit.
mod mutations; // Random damage never panics.
mod payloads; // Every dtype in every field that may hold it.
mod references; // Hostile external data, beside a healthy twin.
mod sample; // The model that the other tests edit.
mod tensors; // Hostile tensors, beside a healthy twin.
mod wire; // Encoded models, written byte by byte.
mod writing; // Inline, data file, alignment, determinism.
