//! Golden vectors of a graph that came without a checkpoint: what one engine answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use amphora_bundle::manifest::GoldenKind;
use amphora_error::{Error, Result, quoted};
use amphora_onnx::{Contract, Dim, Dtype, Model, TensorSpec};
use amphora_runtime::{Engine, Session, SessionOptions, Tensor, isolate};
use half::{bf16, f16};

use super::random::Random;
use super::{Batch, Golden, MAX_BYTES, SEED};

/// Sizes tried for open dimensions that are no batch, in this order: what a graph accepts is not
/// known before it is tried.
const SIZES: [usize; 10] = [4, 16, 64, 128, 256, 512, 576, 1024, 2, 1];
/// Largest batch drawn.
const LARGEST_BATCH: usize = 3;
/// Integer inputs that are not known to index a table are drawn below these, in this order: bytes
/// and small indices first; 0 and 1 are what every graph takes.
const BELOW: [u64; 2] = [256, 2];
/// Integer inputs whose names contain one of these words are 0 or 1 by custom.
const FLAGS: [&str; 2] = ["mask", "type"];

impl Golden {
    /// Draws at most `cases` inputs from the contract of `model` and records what `engine` answers.
    ///
    /// Agreement with such vectors proves that another engine computes what this one did
    /// (reproducibility), not that the graph is right. The size of open dimensions is searched for:
    /// the first that the engine runs without an error.
    ///
    /// # Errors
    ///
    /// Unsupported (`golden-inputs`) when no inputs were found that the engine takes, or when the
    /// graph takes or gives what cannot be stored; what the engine itself refuses.
    pub fn of_engine(model: &Model, engine: Arc<dyn Engine>, cases: usize) -> Result<Self> {
        if cases == 0 {
            return Err(Error::usage(
                "golden-cases",
                "golden vectors need at least one case",
            ));
        }
        let producer = format!("{} {}", engine.name(), engine.version());
        let session = Session::new(model, engine, &SessionOptions::default(), None)?;
        let mut recorder = Recorder {
            contract: session.contract().clone(),
            vocabularies: vocabularies(model),
            session,
        };
        let open = recorder.contract.inputs.iter().any(|spec| {
            dims(spec)
                .iter()
                .enumerate()
                .any(|(axis, dim)| is_open(spec, axis, dim))
        });
        let sizes = if open { &SIZES[..] } else { &SIZES[..1] };
        let mut refusal = None;
        let tries = sizes
            .iter()
            .flat_map(|size| BELOW.map(|below| (*size, below)));
        for (size, below) in tries {
            match recorder.record(size, below, cases) {
                Ok(batches) => {
                    return Ok(Self {
                        kind: GoldenKind::Reproducibility,
                        producer,
                        seed: Some(SEED),
                        batches,
                        notes: Vec::new(),
                        scaled: false,
                    });
                }
                // Nobody is left to try other inputs on.
                Err(error) if isolate::has_ended(&error) => return Err(error),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        let error = Error::unsupported(
            "golden-inputs",
            "no inputs were found that the engine takes",
        )
        .hint("supply inputs and outputs with --golden FILE");
        Err(match refusal {
            Some(refusal) => error.found(refusal.message().to_owned()).caused_by(refusal),
            None => error,
        })
    }
}

struct Recorder {
    contract: Contract,
    /// How many rows the table has that an input indexes, by the name of the input.
    vocabularies: BTreeMap<String, u64>,
    session: Session,
}

impl Recorder {
    /// Up to `cases` cases with open dimensions of `size` and integers under `below`; the error of the first case when not
    /// even that one runs.
    fn record(&mut self, size: usize, below: u64, cases: usize) -> Result<Vec<Batch>> {
        let mut random = Random::new(SEED);
        let mut batches = Vec::new();
        let mut bytes = 0;
        for case in 0..cases {
            // Every fourth case is a batch of 1, 2 or 3; the others are single.
            let rows = if case % 4 == 3 {
                1 + case / 4 % LARGEST_BATCH
            } else {
                1
            };
            let inputs = self.draw(&mut random, size, below, rows)?;
            let outputs: BTreeMap<String, Tensor> = match self.session.run(&inputs) {
                Ok(outputs) => outputs.into_iter().collect(),
                Err(error) if batches.is_empty() || isolate::has_ended(&error) => {
                    return Err(error);
                }
                Err(_) => continue,
            };
            let tensors = inputs.values().chain(outputs.values());
            bytes += tensors
                .map(|t| t.dtype().byte_size(t.len() as u64).unwrap_or(0))
                .sum::<u64>();
            if bytes > MAX_BYTES && !batches.is_empty() {
                break;
            }
            batches.push(Batch {
                inputs,
                outputs,
                stacked: None,
                rounding_margin: None,
            });
        }
        Ok(batches)
    }

    fn draw(
        &self,
        random: &mut Random,
        size: usize,
        below: u64,
        rows: usize,
    ) -> Result<BTreeMap<String, Tensor>> {
        let specs = self.contract.inputs.iter();
        specs
            .map(|spec| {
                let flag = FLAGS.iter().any(|word| spec.name.contains(word));
                let default = if flag { 2 } else { below };
                let below = self
                    .vocabularies
                    .get(&spec.name)
                    .copied()
                    .unwrap_or(default);
                let shape = self.shape(spec, size, rows)?;
                Ok((spec.name.clone(), tensor(spec, shape, below, random)?))
            })
            .collect()
    }

    fn shape(&self, spec: &TensorSpec, size: usize, rows: usize) -> Result<Vec<usize>> {
        let batch_symbols: Vec<&str> = self
            .contract
            .inputs
            .iter()
            .filter_map(|spec| match dims(spec).first() {
                Some(Dim::Symbol(name)) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        let extent = |(axis, dim): (usize, &Dim)| match dim {
            Dim::Fixed(size) => usize::try_from(*size).map_err(|_| {
                Error::limit("golden-size", "an input is larger than memory")
                    .at(format!("input {}", quoted(&spec.name)))
            }),
            Dim::Symbol(name) if batch_symbols.contains(&name.as_str()) => Ok(rows),
            _ if is_open(spec, axis, dim) => Ok(size),
            _ => Ok(rows),
        };
        let shape = dims(spec)
            .iter()
            .enumerate()
            .map(extent)
            .collect::<Result<Vec<_>>>()?;
        let elements = shape
            .iter()
            .try_fold(1_u64, |n, &extent| n.checked_mul(extent as u64));
        match elements.filter(|elements| *elements <= MAX_BYTES) {
            Some(_) => Ok(shape),
            None => Err(
                Error::limit("golden-size", "an input is too large to be drawn")
                    .at(format!("input {}", quoted(&spec.name))),
            ),
        }
    }
}

fn dims(spec: &TensorSpec) -> &[Dim] {
    spec.shape.as_deref().unwrap_or_default()
}

/// Whether a dimension is free and no batch. A batch comes first, or second after a fixed
/// dimension, as in the state of a recurrent network (`[layers, batch, width]`).
fn is_open(spec: &TensorSpec, axis: usize, dim: &Dim) -> bool {
    let is_batch = match axis {
        0 => true,
        1 => matches!(dims(spec), [Dim::Fixed(_), _, _]),
        _ => false,
    };
    !matches!(dim, Dim::Fixed(_)) && !is_batch
}

/// Inputs that go straight into a `Gather` over a weight, with the number of its rows.
fn vocabularies(model: &Model) -> BTreeMap<String, u64> {
    let Some(graph) = &model.proto().graph else {
        return BTreeMap::new();
    };
    let gathers = graph
        .node
        .iter()
        .filter(|node| node.op_type.as_deref() == Some("Gather"));
    gathers
        .filter_map(|node| {
            let (table, ids) = (node.input.first()?, node.input.get(1)?);
            let mut weights = graph.initializer.iter();
            let weight = weights.find(|weight| weight.name.as_ref() == Some(table))?;
            let rows = u64::try_from(*weight.dims.first()?)
                .ok()
                .filter(|rows| *rows > 0)?;
            Some((ids.clone(), rows))
        })
        .collect()
}

fn tensor(spec: &TensorSpec, shape: Vec<usize>, below: u64, random: &mut Random) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    macro_rules! drawn {
        ($value:expr) => {
            Tensor::new(shape, (0..count).map(|_| $value).collect::<Vec<_>>())
        };
    }
    match spec.dtype {
        Dtype::Float32 => drawn!(random.normal() as f32),
        Dtype::Float64 => drawn!(random.normal()),
        Dtype::Float16 => drawn!(f16::from_f64(random.normal())),
        Dtype::Bfloat16 => drawn!(bf16::from_f64(random.normal())),
        Dtype::Bool => drawn!(random.range(0, 2) == 1),
        Dtype::Int64 => drawn!(random.range(0, below) as i64),
        Dtype::Int32 => drawn!(random.range(0, below) as i32),
        Dtype::Int16 => drawn!(random.range(0, below.min(1 << 15)) as i16),
        Dtype::Int8 => drawn!(random.range(0, below.min(1 << 7)) as i8),
        Dtype::Uint64 => drawn!(random.range(0, below)),
        Dtype::Uint32 => drawn!(random.range(0, below) as u32),
        Dtype::Uint16 => drawn!(random.range(0, below.min(1 << 16)) as u16),
        Dtype::Uint8 => drawn!(random.range(0, below.min(1 << 8)) as u8),
        other => Err(
            Error::unsupported("golden-inputs", "inputs of this type are not drawn")
                .at(format!("input {}", quoted(&spec.name)))
                .found(other.to_string())
                .hint("supply inputs and outputs with --golden FILE"),
        ),
    }
}
