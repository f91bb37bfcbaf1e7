//! The only place that reads the environment, besides the flags that `clap` fills from it.

use std::ffi::OsString;
use std::path::PathBuf;

/// The value of a variable; empty counts as absent.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// `AMPHORA_HOME`, else the platform's data directory.
pub(crate) fn home() -> Option<PathBuf> {
    if let Some(home) = variable("AMPHORA_HOME") {
        return Some(home.into());
    }
    let user = || variable("HOME").map(PathBuf::from);
    let data = if cfg!(target_os = "macos") {
        user().map(|home| home.join("Library/Application Support"))
    } else {
        variable("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(|| user().map(|home| home.join(".local/share")))
    };
    data.map(|data| data.join("amphora"))
}

/// What to log.
pub(crate) fn log_filter() -> Option<String> {
    variable("AMPHORA_LOG").map(|value| value.to_string_lossy().into_owned())
}

/// Whether `AMPHORA_JSON` asks for JSON, read before the command line is parsed.
pub(crate) fn wants_json() -> bool {
    variable("AMPHORA_JSON").is_some_and(|value| {
        let value = value.to_string_lossy().to_ascii_lowercase();
        matches!(value.as_str(), "1" | "true" | "yes" | "y" | "on" | "t")
    })
}
