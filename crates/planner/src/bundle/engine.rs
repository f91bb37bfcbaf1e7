//! Models that the sparse forward pass does not know, run by an engine.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use amphora_error::{Error, Result, quoted};
use amphora_onnx::Model;
use amphora_runtime::{Engine, Session, SessionOptions, Tensor};

use crate::action_space::{Head, HeadLogits};
use crate::encode::{SparseVector, TokenBatch};
use crate::forward::SparseMlp;

/// A session that takes one input at a time.
#[derive(Debug)]
pub(super) struct Runner(Mutex<Session>);

impl Runner {
    pub(super) fn new(model: &Model, engine: Arc<dyn Engine>) -> Result<Self> {
        let options = SessionOptions {
            threads: NonZeroUsize::new(1),
            ..SessionOptions::default()
        };
        Ok(Self(Mutex::new(Session::new(
            model, engine, &options, None,
        )?)))
    }

    /// The engine and its version.
    pub(super) fn name(&self) -> String {
        let session = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = session.engine();
        format!("{} {}", engine.name(), engine.version())
    }

    pub(super) fn features(&self, row: &SparseVector, width: usize) -> Result<HeadLogits> {
        let input = Tensor::new([1, width], row.to_dense(width))?;
        self.run(BTreeMap::from([("input".to_owned(), input)]))
    }

    pub(super) fn tokens(&self, ids: Vec<u32>) -> Result<HeadLogits> {
        let batch = TokenBatch::new(&[ids]);
        let shape = [1, batch.sequence_length];
        let ids = Tensor::new(shape, batch.input_ids)?;
        let mask = Tensor::new(shape, batch.attention_mask)?;
        self.run(BTreeMap::from([
            ("input_ids".to_owned(), ids),
            ("attention_mask".to_owned(), mask),
        ]))
    }

    fn run(&self, inputs: BTreeMap<String, Tensor>) -> Result<HeadLogits> {
        let mut session = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(&inputs)?;
        let mut logits = HeadLogits::default();
        for head in Head::ALL {
            let output = outputs.get(head.onnx_name());
            let values = output.and_then(|tensor| tensor.as_slice::<f32>());
            let values = values.ok_or_else(|| {
                Error::incompatible("planner-outputs", "an output of a head is missing")
                    .at(format!("output {}", quoted(head.onnx_name())))
                    .expected("float32 logits")
            })?;
            logits[head.position()] = values.to_vec();
        }
        Ok(logits)
    }

    /// Whether the sparse forward pass answers as this engine does, for a directory without golden
    /// vectors: on rows of zeros, of a single feature, and of many.
    pub(super) fn agrees(&self, mlp: &SparseMlp) -> Result<bool> {
        let width = mlp.width();
        let every = |step: usize| {
            let indices: Vec<u32> = (0..).take(width).step_by(step).collect();
            let value = |index: &u32| 1.0 - (index % 7) as f32 / 8.0;
            SparseVector {
                values: indices.iter().map(value).collect(),
                indices,
            }
        };
        for row in [
            SparseVector::default(),
            every(width),
            every(61),
            every(7),
            every(1),
        ] {
            let expected = self.features(&row, width)?;
            let found = mlp.forward(&row.indices, &row.values)?;
            for (head, found) in mlp.heads().iter().zip(found) {
                let place = Head::ALL.into_iter().find(|h| h.onnx_name() == head.name);
                let Some(expected) = place.map(|head| &expected[head.position()]) else {
                    continue;
                };
                let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
                if found.len() != expected.len() || !found.iter().zip(expected).all(close) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
