//! The amphora command line.
fn main() {}
