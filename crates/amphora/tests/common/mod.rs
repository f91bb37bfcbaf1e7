//! What the tests of model families share: seeded checkpoints, running an export, and candle's own
//! implementations of the families.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

use std::collections::{BTreeMap, HashMap};

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_export::{ExportOptions, export};
use amphora_onnx::Model;
use amphora_runtime::{EngineChoice, OrtLocation, Session, SessionOptions, Tensor, engine};
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use serde_json::json;

/// A checkpoint of an architecture with weights that a formula gives: around 1 for normalizations and
/// variances, else around 0, matrices small enough that nothing grows from layer to layer.
pub(crate) fn seeded(architecture: &Architecture) -> Checkpoint {
    let mut tensors = Vec::new();
    for (place, parameter) in architecture.parameters().into_iter().enumerate() {
        if parameter.optional {
            continue;
        }
        let count = parameter.shape.iter().product::<u64>();
        let inputs = parameter.shape.iter().skip(1).product::<u64>() as f64;
        let (center, spread) = match (parameter.shape.len(), parameter.name.as_str()) {
            (1, name) if name.ends_with("weight") || name.ends_with("var") => (1.0, 0.3),
            (1, _) => (0.0, 0.3),
            _ => (0.0, (3.0 / inputs).sqrt().min(0.5)),
        };
        let value = |index: u64| {
            let number = noise(((place as u64 + 1) << 32) + index);
            ((center + spread * number) as f32).to_le_bytes()
        };
        let data = (0..count).flat_map(value).collect();
        tensors.push((parameter.name, parameter.shape, data));
    }
    Checkpoint::from_bytes(safetensors(tensors).into(), &Limits::default()).unwrap()
}

/// A number from -1 to 1 for each seed (Steele et al. 2014, SplitMix64). Sines would not do: two tables of
/// them cancel each other out somewhere, and a normalization makes rounding errors of what is left.
fn noise(seed: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// A safetensors file of float32 tensors: name, shape and bytes of each.
pub(crate) fn safetensors(
    tensors: impl IntoIterator<Item = (String, Vec<u64>, Vec<u8>)>,
) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for (name, shape, bytes) in tensors {
        let start = data.len();
        data.extend(bytes);
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name, entry);
    }
    let header = serde_json::Value::from(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend(data);
    file
}

/// The export of an architecture in rten.
pub(crate) fn session(architecture: &Architecture, checkpoint: &Checkpoint) -> Session {
    session_with(architecture, checkpoint, &ExportOptions::default())
}

/// [`session`], exported in another way.
pub(crate) fn session_with(
    architecture: &Architecture,
    checkpoint: &Checkpoint,
    options: &ExportOptions,
) -> Session {
    let proto = export(architecture, checkpoint, options).unwrap();
    let model = Model::from_proto(proto, &amphora_onnx::Limits::default()).unwrap();
    model.check().unwrap();
    let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
    Session::new(&model, rten, &SessionOptions::default(), None).unwrap()
}

/// The first output.
pub(crate) fn answer(session: &mut Session, inputs: &BTreeMap<String, Tensor>) -> Vec<f32> {
    let outputs = session.run(inputs).unwrap();
    let (_, output) = outputs.iter().next().unwrap();
    output.as_slice::<f32>().unwrap().to_vec()
}

/// The largest difference, and NaN when there is one.
pub(crate) fn furthest(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).abs());
    differences.fold(0.0, |most, d| if d.is_nan() { d } else { most.max(d) })
}

/// [`furthest`], as a share of the largest value.
pub(crate) fn relative(a: &[f32], b: &[f64]) -> f64 {
    furthest(a, b) / b.iter().fold(0.0, |most: f64, value| most.max(value.abs()))
}

/// The weights for a model of `candle-transformers`.
pub(crate) fn candle_weights(checkpoint: &Checkpoint) -> VarBuilder<'static> {
    let tensors = checkpoint.tensors().iter().map(|(name, tensor)| {
        let shape: Vec<usize> = tensor.shape().iter().map(|size| *size as usize).collect();
        let values = tensor.to_f32().unwrap();
        let tensor = candle_core::Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        (name.clone(), tensor)
    });
    let tensors: HashMap<_, _> = tensors.collect();
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

/// The elements of a tensor of candle.
pub(crate) fn values(tensor: &candle_core::Tensor) -> Vec<f64> {
    let flat = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    flat.to_vec1().unwrap()
}
