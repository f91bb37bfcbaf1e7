//! A graph ready to answer.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use amphora_error::{Error, Result};
use amphora_onnx::{Contract, Model, TensorSpec};
use serde_json::{Map, Value};

use crate::engine::{self, Engine, Executable, guarded};
use crate::{Cache, Calibration, InputPolicy, Tensor, check};

/// How a session runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionOptions {
    /// Threads for one run. Unset: as many as the machine has, at most [`SessionOptions::MOST_BY_DEFAULT`].
    /// Threads of an idle session sleep.
    pub threads: Option<NonZeroUsize>,
    /// What may go in beyond names, types and shapes.
    pub inputs: InputPolicy,
}

impl SessionOptions {
    /// The most threads that are used without being asked for; small models get slower beyond.
    pub const MOST_BY_DEFAULT: usize = 8;

    /// The number of threads that a session uses.
    pub fn threads(&self) -> usize {
        let available = || {
            let machine = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            machine.min(Self::MOST_BY_DEFAULT)
        };
        self.threads.map_or_else(available, NonZeroUsize::get)
    }
}

/// One graph, loaded into one engine.
///
/// Every input is checked against the contract that was read from the graph before the engine is
/// called, and every output after it.
pub struct Session {
    contract: Contract,
    engine: Arc<dyn Engine>,
    executable: Box<dyn Executable>,
    policy: InputPolicy,
    calibration: Option<Calibration>,
}

impl Session {
    /// Checks `model` and loads it into `engine`: no engine sees a graph that makes no sense, or that
    /// states more than memory can hold. Logits are divided by the temperatures of `calibration`, when
    /// there is one.
    ///
    /// # Errors
    ///
    /// Those of [`Model::check`]; [`amphora_error::ErrorKind::Limit`] for a value of more elements
    /// than the model's limits allow one tensor;
    /// [`amphora_error::ErrorKind::Unsupported`] naming every operator that the engine does not run,
    /// or every value it cannot represent; [`amphora_error::ErrorKind::Incompatible`] when the
    /// calibration names an output that the graph does not have.
    pub fn new(
        model: &Model,
        engine: Arc<dyn Engine>,
        options: &SessionOptions,
        calibration: Option<Calibration>,
    ) -> Result<Self> {
        let contract = model.contract()?;
        if let Some(calibration) = &calibration {
            calibration.check(&contract)?;
        }
        let executable = engine::load(engine.as_ref(), model, options)?;
        Ok(Self {
            contract,
            engine,
            executable,
            policy: options.inputs.clone(),
            calibration,
        })
    }

    /// The same session, which enforces `contract` instead of what the graph itself says: the sizes
    /// that a manifest fixes and the graph leaves open.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Incompatible`] when the names, their order or the element types are
    /// not those of the graph.
    pub fn narrowed(mut self, contract: Contract) -> Result<Self> {
        let same = |a: &[TensorSpec], b: &[TensorSpec]| {
            let keys = |specs: &[TensorSpec]| -> Vec<_> {
                specs.iter().map(|s| (s.name.clone(), s.dtype)).collect()
            };
            keys(a) == keys(b)
        };
        if !same(&contract.inputs, &self.contract.inputs)
            || !same(&contract.outputs, &self.contract.outputs)
        {
            return Err(Error::incompatible(
                "session-contract",
                "a contract of other inputs and outputs than those of the graph cannot be enforced",
            ));
        }
        self.contract = contract;
        Ok(self)
    }

    /// What goes in and what comes out.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// The engine.
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// Checks inputs as [`Session::run`] does, without running anything. `unreadable` are inputs that
    /// were given and are no tensors, with the reason: they are reported with all other faults.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] listing every fault at once.
    pub fn check(
        &self,
        inputs: &BTreeMap<String, Tensor>,
        unreadable: &BTreeMap<String, String>,
    ) -> Result<()> {
        check::inputs(&self.contract, inputs, &[], unreadable, &self.policy).map(drop)
    }

