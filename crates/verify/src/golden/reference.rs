//! Golden vectors from the reference forward pass of a checkpoint.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use amphora_bundle::manifest::GoldenKind;
use amphora_checkpoint::Checkpoint;
use amphora_checkpoint::architecture::{Architecture, GraphRole};
use amphora_error::{Error, Result};
use amphora_models::{Array, Data, Precision, Reference, reference};
use amphora_runtime::Tensor;

use super::draw::{self, Drawn, draw};
use super::random::Random;
use super::{Batch, Golden, SEED};

/// Cases of one forward pass of the reference.
const ROWS_AT_ONCE: usize = 10;

/// How long the reference takes for one case, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferenceTime {
    /// Mean over all cases. They run ten at a time, which counts as ten equal times.
    pub mean_ms: f64,
    /// Standard deviation of the same; `None` when there was only one case.
    pub std_ms: Option<f64>,
}

impl Golden {
    /// Draws at most `cases` inputs and computes their outputs with the reference model in f64,
    /// which shares nothing with the exported graph.
    ///
    /// # Errors
    ///
    /// Usage (`golden-cases`) when no case is asked for, and (`golden-graphs`) for a model of several
    /// graphs; those of [`amphora_models::reference`].
    pub fn of_checkpoint(
        architecture: &Architecture,
        checkpoint: &Checkpoint,
        cases: usize,
    ) -> Result<(Self, ReferenceTime)> {
        let (mut goldens, time) = Self::of_graphs(architecture, checkpoint, cases)?;
        match (goldens.pop(), goldens.len()) {
            (Some(golden), 0) => Ok((golden, time)),
            _ => Err(Error::usage(
                "golden-graphs",
                "the model is not one graph with golden vectors of its own",
            )),
        }
    }

    /// The vectors of every graph of a model, in the order of [`Architecture::roles`]; the time is that
    /// of the first. A graph that goes on from a past is given what the reference itself read before.
    ///
    /// # Errors
    ///
    /// Usage (`golden-cases`) when no case is asked for, and those of [`amphora_models::reference`].
    pub fn of_graphs(
        architecture: &Architecture,
        checkpoint: &Checkpoint,
        cases: usize,
    ) -> Result<(Vec<Self>, ReferenceTime)> {
        if cases == 0 {
            return Err(Error::usage(
                "golden-cases",
                "golden vectors need at least one case",
            ));
        }
        let model = reference(architecture, checkpoint, Precision::F64)?;
        let producer = format!(
            "amphora {} reference forward pass of {} in float64",
            env!("CARGO_PKG_VERSION"),
            architecture.model_type()
        );
        let golden = |batches| Self {
            kind: GoldenKind::Equivalence,
            producer: producer.clone(),
            seed: Some(SEED),
            batches,
            notes: Vec::new(),
            scaled: is_scaled(architecture),
        };
        let first = architecture.roles().first().copied();
        let first = first.unwrap_or(GraphRole::Single);
        let mut times = Vec::new();
        let (mut read, mut continued) = (Vec::new(), Vec::new());
        let mut random = Random::new(SEED ^ 1);
        for drawn in draw(architecture, cases)? {
            let (outputs, margins) = evaluate(&model, first, &drawn, &mut times)?;
            if let (true, Architecture::Decoder(config)) = (
                architecture.roles().contains(&GraphRole::Decode),
                architecture,
            ) {
                let next = draw::continued(&mut random, config, &drawn, &outputs)?;
                let role = GraphRole::Decode;
                let (outputs, margins) = evaluate(&model, role, &next, &mut Vec::new())?;
                continued.push(batch(&next, &outputs, margins)?);
            }
            read.push(batch(&drawn, &outputs, margins)?);
        }
        let mut goldens = vec![golden(read)];
        if !continued.is_empty() {
            goldens.push(golden(continued));
        }
        let (mean_ms, std_ms) = crate::replay::mean_and_deviation(&times);
        Ok((goldens, ReferenceTime { mean_ms, std_ms }))
    }
}

/// Outputs by name, and the rounding margins of the cases.
type Evaluated = (BTreeMap<String, Array>, Vec<f64>);

