//! What an engine is to the rest of Amphora.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use amphora_error::{Error, Result, quoted};
use amphora_onnx::Model;

use crate::cache::{Fed, Kept, Ran};
use crate::check;
use crate::engines::{OrtLocation, ort, rten};
use crate::operators::{self, UnsupportedOperator};
use crate::{SessionOptions, Tensor};

/// Something that runs ONNX graphs. It is handed a model in memory and opens no file.
///
/// Engines are not trusted: a [`crate::Session`] checks what goes in and what comes out, and turns an
/// engine's panic into an error.
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// The word that selects this engine: `rten`, `ort` or `tract`.
    fn name(&self) -> &'static str;

    /// The version of the engine.
    fn version(&self) -> String;

    /// Every operator of `model` that this engine does not run, sorted; from a table of our own,
    /// since an engine names only the first.
    fn unsupported(&self, model: &Model) -> Vec<UnsupportedOperator>;

    /// Refuses a model that is too large for this engine, as far as a glance tells, before it is
    /// checked at length. Whether the graph makes sense is not known yet.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Limit`] for a graph that is too deep.
    fn check_size(&self, _model: &Model) -> Result<()> {
        Ok(())
    }

    /// Prepares `model` for running. External data comes from the model, never from a path.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Unsupported`] when the model needs what the engine cannot
    /// represent.
    fn load(&self, model: &Model, options: &SessionOptions) -> Result<Box<dyn Executable>>;
}

/// A model that an engine has prepared.
pub trait Executable: Send {
    /// Computes `outputs` from `inputs`, both by name; the answer is in the order of `outputs`, with
    /// the element types of the model's contract.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Unsupported`] when the engine cannot represent a value or fails
    /// at one of the operators.
    fn run(&mut self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>>;

    /// Computes `outputs` from `inputs` and from values `fed` of an earlier call, and keeps the
    /// outputs `kept` for the next one. An engine that does not override this is handed tensors and
    /// answers tensors.
    ///
    /// # Errors
    ///
    /// Those of [`Executable::run`].
    fn run_kept(
        &mut self,
        inputs: &[(&str, &Tensor)],
        fed: Vec<Fed>,
        outputs: &[&str],
        kept: &[&str],
    ) -> Result<Ran> {
        let mut copied: u64 = fed.iter().map(|fed| fed.value.bytes()).sum();
        let fed: Result<Vec<(String, Tensor)>> = fed
            .into_iter()
            .map(|fed| Ok((fed.name, fed.value.into_tensor()?)))
            .collect();
        let fed = fed?;
        let fed = fed.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let all: Vec<(&str, &Tensor)> = inputs.iter().copied().chain(fed).collect();
        let mut answers = self.run(&all, &[outputs, kept].concat())?;
        let left = answers.split_off(outputs.len().min(answers.len()));
        let left: Vec<Kept> = left.into_iter().map(Kept::from).collect();
        copied += left.iter().map(Kept::bytes).sum::<u64>();
        Ok(Ran {
            outputs: answers,
            kept: left,
            copied,
        })
    }
}

/// Which engine to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum EngineChoice {
    /// The engine that is always there, the same on every machine.
    #[default]
    Rten,
    /// ONNX Runtime, from a library that is installed.
    Ort,
    /// tract, where this build has it.
    Tract,
    /// ONNX Runtime where a usable library is found, else rten.
    Auto,
}

impl EngineChoice {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::Rten, Self::Ort, Self::Tract, Self::Auto];

    /// The word that selects it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rten => "rten",
            Self::Ort => "ort",
            Self::Tract => "tract",
            Self::Auto => "auto",
        }
    }
}

impl std::fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl std::str::FromStr for EngineChoice {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|choice| choice.word() == word);
        found.ok_or_else(|| {
            Error::usage("engine-name", format!("{} is not an engine", quoted(word)))
                .expected("rten, ort, tract or auto")
        })
    }
}

/// The engine that was chosen. `location` says where ONNX Runtime may be looked for; the first
/// library that is loaded stays for the life of the process.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Unsupported`] when this build or this machine does not have it.
pub fn engine(choice: EngineChoice, location: &OrtLocation) -> Result<Arc<dyn Engine>> {
    match choice {
        EngineChoice::Rten => Ok(Arc::new(rten::Rten)),
        EngineChoice::Ort => Ok(Arc::new(ort::Ort::find(location)?)),
        EngineChoice::Tract => tract(),
        EngineChoice::Auto => Ok(match ort::Ort::find(location) {
            Ok(found) => Arc::new(found),
            Err(_) => Arc::new(rten::Rten),
        }),
    }
}

#[cfg(feature = "tract")]
fn tract() -> Result<Arc<dyn Engine>> {
    Ok(Arc::new(crate::engines::tract::Tract))
}

#[cfg(not(feature = "tract"))]
fn tract() -> Result<Arc<dyn Engine>> {
    Err(
        Error::unsupported("engine-absent", "this build does not have the engine tract")
            .hint("build with the feature 'tract', or choose rten or ort"),
    )
}

/// Loads `model` into `engine`: first every unsupported operator in one error, then what the engine
/// finds too large, then the model check, then the engine's own view. A panic inside the engine becomes an [`amphora_error::ErrorKind::Unsupported`] error that
/// names the engine.
pub(crate) fn load(
    engine: &dyn Engine,
    model: &Model,
    options: &SessionOptions,
) -> Result<Box<dyn Executable>> {
    if !model.proto().functions.is_empty() {
        // A function that calls itself is malformed, whether or not the engine takes functions.
        model.check()?;
    }
    operators::refuse(engine.name(), &engine.version(), &engine.unsupported(model))?;
    engine.check_size(model)?;
    check::graph(model)?;
    guarded(engine.name(), "loading the model", || {
        engine.load(model, options)
    })
}

/// Runs a call into an engine and turns a panic into an error.
pub(crate) fn guarded<T>(
    engine: &str,
    action: &str,
    call: impl FnOnce() -> Result<T>,
) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        Err(Error::unsupported(
            "engine-panic",
            format!("the engine {engine} broke off while {action}"),
        )
        .found(shortened(panic_text(&*panic)))
        .hint("choose another engine"))
    })
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    let text = owned.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message")
}

/// An engine's own words, short enough for one line.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN: usize = 300;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        None => line,
        Some((end, _)) => format!("{}...", &line[..end]),
    }
}
