//! ONNX Runtime, from a library that is installed on the machine.

mod convert;
pub(crate) mod library;

use std::sync::LazyLock;

use amphora_error::{Error, Result, quoted};
use amphora_onnx::{Contract, Model};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue};

use self::library::Library;
use crate::engine::{Engine, Executable, shortened};
use crate::engines::OrtLocation;
use crate::engines::handover::Handover;
use crate::operators::{Table, UnsupportedOperator};
use crate::{SessionOptions, Tensor};

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
        let failed = |source: ort::Error| {
            Error::unsupported("engine-run", "ONNX Runtime failed to run the model")
                .found(shortened(&source.to_string()))
        };
        let values: Result<Vec<(&str, SessionInputValue<'_>)>> = inputs
            .iter()
            .map(|(name, tensor)| Ok((*name, convert::input(name, tensor)?)))
            .collect();
        let values = values?;
        let selected = outputs
            .iter()
            .fold(OutputSelector::no_default(), |selector, name| {
                selector.with(*name)
            });
        let run_options = RunOptions::new().map_err(failed)?.with_outputs(selected);
        let answers = self
            .session
            .run_with_options(values, &run_options)
            .map_err(failed)?;
        outputs
            .iter()
            .map(|name| {
                let value = answers.get(name).ok_or_else(|| {
                    Error::unsupported(
                        "engine-value",
                        format!("ONNX Runtime did not answer {}", quoted(name)),
                    )
                })?;
                let spec = self
                    .contract
                    .outputs
                    .iter()
                    .find(|spec| spec.name == **name);
                convert::output(name, spec.map(|spec| spec.dtype), value)
            })
            .collect()
    }
}
