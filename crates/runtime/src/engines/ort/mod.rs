//! ONNX Runtime, from a library that is installed on the machine.

mod convert;
pub(crate) mod library;

use std::sync::LazyLock;

use amphora_error::{Error, Result, quoted};
use amphora_onnx::{Contract, Model};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue};

use self::library::Library;
use crate::cache::Held;
use crate::engine::{Engine, Executable, shortened};
use crate::engines::OrtLocation;
use crate::engines::handover::Handover;
use crate::operators::{Table, UnsupportedOperator};
use crate::{Fed, Kept, Ran, SessionOptions, Tensor};

pub(crate) use self::convert::output;

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::parse(include_str!("../../../operators/onnxruntime.tsv")));

/// The engine ONNX Runtime, on the CPU.
///
/// Its telemetry is off, its log goes to `tracing`, its threads do not spin.
#[derive(Debug)]
pub(crate) struct Ort(&'static Library);

impl Ort {
    /// The first usable library in `location`.
    pub(crate) fn find(location: &OrtLocation) -> Result<Self> {
        library::load(location).map(Self)
    }
}

impl Engine for Ort {
    fn name(&self) -> &'static str {
        "ort"
    }

    fn version(&self) -> String {
        self.0.version.clone()
    }

    fn unsupported(&self, model: &Model) -> Vec<UnsupportedOperator> {
        TABLE.unsupported(model, true)
    }

    fn load(&self, model: &Model, options: &SessionOptions) -> Result<Box<dyn Executable>> {
        let contract = model.contract()?;
        convert::check(&contract)?;
        let handover = Handover::new(model)?;
        let failed = |text: String| {
            Error::unsupported("engine-load", "ONNX Runtime cannot load the model")
                .found(shortened(&text))
        };
        let mut builder = self
            .builder(options)
            .map_err(|source| failed(source.to_string()))?;
        for weight in handover.weights {
            let tensor = Tensor::from_le_bytes(weight.dtype, weight.dims, &weight.bytes)?;
            let value = convert::weight(&weight.name, tensor)?;
            builder = builder
                .with_external_initializer(&weight.name, value)
                .map_err(|source| failed(source.to_string()))?;
        }
        let session = builder
            .commit_from_memory(&handover.graph)
            .map_err(|source| failed(source.to_string()))?;
        Ok(Box::new(Loaded { session, contract }))
    }
}

impl Ort {
    fn builder(&self, options: &SessionOptions) -> ort::Result<SessionBuilder> {
        let builder = Session::builder(&self.0.environment)?
            .with_optimization_level(GraphOptimizationLevel::Level3)?
            .with_intra_threads(options.threads())?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?;
        Ok(builder)
    }
}

struct Loaded {
    session: Session,
    contract: Contract,
}

impl Executable for Loaded {
    fn run(&mut self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        let ran = self.run_kept(inputs, Vec::new(), outputs, &[])?;
        Ok(ran.outputs)
    }

    /// Values stay in ONNX Runtime's memory.
    fn run_kept(
        &mut self,
        inputs: &[(&str, &Tensor)],
        fed: Vec<Fed>,
        outputs: &[&str],
        kept: &[&str],
    ) -> Result<Ran> {
        let failed = |source: ort::Error| {
            Error::unsupported("engine-run", "ONNX Runtime failed to run the model")
                .found(shortened(&source.to_string()))
        };
        let mut copied = 0;
        let mut values: Vec<(String, SessionInputValue<'_>)> = Vec::new();
        for (name, tensor) in inputs {
            values.push(((*name).to_owned(), convert::input(name, tensor)?));
        }
        for fed in fed {
            let bytes = fed.value.bytes();
            let value = match fed.value.held {
                Held::Ort(value) => value,
                _ => {
                    copied += bytes;
                    convert::weight(&fed.name, fed.value.into_tensor()?)?
                }
            };
            values.push((fed.name, value.into()));
        }
        let selected = outputs
            .iter()
            .chain(kept)
            .fold(OutputSelector::no_default(), |selector, name| {
                selector.with(*name)
            });
        let run_options = RunOptions::new().map_err(failed)?.with_outputs(selected);
        let mut answers = self
            .session
            .run_with_options(values, &run_options)
            .map_err(failed)?;
        let absent = |name: &str| {
            Error::unsupported(
                "engine-value",
                format!("ONNX Runtime did not answer {}", quoted(name)),
            )
        };
        let contract = &self.contract;
        let dtype = |name: &str| {
            let mut outputs = contract.outputs.iter();
            outputs
                .find(|spec| spec.name == name)
                .map(|spec| spec.dtype)
        };
        let tensors: Result<Vec<Tensor>> = outputs
            .iter()
            .map(|name| {
                let value = answers.get(name).ok_or_else(|| absent(name))?;
                output(name, dtype(name), value)
            })
            .collect();
        let left: Result<Vec<Kept>> = kept
            .iter()
            .map(|name| {
                let value = answers.remove(name).ok_or_else(|| absent(name))?;
                convert::kept(name, dtype(name), value)
            })
            .collect();
        Ok(Ran {
            outputs: tensors?,
            kept: left?,
            copied,
        })
    }
}