    /// Computes every output of the graph.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] listing every fault of the inputs at once, without a call
    /// to the engine; [`amphora_error::ErrorKind::Unsupported`] when the engine cannot represent an
    /// input, fails or panics; [`amphora_error::ErrorKind::Incompatible`] when its answer does not
    /// fit the contract.
    pub fn run(&mut self, inputs: &BTreeMap<String, Tensor>) -> Result<Outputs> {
        let Self {
            contract,
            engine,
            executable,
            policy,
            calibration,
        } = self;
        let bindings = check::inputs(contract, inputs, &[], &BTreeMap::new(), policy)?;
        let given: Vec<(&str, &Tensor)> = contract
            .inputs
            .iter()
            .filter_map(|spec| Some((spec.name.as_str(), inputs.get(&spec.name)?)))
            .collect();
        let wanted: Vec<&str> = contract
            .outputs
            .iter()
            .map(|spec| spec.name.as_str())
            .collect();
        let answers = guarded(engine.name(), "running the model", || {
            executable.run(&given, &wanted)
        })?;
        check::outputs(contract, &wanted, &answers, &[], &[], bindings)?;
        named(&wanted, answers, calibration.as_ref())
    }

    /// Computes the outputs of the graph that no link of `cache` names; those that a link names stay
    /// in `cache`, and the graph's inputs that a link names are taken from it. So a value goes from
    /// one call to the next, and from the session of one graph to that of another, without being
    /// copied where the engine can do that; see [`Cache`].
    ///
    /// After an error the cache is empty.
    ///
    /// # Errors
    ///
    /// Those of [`Session::run`]; [`amphora_error::ErrorKind::Usage`] when the graph continues from a
    /// cache that is empty, [`amphora_error::ErrorKind::Incompatible`] when it lacks an output that a
    /// link names.
    pub fn run_cached(
        &mut self,
        inputs: &BTreeMap<String, Tensor>,
        cache: &mut Cache,
    ) -> Result<Outputs> {
        let Self {
            contract,
            engine,
            executable,
            policy,
            calibration,
        } = self;
        let fed = cache.take(contract)?;
        let kept = cache.kept(contract)?;
        let bindings = check::inputs(contract, inputs, &fed, &BTreeMap::new(), policy)?;
        let given: Vec<(&str, &Tensor)> = contract
            .inputs
            .iter()
            .filter_map(|spec| Some((spec.name.as_str(), inputs.get(&spec.name)?)))
            .collect();
        let wanted: Vec<&str> = contract
            .outputs
            .iter()
            .map(|spec| spec.name.as_str())
            .filter(|name| !kept.contains(name))
            .collect();
        let ran = guarded(engine.name(), "running the model", || {
            executable.run_kept(&given, fed, &wanted, &kept)
        })?;
        check::outputs(contract, &wanted, &ran.outputs, &kept, &ran.kept, bindings)?;
        cache.put(ran.kept, ran.copied);
        named(&wanted, ran.outputs, calibration.as_ref())
    }
}

/// Outputs with their names, their logits divided by the temperatures of `calibration`.
fn named(
    names: &[&str],
    answers: Vec<Tensor>,
    calibration: Option<&Calibration>,
) -> Result<Outputs> {
    let named = names.iter().zip(answers);
    let tensors: Result<Vec<(String, Tensor)>> = named
        .map(|(name, tensor)| {
            let tensor = match calibration {
                Some(calibration) => calibration.apply(name, tensor)?,
                None => tensor,
            };
            Ok(((*name).to_owned(), tensor))
        })
        .collect();
    tensors.map(Outputs)
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("engine", &self.engine)
            .field("contract", &self.contract)
            .finish_non_exhaustive()
    }
}

/// The outputs of one run, in the order of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs(Vec<(String, Tensor)>);

impl Outputs {
    /// The output of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, tensor)| tensor)
    }

    /// The outputs, in the order of the graph.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// How many values of all outputs are NaN or infinite.
    pub fn nonfinite(&self) -> usize {
        self.0.iter().map(|(_, tensor)| tensor.nonfinite()).sum()
    }

    /// `{name: {dtype, shape, data}}`, in the order of the graph; see [`Tensor::to_json`].
    pub fn to_json(&self) -> Value {
        let entries = self
            .iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.to_json()));
        Value::Object(entries.collect::<Map<_, _>>())
    }
}

impl IntoIterator for Outputs {
    type Item = (String, Tensor);
    type IntoIter = std::vec::IntoIter<(String, Tensor)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
