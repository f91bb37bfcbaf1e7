//! A language model as two sessions, its reference, and numbers to compare.

use std::collections::BTreeMap;

use amphora_checkpoint::architecture::{Architecture, GraphRole};
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_export::{ExportOptions, export_graph};
use amphora_models::{Array, Data, Reference};
use amphora_onnx::Model;
use amphora_runtime::{EngineChoice, OrtLocation, Session, SessionOptions, Tensor, engine};
use serde_json::{Value, json};

/// Rows of tokens, all as long as the longest: what `pad` adds is masked.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) ids: Vec<Vec<i64>>,
    pub(crate) mask: Vec<Vec<i64>>,
}

/// Where padding stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pad {
    Left,
    Right,
}

impl Batch {
    pub(crate) fn one(ids: &[i64]) -> Self {
        Self::padded(&[ids.to_vec()], Pad::Left)
    }

    pub(crate) fn padded(rows: &[Vec<i64>], pad: Pad) -> Self {
        let longest = rows.iter().map(Vec::len).max().unwrap();
        let filled = |row: &Vec<i64>, content: Vec<i64>| {
            let padding = vec![0; longest - row.len()];
            match pad {
                Pad::Left => [padding, content].concat(),
                Pad::Right => [content, padding].concat(),
            }
        };
        Self {
            ids: rows.iter().map(|row| filled(row, row.clone())).collect(),
            mask: rows
                .iter()
                .map(|row| filled(row, vec![1; row.len()]))
                .collect(),
        }
    }

    fn inputs(&self) -> BTreeMap<String, Tensor> {
        [("input_ids", &self.ids), ("attention_mask", &self.mask)]
            .map(|(name, rows)| {
                let shape = [rows.len(), rows[0].len()];
                (name.to_owned(), Tensor::new(shape, rows.concat()).unwrap())
            })
            .into()
    }
}

/// Outputs by name.
pub(crate) type Outputs = BTreeMap<String, Tensor>;

/// The graphs of one language model, in the engine that comes with us.
pub(crate) struct Graphs {
    pub(crate) architecture: Architecture,
    sessions: BTreeMap<GraphRole, Session>,
}

impl Graphs {
    pub(crate) fn new(
        architecture: &Architecture,
        checkpoint: &Checkpoint,
        options: &ExportOptions,
    ) -> Self {
        let session = |role: &GraphRole| {
            let proto = export_graph(architecture, checkpoint, *role, options).unwrap();
            let model = Model::from_proto(proto, &amphora_onnx::Limits::default()).unwrap();
            model.check().unwrap();
            let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
            let session = Session::new(&model, rten, &SessionOptions::default(), None);
            (*role, session.unwrap())
        };
        Self {
            architecture: architecture.clone(),
            sessions: architecture.roles().iter().map(session).collect(),
        }
    }

    /// The first graph.
    pub(crate) fn read(&mut self, batch: &Batch) -> Outputs {
        let role = self.architecture.roles()[0];
        let session = self.sessions.get_mut(&role).unwrap();
        session.run(&batch.inputs()).unwrap().into_iter().collect()
    }

    /// The graph that goes on: `batch` has the new ids and the mask over everything.
    pub(crate) fn go_on(&mut self, batch: &Batch, before: &Outputs) -> Outputs {
        let mut inputs = batch.inputs();
        inputs.extend(past(before));
        let session = self.sessions.get_mut(&GraphRole::Decode).unwrap();
        session.run(&inputs).unwrap().into_iter().collect()
    }

    /// The greedy continuation of one prompt, with the logits of each step.
    pub(crate) fn greedy(&mut self, prompt: &[i64], count: usize) -> (Vec<i64>, Vec<Vec<f32>>) {
        let mut outputs = self.read(&Batch::one(prompt));
        let (mut tokens, mut steps) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let step = last_row(&outputs["logits"], 0);
            let best = highest(&step);
            tokens.push(best);
            steps.push(step);
            let batch = Batch {
                ids: vec![vec![best]],
                mask: vec![vec![1; prompt.len() + tokens.len()]],
            };
            outputs = self.go_on(&batch, &outputs);
        }
        (tokens, steps)
    }
}

/// What one graph's keys and values are called by the next.
fn past(outputs: &Outputs) -> impl Iterator<Item = (String, Tensor)> + '_ {
    outputs
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("present_")?, tensor)))
        .map(|(name, tensor)| (format!("past_{name}"), tensor.clone()))
}

