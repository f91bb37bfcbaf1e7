//! Models that others made, out of packages on PyPI: both engines agree, or a refusal names why.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use amphora_error::ErrorKind;
use amphora_onnx::{Contract, Dim, Dtype, Limits, Model};
use amphora_runtime::{Outputs, Session, SessionOptions, Tensor};

/// Largest difference between two engines.
const TOLERANCE: f64 = 1e-4;

/// A size for each open dimension. The models of silero-vad take a window of 512 samples (576 with
/// its context) and leave the length unnamed.
fn size(dim: &Dim, axis: usize) -> usize {
    match dim {
        Dim::Fixed(size) => *size as usize,
        Dim::Symbol(name) if name == "sequence" => 576,
        Dim::Unknown if axis == 1 => 576,
        Dim::Symbol(_) | Dim::Unknown => 1,
    }
}

/// Inputs that mean something to these models: bytes or token ids, a sampling rate, samples of sound
/// and states.
fn inputs(contract: &Contract) -> BTreeMap<String, Tensor> {
    let one = |spec: &amphora_onnx::TensorSpec| {
        let dims = spec.shape.as_deref().unwrap_or(&[]);
        let shape: Vec<usize> = dims
            .iter()
            .enumerate()
            .map(|(axis, dim)| {
                let state = spec.name == "state" && axis == 1;
                if state { 1 } else { size(dim, axis) }
            })
            .collect();
        let count: usize = shape.iter().product();
        match spec.dtype {
            Dtype::Int64 => Tensor::new(shape, vec![16_000_i64; count]),
            Dtype::Int32 => {
                let ids = (0..count).map(|i| (i * 31 % 257) as i32).collect();
                Tensor::new(shape, ids)
            }
            _ => {
                let wave = (0..count).map(|i| (i as f32 * 0.37).sin() * 0.4).collect();
                Tensor::new(shape, wave)
            }
        }
    };
    let named = contract.inputs.iter();
    named
        .map(|spec| (spec.name.clone(), one(spec).unwrap()))
        .collect()
}

fn run(path: &Path) -> Vec<(&'static str, amphora_error::Result<Outputs>)> {
    let model = Model::open(path, &Limits::default()).unwrap();
    // tract names one reason and stops, so that its refusals are not held to this promise.
    let engines = common::engines().into_iter();
    engines
        .filter(|engine| engine.name() != "tract")
        .map(|engine| {
            let name = engine.name();
            let session = Session::new(&model, engine, &SessionOptions::default(), None);
            let outputs = session.and_then(|mut session| {
                let inputs = inputs(session.contract());
                session.run(&inputs)
            });
            (name, outputs)
        })
        .collect()
}

fn difference(a: &Outputs, b: &Outputs) -> f64 {
    let pairs = a.iter().zip(b.iter());
    let worst = pairs.map(|((_, a), (_, b))| {
        assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
        let values = a.to_f64().unwrap().into_iter().zip(b.to_f64().unwrap());
        values.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    });
    worst.fold(0.0, f64::max)
}

#[test]
fn engines_agree_or_name_what_they_lack() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(models) = amphora_testing::packaged_models(scratch.path()) else {
        return;
    };
    amphora_testing::each(&models, |path| {
        let mut answers = Vec::new();
        for (engine, outputs) in run(path) {
            match outputs {
                Ok(outputs) => answers.push(outputs),
                Err(e) if e.kind() == ErrorKind::Unsupported => {
                    // A refusal is an answer when it names operators or values one by one.
                    if e.fault_list().is_empty() {
                        return Err(format!("{engine}: {e:?}"));
                    }
                    println!("{engine} refuses {}: {e}", path.display());
                }
                Err(e) => return Err(format!("{engine}: {e:?}")),
            }
        }
        if let [first, second] = &answers[..] {
            let worst = difference(first, second);
            println!("{}: {worst:e}", path.display());
            if worst > TOLERANCE {
                return Err(format!("the engines differ by {worst}"));
            }
        }
        Ok(())
    });
}
