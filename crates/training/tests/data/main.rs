//! From recorded trials to datasets: what gets in, what does not, and that it is always the same.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

// Simulated archives in a scratch directory, and archives planted among them.
mod scene;

// Import: archives that say what the trials say.
mod import;
// Nothing from the future, no sibling, no copy; the same bytes whatever the order.
mod leakage;
// From when on an outcome is known.
mod ends;
// Copies under a new name, and siblings that lost their input.
mod copies;
// The parts, their hash, and what may be in two of them.
mod parts;
// World runs beside archives.
mod worlds;
// Row 107: what a dataset refuses or reports.
mod poison;
// Datasets and benches on disk.
mod files;
// Winners, statistics, the simulator.
mod outcomes;
// The recordings beside the checkout.
mod recordings;
