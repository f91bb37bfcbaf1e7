//! Finding and loading the library of ONNX Runtime, once for the process.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use amphora_error::{Error, Result};
use amphora_files::OpenedFile;
use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::engine::{guarded, shortened};
use crate::engines::OrtLocation;

/// The oldest version that is accepted; the binding is compiled against its interface.
const OLDEST: &str = "1.17";
/// Largest library that is searched for its version, in bytes.
const LARGEST: u64 = 1 << 30;

/// The library that this process uses.
#[derive(Debug)]
pub(crate) struct Library {
    /// The file it was loaded from.
    pub(crate) path: PathBuf,
    /// Its version, or `unknown`.
    pub(crate) version: String,
    /// The environment of all sessions: ONNX Runtime allows one for a process.
    pub(crate) environment: Environment,
}

static LOADED: OnceLock<Library> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// What became of one candidate.
pub(crate) enum Attempt {
    /// The process uses it.
    InUse(&'static Library),
    /// It is not usable.
    Refused(Error),
    /// Another library is in use, and there is one for a process.
    Occupied,
}

/// Tries the candidates in order until one is in use; later ones are not touched.
pub(crate) fn attempts(candidates: &[PathBuf]) -> Vec<Attempt> {
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    let attempt = |path: &PathBuf| match LOADED.get() {
        Some(loaded) if same_file(path, &loaded.path) => Attempt::InUse(loaded),
        Some(_) => Attempt::Occupied,
        None => match open(path) {
            Ok(library) => Attempt::InUse(LOADED.get_or_init(|| library)),
            Err(error) => Attempt::Refused(error),
        },
    };
    candidates.iter().map(attempt).collect()
}

/// Loads the first usable library of `location`, or gives the one that is loaded already when it is
/// among the candidates.
pub(crate) fn load(location: &OrtLocation) -> Result<&'static Library> {
    let mut refusals = Vec::new();
    let mut occupied = false;
    for attempt in attempts(&location.candidates()) {
        match attempt {
            Attempt::InUse(library) => return Ok(library),
            Attempt::Refused(error) => refusals.push(error),
            Attempt::Occupied => occupied = true,
        }
    }
    if let Some(loaded) = LOADED.get().filter(|_| occupied) {
        return Err(Error::unsupported(
            "ort-library",
            "this process uses another library of ONNX Runtime, and there is one for a process",
        )
        .found(loaded.path.display().to_string()));
    }
    Err(match refusals.len() {
        0 => Error::unsupported("ort-library", "no library of ONNX Runtime was found").hint(
            "install it, for example with 'pip install onnxruntime', or name it with ORT_DYLIB_PATH",
        ),
        1 => refusals.remove(0),
        _ => Error::unsupported("ort-library", "no usable library of ONNX Runtime was found")
            .faults(refusals.iter().map(ToString::to_string).collect())
            .hint(HINT),
    })
}

const HINT: &str = "install ONNX Runtime 1.17 or newer, or choose the engine rten";

/// The library in use, if one was loaded.
pub(crate) fn loaded() -> Option<&'static Library> {
    LOADED.get()
}

fn open(path: &Path) -> Result<Library> {
    let refuse = |message: &str, reason: String| {
        Error::unsupported("ort-library", message.to_owned())
            .found(shortened(&reason))
            .in_file(path)
            .hint(HINT)
    };
    // A relative name would be searched for elsewhere by the dynamic linker.
    let absolute = fs_err::canonicalize(path)
        .map_err(|source| Error::from_io("opening the library", path, source))?;
    guarded("ort", "loading its library", || {
        let builder = ort::init_from(&absolute).map_err(|source| match source {
            ort::LoadDynamicError::BadVersion { version_str, .. } => {
                Error::unsupported("ort-version", "this version of ONNX Runtime is too old")
                    .expected(format!("{OLDEST} or newer"))
                    .found(version_str)
                    .in_file(path)
                    .hint(HINT)
            }
            other => refuse("the library cannot be loaded", other.to_string()),
        })?;
        let environment = builder
            .with_name("amphora")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .build()
            .map_err(|source| refuse("ONNX Runtime does not start", source.to_string()))?;
        environment.set_log_level(LogLevel::Warning);
        Ok(Library {
            path: path.to_owned(),
            version: version(&absolute),
            environment,
        })
    })
}

fn log(level: LogLevel, category: &str, _id: &str, place: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::error!(category, place, "{message}"),
        LogLevel::Warning => tracing::warn!(category, place, "{message}"),
        LogLevel::Info => tracing::info!(category, place, "{message}"),
        LogLevel::Verbose => tracing::trace!(category, place, "{message}"),
    }
}

/// The version: from the file's name (`libonnxruntime.so.1.31.1`), else from the symbol version
/// (`VERS_1.31.1`) that releases for Linux carry.
fn version(path: &Path) -> String {
    let name = path.file_name().and_then(|name| name.to_str());
    let suffix = name
        .and_then(|name| name.split_once(".so."))
        .map(|(_, suffix)| suffix);
    if let Some(suffix) = suffix.filter(|suffix| suffix.contains('.')) {
        return suffix.to_owned();
    }
    OpenedFile::open(path)
        .and_then(|file| file.contents(LARGEST))
        .ok()
        .and_then(|bytes| symbol_version(&bytes))
        .unwrap_or_else(|| "unknown".to_owned())
}

fn symbol_version(library: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"\0VERS_";
    let start = library.windows(MARK.len()).position(|w| w == MARK)? + MARK.len();
    let digits = library.get(start..)?.iter();
    let text: Vec<u8> = digits
        .copied()
        .take_while(|b| b.is_ascii_digit() || *b == b'.')
        .take(32)
        .collect();
    String::from_utf8(text)
        .ok()
        .filter(|text| text.contains('.'))
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (fs_err::canonicalize(a), fs_err::canonicalize(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_symbol_version_is_read() {
        let rows: [(&[u8], Option<&str>); 3] = [
            (b"abc\0VERS_1.31.1\0def", Some("1.31.1")),
            (b"abc\0VERS_\0", None),
            (b"VERS", None),
        ];
        for (bytes, expected) in rows {
            assert_eq!(super::symbol_version(bytes).as_deref(), expected);
        }
    }
}
