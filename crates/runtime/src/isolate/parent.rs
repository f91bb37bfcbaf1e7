//! The side that starts, feeds, watches and ends the child process.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use amphora_error::{Error, Result};
use amphora_onnx::Model;
use prost::Message as _;

use super::kept::Shared;
use super::wire::{LARGEST, Reader, Writer};
use super::{DONE, Isolation, LOAD, RUN};
use crate::engine::{Engine, EngineChoice, Executable, shortened};
use crate::engines::ort::library;
use crate::operators::UnsupportedOperator;
use crate::{Fed, Ran, SessionOptions, Tensor};

/// Rules of the errors after which the child is gone.
pub(super) const ENDED: [&str; 5] = [
    "isolated-answer",
    "isolated-crash",
    "isolated-deadline",
    "isolated-memory",
    "isolated-stack",
];

/// Bytes of the child's last words that are kept.
const WORDS: u64 = 64 << 10;

/// `engine`, with every model loaded and run in a child process of its own.
///
/// Names, versions and the list of unsupported operators are those of `engine`; only models go to the
/// child.
pub fn isolated(engine: Arc<dyn Engine>, isolation: Isolation) -> Arc<dyn Engine> {
    Arc::new(Isolated { engine, isolation })
}

#[derive(Debug)]
struct Isolated {
    engine: Arc<dyn Engine>,
    isolation: Isolation,
}

impl Engine for Isolated {
    fn name(&self) -> &'static str {
        self.engine.name()
    }

    fn version(&self) -> String {
        self.engine.version()
    }

    fn unsupported(&self, model: &Model) -> Vec<UnsupportedOperator> {
        self.engine.unsupported(model)
    }

    fn check_size(&self, model: &Model) -> Result<()> {
        self.engine.check_size(model)
    }

    fn load(&self, model: &Model, options: &SessionOptions) -> Result<Box<dyn Executable>> {
        let mut request = Writer::default();
        request.number(LOAD);
        limits(&mut request, &self.isolation);
        request.text(self.name());
        let ort = EngineChoice::Ort.word() == self.name();
        let library = library::loaded().filter(|_| ort);
        request.text(&library.map_or_else(String::new, |l| l.path.to_string_lossy().into_owned()));
        request.number(options.threads() as u64);
        match model.bytes() {
            Some(bytes) => request.shared(bytes),
            None => request.shared(&model.proto().encode_to_vec().into()),
        }
        let files = model.external_files();
        request.number(files.len() as u64);
        for (location, bytes) in files {
            request.text(location);
            request.shared(bytes);
        }
        let mut process = Process::start(&self.isolation, Who::Engine)?;
        process.exchange(request, "loading the model")?;
        Ok(Box::new(Shared::new(process)))
    }
}

impl Executable for Shared {
    fn run(&mut self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        let mut request = Writer::default();
        request.number(RUN);
        request.inputs(inputs);
        request.texts(outputs.iter().copied());
        self.exchange(request, "running the model")?.tensors()
    }

    /// Values stay in the child.
    fn run_kept(
        &mut self,
        inputs: &[(&str, &Tensor)],
        fed: Vec<Fed>,
        outputs: &[&str],
        kept: &[&str],
    ) -> Result<Ran> {
        self.step(inputs, fed, outputs, kept)
    }
}

/// What a child may use, as it is told first.
pub(super) fn limits(request: &mut Writer, isolation: &Isolation) {
    request.number(isolation.memory_bytes);
    request.number(isolation.processor.as_secs().saturating_add(1));
}

/// Who works in a child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Engine,
    #[cfg(feature = "generation")]
    Template,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Engine => "the engine",
            #[cfg(feature = "generation")]
            Self::Template => "the chat template",
        })
    }
}

/// A child process and the ends of its pipes.
pub(super) struct Process {
    who: Who,
    child: Arc<Mutex<Child>>,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    last_words: Option<JoinHandle<Vec<u8>>>,
    wall: Duration,
    /// Most bytes of one answer: what is in it was in the child's memory.
    largest: u64,
}

