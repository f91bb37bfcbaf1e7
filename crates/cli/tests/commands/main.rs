//! The `amphora` command as its users see it: exit code, stdout, stderr.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

// The scratch directory, the command and its filtered answer.
mod scene;

// Each command, succeeding and failing, as a snapshot.
mod snapshots;
// Bad input to each command gives its kind and exit code.
mod refusals;
// What every command keeps: one JSON object, two streams, environment, no control bytes.
mod conventions;
// `planner decide`: the action, the reasons, the record.
mod decide;
// Packing: the same id everywhere, what a bundle holds, damage that is named.
mod bundles;
// The reference fixtures, from file to answer.
mod fixtures;
mod generate;
// The pages inside a bundle.
mod pages;
// Old manifests, SavedModels, checkpoint directories.
mod packages;
// Engines in processes of their own: which models, what is remembered, no orphans.
mod walls;
// The planner: recorded trials to archives, datasets and winners.
mod planner_data;
mod planner_walls;
// From recorded runs to a planner that decides, as a newcomer sees it.
mod quickstart;
// The planner: a dataset to a checkpoint, a verdict, a bundle.
mod planner_learn;
// Full disks, read-only places, signals, closed pipes.
mod weather;
