//! Directories with an older kind of manifest: what they take, who says so, what is refused, and the
//! bundles that are made of them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod answers;
mod engines;
mod feeding;
mod io;
mod proof;
mod scene;