impl Process {
    pub(super) fn start(isolation: &Isolation, who: Who) -> Result<Self> {
        let failed = |source| {
            Error::from_io(
                &format!("starting the process of {who}"),
                &isolation.program,
                source,
            )
        };
        let mut child = Command::new(&isolation.program)
            .args(&isolation.arguments)
            .current_dir("/")
            // Its last line says why it ended.
            .env("RUST_BACKTRACE", "0")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        tracing::info!(process = child.id(), "{who} runs in a process of its own");
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(mut stderr)) = pipes else {
            return Err(Error::internal(
                "isolated-pipes",
                "a child process has no pipes",
            ));
        };
        let last_words = std::thread::spawn(move || {
            let mut words = Vec::new();
            let _ = stderr.by_ref().take(WORDS).read_to_end(&mut words);
            // What is beyond is read too, so that the child never waits for it.
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            words
        });
        Ok(Self {
            who,
            child: Arc::new(Mutex::new(child)),
            stdin: Some(stdin),
            stdout,
            last_words: Some(last_words),
            wall: isolation.wall,
            largest: isolation.memory_bytes.min(LARGEST),
        })
    }

    /// Sends a request and waits for the answer, at most for the wall-clock time that was set.
    pub(super) fn exchange(&mut self, request: Writer, action: &str) -> Result<Reader> {
        let Some(stdin) = &mut self.stdin else {
            return Err(ended(self.who, "its process has ended before"));
        };
        let watch = Watch::start(self.child.clone(), self.wall);
        let sent = request.send(stdin);
        let answer = match sent {
            Ok(()) => Reader::receive(&mut self.stdout, self.largest)
                .ok()
                .flatten(),
            Err(_) => None,
        };
        let in_time = watch.stop();
        let Some(mut answer) = answer else {
            return Err(self.post_mortem(in_time, action));
        };
        if answer.number()? != DONE {
            let error = answer.error()?;
            return Err(match is_exhaustion(&error.to_string()) {
                true => exhausted(self.who, action).found(shortened(&error.to_string())),
                false => error,
            });
        }
        Ok(answer)
    }

    /// Why the child gave no answer.
    fn post_mortem(&mut self, in_time: bool, action: &str) -> Error {
        self.stdin = None;
        let who = self.who;
        let status = self.end();
        let words = self.last_words.take().and_then(|words| words.join().ok());
        let words = String::from_utf8_lossy(&words.unwrap_or_default()).into_owned();
        if !in_time {
            return out_of_time(format!(
                "{who} did not finish {action} in time and was ended"
            ))
            .expected(format!("at most {} s", self.wall.as_secs_f64()));
        }
        let signal = status.and_then(|status| status.signal());
        if signal == Some(rustix::process::Signal::XCPU.as_raw()) {
            return out_of_time(format!("{who} used up its processor time while {action}"));
        }
        let error = if is_exhaustion(&words) {
            exhausted(self.who, action)
        } else if words.contains("overflowed its stack") {
            let message = format!("{who} needs a deeper stack than it may use while {action}");
            other(who, Error::limit("isolated-stack", message))
        } else {
            let message = format!("{who} broke off while {action}");
            other(who, Error::limit("isolated-crash", message))
        };
        let found = match signal {
            Some(signal) => format!("signal {signal}"),
            None => format!(
                "{}",
                status.map_or(-1, |status| status.code().unwrap_or(-1))
            ),
        };
        let last = words.lines().rfind(|line| !line.trim().is_empty());
        error.found(match last {
            Some(line) => format!("{found}, {}", shortened(line)),
            None => found,
        })
    }

    /// Ends the child if it still runs, and gives its status.
    fn end(&self) -> Option<ExitStatus> {
        let mut child = locked(&self.child);
        let _ = child.kill();
        child.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stdin = None;
        self.end();
    }
}

/// What allocators and engines say when there is no memory left.
fn is_exhaustion(words: &str) -> bool {
    const SAID: [&str; 7] = [
        // A thread whose stack does not fit.
        "Resource temporarily unavailable",
        "Cannot allocate memory",
        "out of memory",
        "memory allocation of",
        "bad_alloc",
        "bad allocation",
        "Failed to allocate memory",
    ];
    SAID.iter().any(|said| words.contains(said))
}

/// There are other engines, but no other template.
fn other(who: Who, error: Error) -> Error {
    match who {
        Who::Engine => error.hint("choose another engine"),
        #[cfg(feature = "generation")]
        Who::Template => error,
    }
}

fn exhausted(who: Who, action: &str) -> Error {
    let message = format!("{who} needs more memory than it may use while {action}");
    Error::limit("isolated-memory", message)
        .hint("where the model deserves it, allow more with --engine-memory")
}

fn out_of_time(message: String) -> Error {
    Error::busy("isolated-deadline", message)
        .hint("where the model deserves it, allow more with --engine-timeout or --engine-cpu-time")
}

fn ended(who: Who, why: &str) -> Error {
    Error::limit("isolated-crash", format!("{who} cannot answer: {why}"))
}

fn locked(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills the child when time is up.
struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watch {
    fn start(child: Arc<Mutex<Child>>, wall: Duration) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let in_time = stopped.recv_timeout(wall) != Err(RecvTimeoutError::Timeout);
            if !in_time {
                let _ = locked(&child).kill();
            }
            in_time
        });
        Self { stop, thread }
    }

    /// Whether the answer came in time.
    fn stop(self) -> bool {
        let _ = self.stop.send(());
        self.thread.join().unwrap_or(true)
    }
}
