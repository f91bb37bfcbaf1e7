//! SIGINT and SIGTERM: stop, and leave nothing half-written.

use std::sync::Arc;

use amphora::{Error, ErrorKind, Result};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

/// Ends the process with 130 or 143 when a signal arrives, after removing what was being staged.
///
/// Nothing under a final name can be half-written: everything is written to a temporary sibling
/// and renamed. The staged siblings themselves are removed here, so that an interrupted command
/// leaves no trace.
pub(crate) fn watch() -> Result<()> {
    let failed = |source| {
        Error::internal("signals", "the signal handlers cannot be installed").caused_by(source)
    };
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    // A write beyond the limit on file sizes then fails like any other, instead of killing the
    // process in the middle of it.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(failed)?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            amphora::discard_staged();
            let kind = match signal {
                SIGTERM => ErrorKind::Terminated,
                _ => ErrorKind::Interrupted,
            };
            // The main thread may be inside an engine: it cannot be asked to return, and clean-up at
            // exit would pull its memory away from under it.
            signal_hook::low_level::exit(i32::from(kind.exit_code()));
        }
    });
    Ok(())
}
