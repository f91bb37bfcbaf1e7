//! `amphora engine-process`, which no person types: the other end of an isolated engine.

use std::io::{self, Write as _};

use amphora::{Result, isolate};

use crate::commands::Verdict;

pub(crate) fn run() -> Result<Verdict> {
    let served = isolate::serve(&mut io::stdin().lock(), io::stdout());
    if let Err(error) = &served {
        let _ = writeln!(io::stderr(), "{error}");
    }
    // A model may still be running: clean-up at exit would pull its memory away from under it.
    signal_hook::low_level::exit(i32::from(served.is_err()));
}
