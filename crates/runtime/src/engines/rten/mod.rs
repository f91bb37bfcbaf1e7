//! rten: pure Rust, always there.

mod convert;
mod depth;
mod fit;
mod keep;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use amphora_error::{Error, Result, quoted};
use amphora_onnx::{Contract, Dtype, Model};
use rten::{ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView};

use crate::engine::{Engine, Executable, shortened};
use crate::engines::handover::{Handover, LOCATION};
use crate::operators::{Table, UnsupportedOperator};
use crate::{Fed, Kept, Ran, SessionOptions, Tensor};

pub(crate) use self::convert::output;

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::parse(include_str!("../../../operators/rten.tsv")));

/// The engine rten.
///
/// Its values are f32, i32, i8 and u8. Booleans and 64-bit integers are computed as i32 and f16 as
/// f32; what does not fit (64-bit floats, integers beyond 32 bits) is refused, see [`fit`].
#[derive(Debug)]
pub(crate) struct Rten;

impl Engine for Rten {
    fn name(&self) -> &'static str {
        "rten"
    }

    fn version(&self) -> String {
        TABLE.version.to_owned()
    }

    fn unsupported(&self, model: &Model) -> Vec<UnsupportedOperator> {
        TABLE.unsupported(model, false)
    }

    fn check_size(&self, model: &Model) -> Result<()> {
        depth::check(model)
    }

    fn load(&self, model: &Model, options: &SessionOptions) -> Result<Box<dyn Executable>> {
        let contract = model.contract()?;
        fit::check(model, &contract)?;
        let Handover {
            graph,
            weights,
            weights_len,
        } = Handover::new(model)?;
        let mut reader = ModelOptions::with_all_ops();
        if !weights.is_empty() {
            let file = weights_file(&weights, weights_len)?;
            drop(weights);
            reader.external_data(LOCATION, file);
        }
        let loaded = reader.load(graph).map_err(|source| {
            let error = Error::unsupported("engine-load", "rten cannot load the model")
                .found(shortened(&source.to_string()));
            match source.node() {
                Some(node) => error.at(format!("node {}", quoted(node))),
                None => error,
            }
        })?;
        let pool = ThreadPool::with_num_threads(options.threads());
        Ok(Box::new(Loaded {
            model: loaded,
            contract,
            pool: Arc::new(pool),
        }))
    }
}

fn weights_file(weights: &[crate::engines::handover::Weight], len: u64) -> Result<Vec<u8>> {
    let too_large = || Error::limit("memory", "the weights do not fit into memory");
    let len = usize::try_from(len).map_err(|_| too_large())?;
    let mut file = Vec::new();
    file.try_reserve_exact(len).map_err(|_| too_large())?;
    for weight in weights {
        file.resize(weight.offset as usize, 0);
        file.extend_from_slice(&weight.bytes);
    }
    Ok(file)
}

struct Loaded {
    model: rten::Model,
    contract: Contract,
    pool: Arc<ThreadPool>,
}

impl Loaded {
    fn node(&self, name: &str) -> Result<NodeId> {
        self.model.find_node(name).ok_or_else(|| {
            Error::unsupported(
                "engine-value",
                format!("rten does not know the value {}", quoted(name)),
            )
        })
    }
}

impl Executable for Loaded {
    fn run(&mut self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        let answers = self.compute(inputs, Vec::new(), outputs)?;
        let named = outputs.iter().zip(answers);
        named
            .map(|(name, value)| output(name, self.dtype(name), value))
            .collect()
    }

    /// Values go in as they came out, with room at their end: rten's `Concat` appends to the first of
    /// its inputs when that is its own and has the capacity.
    fn run_kept(
        &mut self,
        inputs: &[(&str, &Tensor)],
        fed: Vec<Fed>,
        outputs: &[&str],
        kept: &[&str],
    ) -> Result<Ran> {
        let mut copied = 0;
        let mut places = HashSet::new();
        let mut owned = Vec::with_capacity(fed.len());
        for fed in fed {
            let (value, grown) = keep::with_room(fed.value, fed.axis, fed.room)?;
            copied += grown;
            places.extend(keep::address(&value));
            owned.push((self.node(&fed.name)?, value));
        }
        let continued = !owned.is_empty();
        let mut answers = self.compute(inputs, owned, &[outputs, kept].concat())?;
        let left = answers.split_off(outputs.len().min(answers.len()));
        let named = outputs.iter().zip(answers);
        let outputs: Result<Vec<Tensor>> = named
            .map(|(name, value)| output(name, self.dtype(name), value))
            .collect();
        let left = kept.iter().zip(left).map(|(name, value)| {
            let moved = keep::address(&value).is_none_or(|place| !places.contains(&place));
            let value = keep::kept(name, self.dtype(name), value)?;
            if continued && moved {
                copied += value.bytes();
            }
            Ok(value)
        });
        let left: Result<Vec<Kept>> = left.collect();
        Ok(Ran {
            outputs: outputs?,
            kept: left?,
            copied,
        })
    }
}

impl Loaded {
    /// The element type that the contract states for an output.
    fn dtype(&self, name: &str) -> Option<Dtype> {
        let mut outputs = self.contract.outputs.iter();
        outputs
            .find(|spec| spec.name == name)
            .map(|spec| spec.dtype)
    }

    fn compute(
        &self,
        inputs: &[(&str, &Tensor)],
        owned: Vec<(NodeId, Value)>,
        outputs: &[&str],
    ) -> Result<Vec<Value>> {
        let converted: Result<Vec<convert::Input>> = inputs
            .iter()
            .map(|(name, tensor)| convert::Input::new(name, tensor))
            .collect();
        let converted = converted?;
        let mut values: Vec<(NodeId, ValueOrView<'_>)> =
            Vec::with_capacity(inputs.len() + owned.len());
        for ((name, tensor), input) in inputs.iter().zip(&converted) {
            values.push((self.node(name)?, input.view(tensor)?.into()));
        }
        values.extend(owned.into_iter().map(|(node, value)| (node, value.into())));
        let ids: Result<Vec<NodeId>> = outputs.iter().map(|name| self.node(name)).collect();
        let options = RunOptions::default().with_thread_pool(Some(self.pool.clone()));
        self.model
            .run(values, &ids?, Some(options))
            .map_err(|source| {
                Error::unsupported("engine-run", "rten failed to run the model")
                    .found(shortened(&source.to_string()))
            })
    }
}
