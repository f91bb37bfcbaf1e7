//! Which engines are at hand.

use std::path::PathBuf;

use crate::engine::{EngineChoice, engine};
use crate::engines::OrtLocation;
use crate::engines::ort::library::{Attempt, attempts};

/// What is known about one engine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EngineReport {
    /// The word that selects it.
    pub name: &'static str,
    /// Whether it can be used.
    pub usable: bool,
    /// Its version, when it is usable.
    pub version: Option<String>,
    /// Why it cannot be used.
    pub reason: Option<String>,
    /// The libraries that were found for it, in the order in which they are tried.
    pub libraries: Vec<LibraryReport>,
}

/// A library that an engine could be loaded from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LibraryReport {
    /// The file.
    pub path: PathBuf,
    /// Whether this process uses it.
    pub in_use: bool,
    /// Why it is not used.
    pub reason: Option<String>,
}

/// Looks at every engine: versions, the paths tried, and why not. Loads ONNX Runtime when it is found.
pub fn doctor(location: &OrtLocation) -> Vec<EngineReport> {
    [EngineChoice::Rten, EngineChoice::Ort, EngineChoice::Tract]
        .into_iter()
        .map(|choice| {
            let libraries = match choice {
                EngineChoice::Ort => libraries(location),
                _ => Vec::new(),
            };
            let (version, reason) = match engine(choice, location) {
                Ok(engine) => (Some(engine.version()), None),
                Err(error) => (None, Some(error.to_string())),
            };
            EngineReport {
                name: choice.word(),
                usable: version.is_some(),
                version,
                reason,
                libraries,
            }
        })
        .collect()
}

fn libraries(location: &OrtLocation) -> Vec<LibraryReport> {
    let candidates = location.candidates();
    let attempts = attempts(&candidates);
    let described = candidates.into_iter().zip(attempts);
    described
        .map(|(path, attempt)| LibraryReport {
            path,
            in_use: matches!(attempt, Attempt::InUse(_)),
            reason: match attempt {
                Attempt::InUse(_) => None,
                Attempt::Refused(error) => Some(error.to_string()),
                Attempt::Occupied => Some("another library is in use".to_owned()),
            },
        })
        .collect()
}
