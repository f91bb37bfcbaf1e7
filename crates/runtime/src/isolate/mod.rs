//! An engine in a process of its own, under limits of memory, processor time and wall-clock time.
//!
//! An engine can abort, run for ever or take all memory on a model that looks harmless. [`isolated`]
//! wraps an engine so that every model is loaded and run by a child process; whatever happens there,
//! the caller gets an answer or an error within the time that was set. The child is the same program,
//! started with arguments that make it call [`serve`]. A chat template is rendered there too (`render`,
//! feature `generation`).
//!
//! The child lives no longer than its parent: it watches the pipe that its requests come from, also
//! while it runs a model, and the kernel closes that pipe whatever the parent dies of. It is not in the
//! parent's process group, so that a Ctrl-C reaches the parent alone, which then answers for both.

mod kept;
mod parent;
#[cfg(feature = "generation")]
mod template;
mod wire;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use amphora_error::{Error, Result};
use amphora_onnx::{Limits, Model};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::kept::Slots;
use self::wire::{Reader, Writer};
use crate::engine::{self, Engine, EngineChoice, Executable, guarded};
use crate::{InputPolicy, OrtLocation, SessionOptions, Tensor};

pub(crate) use kept::Slot;
pub use parent::isolated;
#[cfg(feature = "generation")]
pub use template::render;

/// How to start the process that runs the engine, and what it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// The program, normally the caller's own.
    pub program: PathBuf,
    /// Arguments with which the program calls [`serve`] on its standard input and output.
    pub arguments: Vec<OsString>,
    /// Address space of the process in bytes, besides [`Isolation::COPIES`] copies of the model.
    /// Engines reserve more than they use.
    pub memory_bytes: u64,
    /// Processor time of the process, over all runs; rounded up to seconds.
    pub processor: Duration,
    /// Wall-clock time for loading the model, and again for each run.
    pub wall: Duration,
}

impl Isolation {
    /// Copies of a model that a process may hold: the request, the graph written anew for the engine,
    /// and two of the engine's own.
    pub const COPIES: u64 = 4;
    /// Memory in bytes, unless another is set.
    pub const MEMORY_BYTES: u64 = 4 << 30;
    /// Processor time, unless another is set.
    pub const PROCESSOR: Duration = Duration::from_secs(1800);
    /// Wall-clock time, unless another is set.
    pub const WALL: Duration = Duration::from_secs(120);

    /// Isolation in `program` under the limits that hold unless others are set.
    pub fn new(program: impl Into<PathBuf>, arguments: Vec<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments,
            memory_bytes: Self::MEMORY_BYTES,
            processor: Self::PROCESSOR,
            wall: Self::WALL,
        }
    }
}

/// What a child is told to do first.
const LOAD: u64 = 1;
/// What it is told to do afterwards, as often as wanted: run the model on inputs that are sent; run it
/// and keep values; give back a value that is kept.
const RUN: u64 = 2;
const STEP: u64 = 3;
const FETCH: u64 = 4;
/// What it is told to do instead: render a chat template.
#[cfg(feature = "generation")]
const RENDER: u64 = 5;
/// The first field of an answer.
const DONE: u64 = 0;
const FAILED: u64 = 1;

/// Stack of the thread that runs the engine, in bytes: what a main thread has.
const STACK: usize = 8 << 20;

/// Whether `error` says that the process of an engine has ended, so that no other request to it can
/// be answered.
pub fn has_ended(error: &Error) -> bool {
    parent::ENDED.contains(&error.rule())
}

/// The child's side: reads requests until the other end closes the pipe. The limits in the first
/// request are set before its model is looked at.
///
/// When this returns, a model may still be running on another thread; nobody waits for it any more,
/// and the caller ends the process.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Io`] when the pipe breaks. Errors of the engine travel to the parent.
pub fn serve(input: &mut dyn Read, output: impl Write + Send + 'static) -> Result<()> {
    let broken = |source| Error::from_io("talking to the parent process", "(pipe)", source);
    let (requests, waiting) = channel();
    thread::Builder::new()
        .name("engine".to_owned())
        .stack_size(STACK)
        .spawn(move || answer(&waiting, output))
        .map_err(broken)?;
    while let Some(request) = Reader::receive(input, wire::LARGEST).map_err(broken)? {
        if requests.send(request).is_err() {
            break;
        }
    }
    Ok(())
}