/// The place of the largest number, the first of several.
fn highest(row: &[f32]) -> i64 {
    let better = |best: usize, place: usize| if row[place] > row[best] { place } else { best };
    (0..row.len()).fold(0, better) as i64
}

/// The last token's row of `[batch, sequence, width]`.
pub(crate) fn last_row(tensor: &Tensor, row: usize) -> Vec<f32> {
    token_row(tensor, row, tensor.shape()[1] - 1)
}

pub(crate) fn token_row(tensor: &Tensor, row: usize, token: usize) -> Vec<f32> {
    let [_, time, width] = tensor.shape() else {
        panic!("{:?}", tensor.shape())
    };
    let start = (row * time + token) * width;
    tensor.as_slice::<f32>().unwrap()[start..start + width].to_vec()
}

/// The largest difference, as a part of the largest number expected.
pub(crate) fn furthest<A: Copy + Into<f64>, B: Copy + Into<f64>>(
    found: &[A],
    expected: &[B],
) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected
        .iter()
        .fold(0.0_f64, |most, e| most.max((*e).into().abs()));
    let differences = found
        .iter()
        .zip(expected)
        .map(|(f, e)| ((*f).into() - (*e).into()).abs());
    let most = differences.fold(0.0, |most, d| if d.is_nan() { d } else { most.max(d) });
    most / scale.max(f64::MIN_POSITIVE)
}

pub(crate) const CLOSE: f64 = 1e-5;

/// `Ok` where `far` is within [`CLOSE`].
pub(crate) fn close(what: &str, far: f64) -> Result<(), String> {
    match far < CLOSE {
        true => Ok(()),
        false => Err(format!("{what}: {far:e} away")),
    }
}

/// A reference's answer to what a session was asked.
pub(crate) fn truth(model: &Reference, role: GraphRole, batch: &Batch, before: &Outputs) -> Truth {
    let array = |(name, tensor): (String, Tensor)| {
        let data = match tensor.as_slice::<i64>() {
            Some(ids) => Data::I64(ids.to_vec()),
            None => Data::F64(tensor.to_f64().unwrap()),
        };
        (name, Array::new(tensor.shape().to_vec(), data).unwrap())
    };
    let mut inputs: BTreeMap<String, Array> = batch.inputs().into_iter().map(array).collect();
    if role == GraphRole::Decode {
        inputs.extend(past(before).map(array));
    }
    let answer = model.forward_graph(role, &inputs).unwrap();
    let outputs = answer.outputs.into_iter();
    outputs
        .map(|(name, array)| (name, array.as_f64().unwrap().to_vec()))
        .collect()
}

/// Outputs in 64 bits by name.
pub(crate) type Truth = BTreeMap<String, Vec<f64>>;

/// Numbers from -1 to 1 that a formula gives (Steele et al. 2014, SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn ids(&mut self, vocabulary: usize, count: usize) -> Vec<i64> {
        (0..count).map(|_| self.below(vocabulary) as i64).collect()
    }
}

/// The tensors of an architecture by name, seeded: norms around 1, everything else around 0.
pub(crate) fn seeded(architecture: &Architecture) -> BTreeMap<String, (Vec<u64>, Vec<f32>)> {
    let mut random = Random(7);
    let parameters = architecture.parameters().into_iter();
    parameters
        .filter(|parameter| !parameter.optional)
        .map(|parameter| {
            let norm = parameter.shape.len() == 1 && parameter.name.ends_with("weight");
            let center = if norm { 1.0 } else { 0.0 };
            let count = parameter.shape.iter().product::<u64>();
            let values = (0..count).map(|_| center + 0.3 * random.real()).collect();
            (parameter.name, (parameter.shape, values))
        })
        .collect()
}

/// A safetensors file.
pub(crate) fn safetensors<'a>(
    tensors: impl IntoIterator<Item = (&'a String, &'a (Vec<u64>, Vec<f32>))>,
) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, (shape, values)) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), entry);
    }
    let header = Value::from(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend(data);
    file
}

pub(crate) fn seeded_checkpoint(architecture: &Architecture) -> Checkpoint {
    let file = safetensors(&seeded(architecture));
    Checkpoint::from_bytes(file.into(), &Limits::default()).unwrap()
}
