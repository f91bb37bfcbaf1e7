//! The only place that reads the environment, besides the flags that `clap` fills from it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use amphora::{Error, OrtLocation, Result};

/// The value of a variable; empty counts as absent.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is the one crate that reads the environment"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// This program, to be started again.
pub(crate) fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|source| Error::from_io("looking for", "this program", source))
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

/// The folders in which commands are looked for.
pub(crate) fn path() -> Vec<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

/// Where ONNX Runtime may be: the library that `ORT_DYLIB_PATH` names, else Python environments
/// (active, on the `PATH`, in `AMPHORA_HOME`), `node_modules` here and in `AMPHORA_HOME`, and the
/// system's library folders.
pub(crate) fn ort_location() -> OrtLocation {
    let home = home();
    let mut python: Vec<PathBuf> = ["VIRTUAL_ENV", "CONDA_PREFIX"]
        .iter()
        .filter_map(|name| variable(name).map(PathBuf::from))
        .collect();
    python.extend(home.clone());
    for folder in path() {
        if folder.join("python3").is_file() {
            python.extend(folder.parent().map(Path::to_owned));
        }
    }
    python.extend(variable("HOME").map(|home| PathBuf::from(home).join(".local")));
    let node = [Some(PathBuf::from(".")), home].into_iter().flatten();
    OrtLocation {
        library: variable("ORT_DYLIB_PATH").map(PathBuf::from),
        python,
        node: node.collect(),
        system: true,
    }
}

/// `SOURCE_DATE_EPOCH` as text.
pub(crate) fn source_date_epoch() -> Option<String> {
    variable("SOURCE_DATE_EPOCH").map(|value| value.to_string_lossy().into_owned())
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
