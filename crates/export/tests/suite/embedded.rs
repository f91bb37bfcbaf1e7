//! The embedded engine.

use amphora_checkpoint::architecture::{Architecture, Axis};
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_export::{ExportOptions, export};
use amphora_testing::{each, fixture, repository};
use rten::{Value, ValueOrView};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;
use safetensors::SafeTensors;

use crate::support::{CASES, Case};

/// One recorded tensor, as numbers.
struct Recorded {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Recorded {
    fn read(file: &SafeTensors<'_>, name: &str) -> Option<Self> {
        let view = file.tensor(name).ok()?;
        let bytes = view.data();
        let values = match view.dtype() {
            safetensors::Dtype::F32 => numbers(bytes, |b| f64::from(f32::from_le_bytes(b))),
            safetensors::Dtype::I32 => numbers(bytes, |b| f64::from(i32::from_le_bytes(b))),
            safetensors::Dtype::I64 => numbers(bytes, |b| i64::from_le_bytes(b) as f64),
            safetensors::Dtype::U8 => numbers(bytes, |[byte]| f64::from(byte)),
            other => panic!("{name} is {other:?}"),
        };
        Some(Self {
            shape: view.shape().to_vec(),
            values,
        })
    }

    /// Rows from `start` to `end`, of each the first `width` values.
    fn cut(&self, start: usize, end: usize, width: usize) -> Tensor<i32> {
        let row = self.shape[1];
        let values: Vec<i32> = (start..end)
            .flat_map(|index| &self.values[index * row..index * row + width])
            .map(|value| *value as i32)
            .collect();
        Tensor::from_data(&[end - start, width], values)
    }
}

fn numbers<const SIZE: usize>(bytes: &[u8], convert: impl Fn([u8; SIZE]) -> f64) -> Vec<f64> {
    let (elements, _) = bytes.as_chunks::<SIZE>();
    elements.iter().map(|element| convert(*element)).collect()
}

/// Inputs of each run by name, with the first row of the recorded outputs that they belong to.
fn calls(file: &SafeTensors<'_>) -> Vec<(usize, Vec<(&'static str, Value)>)> {
    let Some(ids) = Recorded::read(file, "input_ids") else {
        let input = Recorded::read(file, "input").unwrap();
        let values: Vec<f32> = input.values.iter().map(|value| *value as f32).collect();
        let name = if input.shape.len() == 2 {
            "input"
        } else {
            "imu_input"
        };
        return vec![(
            0,
            vec![(name, Tensor::from_data(&input.shape, values).into())],
        )];
    };
    let mask = Recorded::read(file, "attention_mask").unwrap();
    let lengths = Recorded::read(file, "lengths").unwrap().values;
    let rows = [(0, 1), (1, 2), (2, 3), (3, 4), (4, ids.shape[0])];
    rows.into_iter()
        .map(|(start, end)| {
            let longest = lengths[start..end].iter().fold(0.0_f64, |a, b| a.max(*b));
            let cut = |table: &Recorded| table.cut(start, end, longest as usize).into();
            (
                start,
                vec![("input_ids", cut(&ids)), ("attention_mask", cut(&mask))],
            )
        })
        .collect()
}

