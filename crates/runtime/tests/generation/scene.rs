//! The recorded language model.

use std::collections::BTreeMap;
use std::sync::Arc;

use amphora_bundle::manifest::Generation;
use amphora_onnx::{Limits, Model};
use amphora_runtime::generation::Generator;
use amphora_runtime::{Engine, Session, SessionOptions, Tensor, read_safetensors};

/// The token that the model is filled up with.
pub(crate) const PAD: u32 = 1473;

pub(crate) fn manifest() -> Generation {
    Generation {
        prefill: "prefill".into(),
        decode: "decode".into(),
        context_length: Some(1024),
        positions_per_call: None,
        stop_token_ids: Vec::new(),
        pad_token_id: Some(PAD),
        chat_template: None,
        sampling: None,
    }
}

/// Both graphs of the recorded model, or `None` where it is absent.
pub(crate) fn graphs() -> Option<[Model; 2]> {
    let open = |name: &str| {
        let path = amphora_testing::fixture(&format!("qwen3_tiny/{name}.onnx"))?;
        Some(Model::open(&path, &Limits::default()).unwrap())
    };
    Some([open("prefill")?, open("decode")?])
}

pub(crate) fn session(model: &Model, engine: Arc<dyn Engine>) -> Session {
    Session::new(model, engine, &SessionOptions::default(), None).unwrap()
}

pub(crate) fn generator_of(
    [prefill, decode]: &[Model; 2],
    engine: &Arc<dyn Engine>,
    manifest: &Generation,
) -> Generator {
    let prefill = session(prefill, engine.clone());
    let decode = session(decode, engine.clone());
    Generator::new(prefill, decode, manifest).unwrap()
}

pub(crate) fn generator(graphs: &[Model; 2], engine: &Arc<dyn Engine>) -> Generator {
    generator_of(graphs, engine, &manifest())
}

pub(crate) struct Recorded(BTreeMap<String, Tensor>);

impl Recorded {
    pub(crate) fn read() -> Self {
        let path = amphora_testing::fixture("qwen3_tiny/vectors.safetensors").unwrap();
        Self(read_safetensors(path, 1 << 30).unwrap())
    }

    /// Rows of token ids.
    pub(crate) fn ids(&self, name: &str) -> Vec<u32> {
        let ids = self.0[name].as_slice::<i64>().unwrap();
        ids.iter().map(|&id| id.try_into().unwrap()).collect()
    }

    /// The rows of a matrix.
    pub(crate) fn rows(&self, name: &str) -> Vec<&[f32]> {
        let tensor = &self.0[name];
        let width = *tensor.shape().last().unwrap();
        tensor
            .as_slice::<f32>()
            .unwrap()
            .chunks_exact(width)
            .collect()
    }

    pub(crate) fn prompt(&self) -> Vec<u32> {
        self.ids("prompt_ids")
    }
}

/// Numbers that look random, the same every day (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % u64::from(limit)) as u32
    }

    pub(crate) fn prompt(&mut self, tokens: u32) -> Vec<u32> {
        (0..tokens).map(|_| self.below(1400)).collect()
    }
}

pub(crate) fn best(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

/// Largest difference, relative to the largest expected value.
pub(crate) fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let pairs = found.iter().zip(expected);
    let worst = pairs.map(|(a, b)| (a - b).abs());
    worst.fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m }) / scale
}
