//! SIGINT and SIGTERM: stop, and leave nothing half-written.

use amphora::{Error, ErrorKind, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Ends the process with 130 or 143 when a signal arrives, after removing what was being staged.
///
/// Nothing under a final name can be half-written: everything is written to a temporary sibling
/// and renamed. The staged siblings themselves are removed here, so that an interrupted command
/// leaves no trace.
pub(crate) fn watch() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|source| {
        Error::internal("signals", "the signal handlers cannot be installed").caused_by(source)
    })?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            amphora::discard_staged();
            let kind = match signal {
                SIGTERM => ErrorKind::Terminated,
                _ => ErrorKind::Interrupted,
            };
            #[expect(
                clippy::exit,
                reason = "the main thread may be inside an engine and cannot be asked to return"
            )]
            std::process::exit(i32::from(kind.exit_code()));
        }
    });
    Ok(())
}