fn replay(case: &Case) -> Result<(), String> {
    let Some(bytes) = case.export_bytes(&ExportOptions::default()) else {
        return Ok(());
    };
    let model = rten::Model::load(bytes).map_err(|error| error.to_string())?;
    let vectors = fs_err::read(fixture(case.fixture).unwrap().join("vectors.safetensors")).unwrap();
    let vectors = SafeTensors::deserialize(&vectors).unwrap();
    let margin = Recorded::read(&vectors, "rounding_margin");
    for (first_row, inputs) in calls(&vectors) {
        let inputs = inputs
            .into_iter()
            .map(|(name, value)| (model.node_id(name).unwrap(), ValueOrView::from(value)))
            .collect();
        let results = model
            .run(inputs, model.output_ids(), None)
            .map_err(|error| error.to_string())?;
        for (id, result) in model.output_ids().iter().zip(results) {
            let info = model.node_info(*id).unwrap();
            let name = info.name().unwrap();
            let found: Vec<f64> = match result {
                Value::FloatTensor(values) => values.iter().map(|v| f64::from(*v)).collect(),
                Value::Int32Tensor(values) => values.iter().map(|v| f64::from(*v)).collect(),
                other => panic!("{name} is {other:?}"),
            };
            let recorded = Recorded::read(&vectors, name).unwrap();
            let width: usize = recorded.shape[1..].iter().product();
            let expected = &recorded.values[first_row * width..][..found.len()];
            for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
                let clear = name != "behavioral_codes"
                    || margin
                        .as_ref()
                        .is_some_and(|margin| margin.values[index] > 1e-4);
                let close = (found - expected).abs() <= 1e-5;
                if clear && !close {
                    return Err(format!("{name}[{index}]: {found} instead of {expected}"));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_checkpoint_computes_what_pytorch_did() {
    each(&CASES, replay);
}

#[test]
fn a_sequence_longer_than_the_positions_is_an_error() {
    let rows: Vec<Case> = Case::safetensors()
        .filter(|case| case.fixture.starts_with("planner_") && case.fixture != "planner_mlp")
        .collect();
    each(&rows, |case| {
        let Some((architecture, _)) = case.open() else {
            return Ok(());
        };
        let Axis::Dynamic { max: Some(max), .. } = architecture.inputs()[0].shape[1] else {
            return Err("the sequence has no largest length");
        };
        let bytes = case.export_bytes(&ExportOptions::default()).unwrap();
        let model = rten::Model::load(bytes).unwrap();
        let length = max as usize + 1;
        let inputs = ["input_ids", "attention_mask"].map(|name| {
            let ones = Value::from(Tensor::from_data(&[1, length], vec![1; length]));
            (model.node_id(name).unwrap(), ValueOrView::from(ones))
        });
        match model.run(inputs.into(), model.output_ids(), None) {
            Ok(_) => Err("the positions were repeated or cut"),
            Err(_) => Ok(()),
        }
    });
}

#[test]
fn the_shipped_example_has_the_classes_and_codes_that_its_readme_names() {
    let folder = repository().join("examples/conv2d_fsq");
    let config = amphora_files::json::read(folder.join("config.json")).unwrap();
    let architecture = Architecture::from_config(&config).unwrap();
    let checkpoint = Checkpoint::open(folder.join("model.pt"), &Limits::default()).unwrap();
    let model = export(&architecture, &checkpoint, &ExportOptions::default()).unwrap();
    let model = rten::Model::load(amphora_onnx::write::to_bytes(&model)).unwrap();

    // The header of this file is 128 bytes long.
    let windows = fs_err::read(folder.join("windows.npy")).unwrap();
    let windows: Vec<f32> = numbers(&windows[128..], |b| f64::from(f32::from_le_bytes(b)))
        .into_iter()
        .map(|value| value as f32)
        .collect();
    let input = Value::from(Tensor::from_data(&[4, 9, 2, 100], windows));
    let inputs = vec![(model.node_id("imu_input").unwrap(), input.into())];
    let outputs = ["behavioral_codes", "logits"].map(|name| model.node_id(name).unwrap());
    let results: [Value; 2] = model.run_n(inputs, outputs, None).unwrap();
    let [Value::Int32Tensor(codes), Value::FloatTensor(logits)] = results else {
        panic!("codes and logits have other dtypes");
    };
    assert_eq!(
        codes.iter().copied().collect::<Vec<_>>(),
        [199, 201, 239, 92]
    );
    let logits: Vec<f32> = logits.iter().copied().collect();
    let classes: Vec<_> = logits
        .chunks(4)
        .map(|row| (0..4).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap())
        .collect();
    assert_eq!(classes, [0, 1, 2, 3]);
}