fn evaluate(
    model: &Reference,
    role: GraphRole,
    drawn: &Drawn,
    times: &mut Vec<f64>,
) -> Result<Evaluated> {
    let mut outputs: BTreeMap<String, Array> = BTreeMap::new();
    let mut margins = Vec::new();
    let mut start = 0;
    while start < drawn.cases {
        let rows = start..(start + ROWS_AT_ONCE).min(drawn.cases);
        let part = drawn
            .inputs
            .iter()
            .map(|(name, array)| Ok((name.clone(), rows_of(array, &rows)?)))
            .collect::<Result<_>>()?;
        let clock = Instant::now();
        let answer = model.forward_graph(role, &part)?;
        let each = clock.elapsed().as_secs_f64() * 1000.0 / rows.len() as f64;
        times.extend(rows.clone().map(|_| each));
        for (name, array) in answer.outputs {
            let whole = match outputs.remove(&name) {
                Some(before) => append(&before, &array)?,
                None => array,
            };
            outputs.insert(name, whole);
        }
        margins.extend(answer.rounding_margin.unwrap_or_default());
        start = rows.end;
    }
    Ok((outputs, margins))
}

fn batch(drawn: &Drawn, outputs: &BTreeMap<String, Array>, margins: Vec<f64>) -> Result<Batch> {
    let tensors = |arrays: &BTreeMap<String, Array>, narrow| {
        let named = arrays.iter();
        named
            .map(|(name, array)| Ok((name.clone(), tensor(array, narrow)?)))
            .collect::<Result<_>>()
    };
    Ok(Batch {
        inputs: tensors(&drawn.inputs, true)?,
        outputs: tensors(outputs, false)?,
        stacked: Some(drawn.cases),
        rounding_margin: (!margins.is_empty()).then_some(margins),
    })
}

/// The first dimension of `array` cut to `rows`.
fn rows_of(array: &Array, rows: &Range<usize>) -> Result<Array> {
    let mut shape = array.shape().to_vec();
    let all = shape.first().copied().unwrap_or(1).max(1);
    if let Some(first) = shape.first_mut() {
        *first = rows.len();
    }
    fn cut<T: Clone>(values: &[T], all: usize, rows: &Range<usize>) -> Vec<T> {
        let row = values.len() / all;
        values
            .get(rows.start * row..rows.end * row)
            .unwrap_or_default()
            .to_vec()
    }
    let data = match array.data() {
        Data::F64(values) => Data::F64(cut(values, all, rows)),
        Data::I64(values) => Data::I64(cut(values, all, rows)),
    };
    Array::new(shape, data)
}

fn append(first: &Array, second: &Array) -> Result<Array> {
    let mut shape = first.shape().to_vec();
    if let (Some(rows), Some(more)) = (shape.first_mut(), second.shape().first()) {
        *rows += more;
    }
    let data = match (first.data(), second.data()) {
        (Data::F64(a), Data::F64(b)) => Data::F64([a.as_slice(), b].concat()),
        (Data::I64(a), Data::I64(b)) => Data::I64([a.as_slice(), b].concat()),
        _ => {
            return Err(Error::internal(
                "reference-dtype",
                "the reference changed the type of an output",
            ));
        }
    };
    Array::new(shape, data)
}

/// Inputs are stored as the graph takes them (`narrow`: f32), outputs in full precision.
fn tensor(array: &Array, narrow: bool) -> Result<Tensor> {
    match array.data() {
        Data::I64(values) => Tensor::new(array.shape(), values.clone()),
        Data::F64(values) if narrow => Tensor::new(
            array.shape(),
            values.iter().map(|v| *v as f32).collect::<Vec<f32>>(),
        ),
        Data::F64(values) => Tensor::new(array.shape(), values.clone()),
    }
}

/// Documents 000 and 003 measure their models in absolute numbers; the values of others have no unit.
fn is_scaled(architecture: &Architecture) -> bool {
    !matches!(
        architecture,
        Architecture::Mlp(_)
            | Architecture::Transformer(_)
            | Architecture::Urm(_)
            | Architecture::Conv2dFsq(_)
    )
}
