//! Files that lie, with the answer each must get; a development crate that no other crate ships.
//!
//! * [`cases`]: every [`Case`]: a hostile file, a healthy twin that differs in one field, the command
//!   that is given each, the kind of error and the place that the message must name.
//! * [`parse`]: one function for each fuzz target in `fuzz/`; [`seeds`]: what the targets start from.
#![forbid(unsafe_code)]

mod bundle;
mod case;
mod checkpoint;
mod onnx;
pub mod parse;
mod seeds;

pub use case::{Answer, Case, Form, Outcome};
pub use seeds::{TARGETS, Target, seeds};

/// Every case, in the order of the rows.
pub fn cases() -> Vec<Case> {
    let mut cases = reading();
    cases.extend(onnx::running::cases());
    cases.sort_by_key(|case| case.row);
    cases
}

/// The cases whose files a parser has to withstand, rather than an engine.
fn reading() -> Vec<Case> {
    let mut cases = onnx::cases();
    cases.extend(checkpoint::cases());
    cases.extend(bundle::cases());
    cases.sort_by_key(|case| case.row);
    cases
}
