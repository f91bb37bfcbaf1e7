//! A scratch directory with the example in it, and the command run inside.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The example model that ships in the repository.
const EXAMPLE: [&str; 5] = [
    "model.pt",
    "config.json",
    "labels.json",
    "metrics.json",
    "windows.npy",
];

/// A scratch directory in which commands run.
pub(crate) struct Scene {
    root: tempfile::TempDir,
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Scene {
    /// A directory with the example's files and nothing else.
    pub(crate) fn new() -> Self {
        let scene = Self {
            root: tempfile::tempdir().unwrap(),
        };
        let example = amphora_testing::repository().join("examples/conv2d_fsq");
        for name in EXAMPLE {
            std::fs::copy(example.join(name), scene.path(name)).unwrap();
        }
        scene
    }

    /// The same with the example exported to `model.onnx`.
    pub(crate) fn with_onnx() -> Self {
        let scene = Self::new();
        let export = [
            "export",
            "model.pt",
            "--config",
            "config.json",
            "-o",
            "model.onnx",
        ];
        scene.run(&export).expect_code(0);
        scene
    }

    /// The same with the example packed; returns the bundle's folder too.
    pub(crate) fn with_bundle() -> (Self, PathBuf) {
        let scene = Self::new();
        let answer = scene.run(&[PACK, &["--json"]].concat());
        answer.expect_code(0);
        let path = answer.json()["path"].as_str().unwrap().to_owned();
        let path = scene.path(&path);
        (scene, path)
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    /// The command, ready to run in this directory, with a known environment.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("amphora"));
        command
            .args(arguments)
            .current_dir(self.root.path())
            .env_clear()
            .env("HOME", self.root.path())
            .env("PATH", "/nonexistent")
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Answer {
        self.answer(self.command(arguments))
    }

    /// Runs a prepared command to its end.
    pub(crate) fn answer(&self, mut command: Command) -> Answer {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        Answer {
            code: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// The whole answer as one text, with what differs between machines and runs replaced.
    pub(crate) fn snapshot<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        let answer = self.run(arguments);
        let code = answer
            .code
            .map_or("signal".to_owned(), |code| code.to_string());
        format!(
            "exit code: {code}\n----- stdout -----\n{}----- stderr -----\n{}",
            answer.stdout, answer.stderr
        )
    }

    /// Every file beneath the directory, with its size.
    pub(crate) fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        let mut open = vec![self.root.path().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                } else {
                    files.push((entry.path(), entry.metadata().unwrap().len()));
                }
            }
        }
        files.sort();
        files
    }
}

/// Packs the example.
pub(crate) const PACK: &[&str] = &[
    "pack",
    "--model",
    "model.pt",
    "--config",
    "config.json",
    "--labels",
    "labels.json",
    "--metrics",
    "metrics.json",
    "--golden-cases",
    "10",
];

impl Answer {
    /// Fails the test unless the command ended with `code`.
    pub(crate) fn expect_code(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self:#?}");
    }

    /// The one JSON object on stdout.
    pub(crate) fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value @ serde_json::Value::Object(_)) => value,
            other => panic!("stdout is not one JSON object: {other:?}\n{self:#?}"),
        }
    }

    /// The kind of the error on stdout.
    pub(crate) fn error_kind(&self) -> String {
        self.json()["error"]["kind"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}
