//! One file for each command: a request of the facade made from arguments, and its answer as text.

mod archive;
mod clean;
mod compare;
mod completions;
mod contract;
mod doctor;
mod engine_process;
mod export;
pub(crate) mod generate;
mod import;
mod inspect;
mod layout;
mod list;
mod pack;
pub(crate) mod planner;
mod quickstart;
mod remove;
mod run;
mod schema;
mod verify;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use amphora::isolate::Isolation;
use amphora::{EngineChoice, Engines, Error, Result, Store, Timestamp, Walls, quoted};

use crate::arguments::{Arguments, Command, Engine, EngineArgument, Isolate, Target};
use crate::environment;
use crate::output::Output;

/// What a command that did its work has to say about the question it was asked.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Done; exit code 0.
    Yes,
    /// The answer was printed, and it is no; the error names the reason and the exit code.
    No(Error),
}

/// The word that makes this program the process of an engine.
const ENGINE_PROCESS: &str = "engine-process";

/// What every command may need besides its own arguments.
pub(crate) struct Context {
    pub(crate) output: Output,
    pub(crate) store: PathBuf,
    pub(crate) lock_timeout: Duration,
}

impl Context {
    /// The store; nothing is created by opening it.
    pub(crate) fn store(&self) -> Result<Store> {
        Ok(Store::open(&self.store)?.with_lock_timeout(self.lock_timeout))
    }

    /// The engine that was asked for.
    pub(crate) fn engines(&self, argument: EngineArgument) -> Result<Engines> {
        let isolation = Isolation {
            memory_bytes: argument.engine_memory << 20,
            processor: Duration::from_secs(argument.engine_cpu_time),
            wall: Duration::from_secs(argument.engine_timeout),
            ..Isolation::new(environment::program()?, vec![ENGINE_PROCESS.into()])
        };
        Ok(Engines {
            choice: match argument.engine {
                Engine::Rten => EngineChoice::Rten,
                Engine::Ort => EngineChoice::Ort,
                Engine::Tract => EngineChoice::Tract,
                Engine::Auto => EngineChoice::Auto,
            },
            ort: environment::ort_location(),
            walls: Some(Walls {
                isolate: match argument.isolate {
                    Isolate::Auto => amphora::Isolate::Auto,
                    Isolate::Always => amphora::Isolate::Always,
                    Isolate::Never => amphora::Isolate::Never,
                },
                isolation,
                verified: environment::home().map(|home| home.join("verified")),
            }),
        })
    }

    /// The present, or what `SOURCE_DATE_EPOCH` says it is.
    pub(crate) fn now(&self) -> Result<Timestamp> {
        let Some(text) = environment::source_date_epoch() else {
            return Timestamp::from_system_time(SystemTime::now());
        };
        text.parse()
            .map_err(|_| {
                Error::usage(
                    "source-date-epoch",
                    "SOURCE_DATE_EPOCH is not a number of seconds",
                )
                .found(quoted(&text).to_string())
            })
            .and_then(Timestamp::from_unix_seconds)
    }
}

/// The target of this name.
fn target(argument: Target) -> amphora::Target {
    match argument {
        Target::Onnx => amphora::Target::Onnx,
        Target::Ios => amphora::Target::Ios,
        Target::Hailo => amphora::Target::Hailo,
    }
}

/// Runs the command that was typed.
pub(crate) fn run(arguments: Arguments) -> Result<Verdict> {
    let context = Context {
        output: Output::new(arguments.json),
        store: arguments.store,
        lock_timeout: Duration::from_secs(u64::from(arguments.lock_timeout)),
    };
    match arguments.command {
        Command::Export(arguments) => export::run(&context, arguments),
        Command::Pack(arguments) => pack::run(&context, *arguments),
        Command::Verify(arguments) => verify::run(&context, &arguments),
        Command::Compare(arguments) => compare::run(&context, &arguments),
        Command::Archive(arguments) => archive::run(&context, &arguments),
        Command::Import(arguments) => import::run(&context, arguments),
        Command::Quickstart(arguments) => quickstart::run(&context, &arguments),
        Command::Inspect(arguments) => inspect::run(&context, &arguments),
        Command::Run(arguments) => run::run(&context, &arguments),
        Command::Generate(arguments) => generate::run(&context, &arguments),
        Command::Contract(arguments) => contract::run(&context, arguments),
        Command::Layout(arguments) => layout::run(&context, &arguments),
        Command::List(arguments) => list::run(&context, &arguments),
        Command::Clean(arguments) => clean::run(&context, &arguments),
        Command::Remove(arguments) => remove::run(&context, &arguments),
        Command::Planner(arguments) => planner::run(&context, *arguments),
        Command::Doctor => doctor::run(&context),
        Command::Completions(arguments) => completions::run(&context, &arguments),
        Command::Schema(arguments) => schema::run(&context, &arguments),
        Command::EngineProcess => engine_process::run(),
    }
}
