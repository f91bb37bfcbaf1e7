//! Converting SavedModels, by the program that TensorFlow's users have for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use amphora_checkpoint::SavedModel;
use amphora_error::{Error, Result, printable};
use fs_err::File;

/// Longest conversion: TensorFlow alone takes tens of seconds to start.
const WALL: Duration = Duration::from_secs(1800);
/// How often it is looked whether the program has ended.
const PAUSE: Duration = Duration::from_millis(50);
/// Most of the program's own words that are shown, in characters, from the end.
const SHOWN: usize = 300;
/// Most of its words that are read, in bytes.
const MAX_WORDS: u64 = 1 << 20;

/// The program `tf2onnx`, which needs Python and TensorFlow: how it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converter {
    /// `tf2onnx`, or a Python interpreter that has the module.
    pub program: PathBuf,
    /// What comes before the arguments of the conversion.
    pub arguments: Vec<OsString>,
}

impl Converter {
    /// Whether the model at `path` has to be converted.
    pub fn is_needed_for(path: &Path) -> bool {
        SavedModel::is_at(path)
    }

    /// Looks for it in `folders`, those of `PATH`: the command `tf2onnx`, else a Python interpreter that
    /// finds the module `tf2onnx`.
    pub fn find(folders: &[PathBuf]) -> Option<Self> {
        let named = |name: &str| {
            let mut found = folders.iter().map(|folder| folder.join(name));
            found.find(|path| path.is_file())
        };
        if let Some(program) = named("tf2onnx") {
            return Some(Self {
                program,
                arguments: Vec::new(),
            });
        }
        let has_module = |python: &PathBuf| {
            let program =
                "import importlib.util, sys; sys.exit(importlib.util.find_spec('tf2onnx') is None)";
            let mut command = Command::new(python);
            command.args(["-c", program]).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let python = ["python3", "python"]
            .iter()
            .filter_map(|name| named(name))
            .find(has_module)?;
        Some(Self {
            program: python,
            arguments: ["-m", "tf2onnx.convert"].map(OsString::from).to_vec(),
        })
    }

    /// Converts the signature `signature` of the SavedModel in `model` to the ONNX file `output`, which
    /// has the signature's names.
    ///
    /// The program runs as it is, with the rights of this process: a SavedModel is a program that
    /// TensorFlow loads.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Unsupported`] when the program fails, with the end of what it said;
    /// [`amphora_error::ErrorKind::Busy`] when it takes longer than half an hour.
    pub(crate) fn convert(&self, model: &Path, signature: &str, output: &Path) -> Result<()> {
        let said = output.with_extension("log");
        let log = File::create(&said)
            .map_err(|source| Error::from_io("creating", &said, source))?
            .into_file();
        let copy = log
            .try_clone()
            .map_err(|source| Error::from_io("creating", &said, source))?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .arg("--saved-model")
            .arg(model)
            .arg("--output")
            .arg(output)
            .args(["--opset", "17", "--signature_def", signature])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(copy);
        let status = wait(&mut command, &self.program)?;
        if status.success() && output.is_file() {
            return Ok(());
        }
        Err(
            Error::unsupported("tf2onnx-failed", "tf2onnx did not convert the SavedModel")
                .found(last_words(&said))
                .in_file(model)
                .hint("convert it in its own environment, and pack the ONNX file"),
        )
    }
}

fn wait(command: &mut Command, program: &Path) -> Result<ExitStatus> {
    let failed = |source| Error::from_io("running", program, source);
    let mut child = command.spawn().map_err(failed)?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        if start.elapsed() > WALL {
            // It may have ended this very moment.
            let _ = child.kill();
            let _ = child.wait();
            return Err(
                Error::busy("tf2onnx-time", "tf2onnx takes too long and was stopped")
                    .expected(format!("at most {} seconds", WALL.as_secs())),
            );
        }
        thread::sleep(PAUSE);
    }
}

/// The end of what the program said.
fn last_words(said: &Path) -> String {
    let opened = amphora_files::OpenedFile::open(said);
    let bytes = opened.and_then(|file| {
        let length = file.len().min(MAX_WORDS);
        file.range(file.len() - length, length)
    });
    let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    let shown = printable(last.unwrap_or("nothing")).into_owned();
    let skipped = shown.chars().count().saturating_sub(SHOWN);
    shown.chars().skip(skipped).collect()
}
