//! The reference models, as PyTorch exported them, against the outputs that PyTorch recorded.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use std::collections::BTreeMap;

use amphora_onnx::{Dtype, Limits, Model};
use amphora_runtime::{Session, SessionOptions, Tensor, read_safetensors};

/// Largest absolute difference from PyTorch.
const TOLERANCE: f64 = 1e-5;
/// Rows whose quantizer lies closer to a rounding border than this may differ in code.
const MARGIN: f64 = 1e-4;

fn widened(tensor: &Tensor) -> Tensor {
    let values = tensor
        .to_f64()
        .unwrap()
        .into_iter()
        .map(|v| v as i64)
        .collect();
    Tensor::new(tensor.shape(), values).unwrap()
}

fn model(path: &str) -> Option<Model> {
    let path = amphora_testing::fixture(path)?;
    Some(Model::open(&path, &Limits::default()).unwrap())
}

fn vectors(folder: &str) -> BTreeMap<String, Tensor> {
    let path = amphora_testing::fixture(&format!("{folder}/vectors.safetensors")).unwrap();
    read_safetensors(path, 1 << 30).unwrap()
}

fn largest_difference(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let pairs = found
        .to_f64()
        .unwrap()
        .into_iter()
        .zip(expected.to_f64().unwrap());
    pairs.map(|(a, b)| (a - b).abs()).fold(
        0.0,
        |worst, d| if d > worst || d.is_nan() { d } else { worst },
    )
}

fn check(path: &str, folder: &str) {
    let Some(model) = model(path) else { return };
    let vectors = vectors(folder);
    for engine in common::engines() {
        let mut session = Session::new(&model, engine.clone(), &SessionOptions::default(), None)
            .unwrap_or_else(|e| panic!("{path} on {}: {e:?}", engine.name()));
        for rows in batches(&vectors) {
            let inputs = session.contract().inputs.clone().into_iter().map(|spec| {
                let stored = rows.cut(&vectors[&spec.name]);
                let widen = spec.dtype == Dtype::Int64;
                (spec.name, if widen { widened(&stored) } else { stored })
            });
            let outputs = session.run(&inputs.collect()).unwrap();
            for (name, found) in outputs.iter() {
                let expected = rows.cut(&vectors[name]);
                if found.dtype() == Dtype::Int64 {
                    codes_agree(found, &expected, &vectors["rounding_margin"]);
                    continue;
                }
                let worst = largest_difference(found, &expected);
                assert!(
                    worst < TOLERANCE,
                    "{path} {name} on {}: {worst}",
                    engine.name()
                );
            }
        }
    }
}

/// Rows of the recorded vectors that are run together, and the length they are cut to.
struct Rows {
    first: usize,
    count: usize,
    length: Option<usize>,
}

/// All rows at once, or one by one when they were padded to one length.
fn batches(vectors: &BTreeMap<String, Tensor>) -> Vec<Rows> {
    match vectors.get("lengths").and_then(Tensor::as_slice::<i64>) {
        None => vec![Rows {
            first: 0,
            count: usize::MAX,
            length: None,
        }],
        Some(lengths) => lengths
            .iter()
            .enumerate()
            .map(|(first, length)| Rows {
                first,
                count: 1,
                length: Some(*length as usize),
            })
            .collect(),
    }
}

impl Rows {
    /// These rows of a tensor; token tensors are two-dimensional integers and cut to the length.
    fn cut(&self, tensor: &Tensor) -> Tensor {
        let rows = tensor.shape()[0];
        let count = self.count.min(rows);
        let width = tensor.len() / rows;
        let size = tensor.dtype().byte_size(width as u64).unwrap() as usize;
        let token = size / width.max(1);
        let kept = match (tensor.dtype(), self.length) {
            (Dtype::Int32 | Dtype::Uint8, Some(length)) => length,
            _ => width,
        };
        let bytes = tensor.to_le_bytes().unwrap();
        let cut: Vec<u8> = (self.first..self.first + count)
            .flat_map(|row| bytes[row * size..row * size + kept * token].to_vec())
            .collect();
        let mut shape = tensor.shape().to_vec();
        shape[0] = count;
        if kept != width {
            shape[1] = kept;
        }
        Tensor::from_le_bytes(tensor.dtype(), shape, &cut).unwrap()
    }
}

fn codes_agree(found: &Tensor, expected: &Tensor, margin: &Tensor) {
    let rows = found
        .to_f64()
        .unwrap()
        .into_iter()
        .zip(expected.to_f64().unwrap());
    for (row, (margin, (found, expected))) in margin.to_f64().unwrap().iter().zip(rows).enumerate()
    {
        assert!(
            *margin <= MARGIN || found == expected,
            "row {row}: {found} {expected}"
        );
    }
}

#[test]
fn planner_mlp() {
    check("planner_mlp/model.onnx", "planner_mlp");
}

#[test]
fn planner_transformer() {
    check("planner_transformer/model.onnx", "planner_transformer");
}

#[test]
fn planner_urm() {
    check("planner_urm/model.onnx", "planner_urm");
}

#[test]
fn planner_urm_conv() {
    check("planner_urm_conv/model.onnx", "planner_urm_conv");
}

#[test]
fn conv2d_fsq() {
    check("conv2d_fsq/model.onnx", "conv2d_fsq");
}

#[test]
fn every_form_of_external_data() {
    for form in [
        "single",
        "one_file",
        "split",
        "dynamo_default",
        "subfolder_aligned",
    ] {
        check(&format!("external_data/{form}/model.onnx"), "external_data");
    }
}
