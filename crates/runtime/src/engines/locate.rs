//! Where a library of ONNX Runtime may be.

use std::path::{Path, PathBuf};

/// Where to look for the library of ONNX Runtime.
///
/// The places are given by the caller; nothing is read from the environment here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrtLocation {
    /// The library file itself. When given it is the only candidate.
    pub library: Option<PathBuf>,
    /// Python installations, virtual environments or `site-packages` folders that may contain the
    /// package `onnxruntime`.
    pub python: Vec<PathBuf>,
    /// Folders that may contain `node_modules/onnxruntime-node`.
    pub node: Vec<PathBuf>,
    /// Whether to look at the library folders of the system too.
    pub system: bool,
}

/// Library folders of the system, in the order of the dynamic linker's defaults.
const SYSTEM: [&str; 8] = [
    "/usr/local/lib",
    "/usr/local/lib64",
    "/opt/onnxruntime/lib",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/opt/homebrew/lib",
];

impl OrtLocation {
    /// The explicit library and nothing else.
    pub fn library(path: impl Into<PathBuf>) -> Self {
        Self {
            library: Some(path.into()),
            ..Self::default()
        }
    }

    /// The library files to try, in order: the explicit one alone, or those found in Python packages,
    /// npm packages and system folders.
    pub fn candidates(&self) -> Vec<PathBuf> {
        if let Some(library) = &self.library {
            return vec![library.clone()];
        }
        let mut found = Vec::new();
        for root in &self.python {
            for packages in python_packages(root) {
                libraries(&packages.join("onnxruntime/capi"), &mut found);
            }
        }
        for root in &self.node {
            let package = root.join("node_modules/onnxruntime-node/bin");
            for napi in children(&package, "napi-v") {
                libraries(&napi.join(NODE_PLATFORM), &mut found);
            }
        }
        if self.system {
            for folder in SYSTEM {
                libraries(Path::new(folder), &mut found);
            }
        }
        found
    }
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
const NODE_PLATFORM: &str = "linux/arm64";
#[cfg(all(target_os = "linux", not(target_arch = "aarch64")))]
const NODE_PLATFORM: &str = "linux/x64";
#[cfg(all(target_os = "macos", target_arch = "aarch64"))]
const NODE_PLATFORM: &str = "darwin/arm64";
#[cfg(all(target_os = "macos", not(target_arch = "aarch64")))]
const NODE_PLATFORM: &str = "darwin/x64";
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
const NODE_PLATFORM: &str = "win32/x64";

/// The `site-packages` folders beneath a Python installation, or `root` when it is one itself.
fn python_packages(root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![root.to_owned(), root.join("Lib/site-packages")];
    for lib in ["lib", "lib64"] {
        for python in children(&root.join(lib), "python3") {
            folders.push(python.join("site-packages"));
            folders.push(python.join("dist-packages"));
        }
    }
    folders
}

/// Adds the libraries of ONNX Runtime in `folder`, the newest name first: wheels carry
/// `libonnxruntime.so.<version>` without a plain `.so`.
fn libraries(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut here: Vec<PathBuf> = children(folder, "libonnxruntime.")
        .into_iter()
        .chain(children(folder, "onnxruntime.dll"))
        .filter(|path| path.is_file())
        .collect();
    here.reverse();
    // Links such as `libonnxruntime.so.1` lead to a file that is in the list already.
    let mut seen: Vec<PathBuf> = Vec::new();
    for path in here {
        let real = fs_err::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if !seen.contains(&real) {
            seen.push(real);
            found.push(path);
        }
    }
}

/// The entries of a folder whose names begin with `prefix`, sorted by name; none when it cannot be
/// read.
fn children(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(prefix))
        })
        .collect();
    paths.sort();
    paths
}