/// Answers requests in their order, until nobody asks or listens any more.
fn answer(requests: &Receiver<Reader>, mut output: impl Write) {
    let mut served = Served::default();
    for mut request in requests {
        let mut answer = Writer::default();
        answer.number(DONE);
        let outcome = guarded("in the child process", "answering its parent", || {
            served.respond(&mut request, &mut answer)
        });
        if let Err(error) = outcome {
            answer = Writer::default();
            answer.number(FAILED);
            answer.error(&error);
        }
        if answer.send(&mut output).is_err() {
            return;
        }
    }
}

/// What a child has.
#[derive(Default)]
struct Served {
    executable: Option<Box<dyn Executable>>,
    slots: Slots,
}

impl Served {
    fn respond(&mut self, request: &mut Reader, answer: &mut Writer) -> Result<()> {
        let task = request.number()?;
        if task == LOAD {
            self.executable = Some(load(request)?);
            return Ok(());
        }
        #[cfg(feature = "generation")]
        if task == RENDER {
            limits(request, 0)?;
            return template::rendered(request, answer);
        }
        let executable = self.executable.as_mut().ok_or_else(|| {
            Error::internal("isolated-order", "a run was asked for before a model")
        })?;
        match task {
            STEP => self.slots.step(executable.as_mut(), request, answer),
            FETCH => self.slots.fetch(request, answer),
            _ => {
                let inputs = request.inputs()?;
                let outputs = request.texts()?;
                let given: Vec<(&str, &Tensor)> =
                    inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
                let wanted: Vec<&str> = outputs.iter().map(String::as_str).collect();
                answer.tensors(&executable.run(&given, &wanted)?);
                Ok(())
            }
        }
    }
}

fn load(request: &mut Reader) -> Result<Box<dyn Executable>> {
    limits(request, request.len().saturating_mul(Isolation::COPIES))?;
    let choice: EngineChoice = request.text()?.parse()?;
    let library = request.text()?;
    let threads = usize::try_from(request.number()?).unwrap_or(1);
    let graph = request.bytes()?;
    let count = request.number()?;
    let external: Result<_> = (0..count)
        .map(|_| Ok((request.text()?, request.bytes()?)))
        .collect();
    // The parent has applied its own limits; here those of the process count.
    let limits = Limits {
        file_bytes: u64::MAX,
        external_bytes: u64::MAX,
        ..Limits::default()
    };
    let model = Model::from_parts(graph, external?, &limits)?;
    let location = OrtLocation {
        library: (!library.is_empty()).then(|| library.into()),
        ..OrtLocation::default()
    };
    let engine: Arc<dyn Engine> = engine::engine(choice, &location)?;
    let options = SessionOptions {
        threads: NonZeroUsize::new(threads),
        inputs: InputPolicy::default(),
    };
    engine::load(engine.as_ref(), &model, &options)
}

/// Lowers the limits of this process to those in a request; `besides` bytes of memory are on top.
fn limits(request: &mut Reader, besides: u64) -> Result<()> {
    let memory = request.number()?.saturating_add(besides);
    let processor = request.number()?;
    limit(Resource::Core, 0)?;
    limit(Resource::Cpu, processor)?;
    limit(Resource::As, memory)
}

/// Lowers a limit of this process; a stricter one that is already set stays.
fn limit(resource: Resource, value: u64) -> Result<()> {
    let now = getrlimit(resource);
    let value = [now.current, now.maximum]
        .into_iter()
        .flatten()
        .fold(value, u64::min);
    let wanted = Rlimit {
        current: Some(value),
        maximum: now.maximum,
    };
    setrlimit(resource, wanted).map_err(|errno| {
        Error::io(
            "isolated-limit",
            "a limit of the child process cannot be set",
        )
        .caused_by(std::io::Error::from(errno))
    })
}
