//! The reference models against the outputs that PyTorch recorded.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use std::collections::BTreeMap;

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_models::{Array, Data, Precision, Reference, reference};
use amphora_testing::{each, fixture};

const PLANNERS: [&str; 4] = [
    "planner_mlp",
    "planner_transformer",
    "planner_urm",
    "planner_urm_conv",
];

struct Fixture {
    architecture: Architecture,
    checkpoint: Checkpoint,
    vectors: Checkpoint,
}

fn load(name: &str) -> Option<Fixture> {
    let folder = fixture(name)?;
    let config = amphora_files::json::read(folder.join("config.json")).unwrap();
    let open = |file: &str| Checkpoint::open(folder.join(file), &Limits::default()).unwrap();
    Some(Fixture {
        architecture: Architecture::from_config(&config).unwrap(),
        checkpoint: open("model.safetensors"),
        vectors: open("vectors.safetensors"),
    })
}

impl Fixture {
    fn model(&self, precision: Precision) -> Reference {
        reference(&self.architecture, &self.checkpoint, precision).unwrap()
    }

    fn values(&self, name: &str) -> (Vec<usize>, Vec<f64>) {
        let tensor = &self.vectors.tensors()[name];
        let shape = tensor.shape().iter().map(|&extent| extent as usize);
        (shape.collect(), tensor.to_f64().unwrap())
    }

    /// Rows `rows` of a recorded array, each cut to its first `width` elements.
    fn rows(&self, name: &str, rows: &[usize], width: usize) -> Vec<f64> {
        let (shape, values) = self.values(name);
        let row = values.len() / shape[0];
        rows.iter()
            .flat_map(|&index| values[index * row..][..width.min(row)].to_vec())
            .collect()
    }

    fn tokens(&self, rows: &[usize], width: usize) -> BTreeMap<String, Array> {
        ["input_ids", "attention_mask"]
            .into_iter()
            .map(|name| {
                let ids = self.rows(name, rows, width);
                let ids = ids.into_iter().map(|id| id as i64).collect();
                (
                    name.to_owned(),
                    array(vec![rows.len(), width], Data::I64(ids)),
                )
            })
            .collect()
    }

    fn real(&self, recorded: &str, input: &str) -> BTreeMap<String, Array> {
        let (shape, values) = self.values(recorded);
        BTreeMap::from([(input.to_owned(), array(shape, Data::F64(values)))])
    }
}

fn array(shape: Vec<usize>, data: Data) -> Array {
    Array::new(shape, data).unwrap()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |largest, d| {
        if d > largest || d.is_nan() {
            d
        } else {
            largest
        }
    })
}

fn suffix(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "",
        Precision::F64 => "_f64",
    }
}

/// Largest difference accepted for the recorded outputs of the same precision.
fn bound(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-5,
        Precision::F64 => 1e-12,
    }
}

fn compare(
    fixture: &Fixture,
    precision: Precision,
    inputs: &BTreeMap<String, Array>,
    rows: &[usize],
) -> Result<(), String> {
    let outputs = fixture.model(precision).forward(inputs).unwrap().outputs;
    for (name, output) in &outputs {
        let recorded = fixture.rows(&format!("{name}{}", suffix(precision)), rows, usize::MAX);
        let worst = largest_difference(output.as_f64().unwrap(), &recorded);
        if worst.is_nan() || worst > bound(precision) {
            return Err(format!("{name} differs by {worst:e}"));
        }
    }
    Ok(())
}

#[test]
fn planner_outputs_agree_with_pytorch_in_both_precisions() {
    each(&PLANNERS, |name| {
        let Some(fixture) = load(name) else {
            return Ok(());
        };
        for precision in [Precision::F64, Precision::F32] {
            if *name == "planner_mlp" {
                let rows: Vec<usize> = (0..64).collect();
                compare(&fixture, precision, &fixture.real("input", "input"), &rows)?;
                continue;
            }
            let (_, lengths) = fixture.values("lengths");
            // The row of the maximal length alone, and short rows padded to the longest of them.
            let longest = lengths.iter().copied().fold(0.0, f64::max);
            let full = lengths
                .iter()
                .position(|length| *length == longest)
                .unwrap();
            compare(
                &fixture,
                precision,
                &fixture.tokens(&[full], longest as usize),
                &[full],
            )?;
            let short: Vec<usize> = (0..64).filter(|row| *row != full).step_by(3).collect();
            let width = short
                .iter()
                .map(|row| lengths[*row] as usize)
                .max()
                .unwrap();
            compare(&fixture, precision, &fixture.tokens(&short, width), &short)?;
        }
        Ok::<(), String>(())
    });
}

#[test]
fn conv2d_fsq_gives_the_recorded_codes_confidence_and_margin() {
    let Some(fixture) = load("conv2d_fsq") else {
        return;
    };
    let inputs = fixture.real("input", "imu_input");
    for precision in [Precision::F64, Precision::F32] {
        let answer = fixture.model(precision).forward(&inputs).unwrap();
        let outputs = answer.outputs;
        let recorded = |name: &str| fixture.values(&format!("{name}{}", suffix(precision))).1;
        let codes: Vec<f64> = outputs["behavioral_codes"]
            .as_i64()
            .unwrap()
            .iter()
            .map(|code| *code as f64)
            .collect();
        assert_eq!(codes, recorded("behavioral_codes"), "{precision:?}");
        for name in ["confidence", "logits"] {
            let worst = largest_difference(outputs[name].as_f64().unwrap(), &recorded(name));
            assert!(worst <= bound(precision), "{precision:?} {name}: {worst:e}");
        }
        let (_, recorded) = fixture.values("rounding_margin");
        let worst = largest_difference(&answer.rounding_margin.unwrap(), &recorded);
        assert!(worst < 1e-5, "margin {worst:e}");
    }
}

#[test]
fn padding_changes_nothing() {
    each(&PLANNERS[1..], |name| {
        let Some(fixture) = load(name) else {
            return Ok(());
        };
        let (_, lengths) = fixture.values("lengths");
        let row = lengths.iter().position(|length| *length == 3.0).unwrap();
        let model = fixture.model(Precision::F64);
        let tight = model.forward(&fixture.tokens(&[row], 3)).unwrap().outputs;
        let padded = model.forward(&fixture.tokens(&[row], 40)).unwrap().outputs;
        for (head, logits) in &tight {
            let worst =
                largest_difference(logits.as_f64().unwrap(), padded[head].as_f64().unwrap());
            if worst > 1e-12 {
                return Err(format!("{head} differs by {worst:e}"));
            }
        }
        Ok(())
    });
}

#[test]
fn buffers_left_out_of_a_checkpoint_follow_from_the_configuration() {
    let rows: [(&str, &[&str]); 2] = [
        ("planner_urm", &["rope_cos", "rope_sin"]),
        (
            "conv2d_fsq",
            &[
                "fsq.half_l",
                "fsq.offset",
                "fsq.shift",
                "fsq.half_width",
                "fsq.basis",
            ],
        ),
    ];
    each(&rows, |(name, buffers)| {
        let Some(fixture) = load(name) else {
            return Ok(());
        };
        let inputs = match *name {
            "conv2d_fsq" => fixture.real("input", "imu_input"),
            _ => fixture.tokens(&[4], 8),
        };
        let whole = fixture
            .model(Precision::F64)
            .forward(&inputs)
            .unwrap()
            .outputs;
        let file = safetensors_without(&fixture.checkpoint, buffers);
        let checkpoint = Checkpoint::from_bytes(file.into(), &Limits::default()).unwrap();
        let model = reference(&fixture.architecture, &checkpoint, Precision::F64).unwrap();
        let computed = model.forward(&inputs).unwrap().outputs;
        for (output, values) in &whole {
            match values.data() {
                Data::I64(codes) if computed[output].as_i64() != Some(codes) => {
                    return Err(format!("{output} differs"));
                }
                Data::I64(_) => {}
                Data::F64(values) => {
                    let worst = largest_difference(values, computed[output].as_f64().unwrap());
                    // One unit in the last place of an f32 table entry.
                    if worst > 1e-6 {
                        return Err(format!("{output} differs by {worst:e}"));
                    }
                }
            }
        }
        Ok(())
    });
}

fn safetensors_without(checkpoint: &Checkpoint, left_out: &[&str]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, tensor) in checkpoint.tensors() {
        if !left_out.contains(&name.as_str()) {
            let start = data.len();
            data.extend_from_slice(&tensor.data().unwrap());
            let entry = serde_json::json!({
                "dtype": tensor.dtype().name(), "shape": tensor.shape(),
                "data_offsets": [start, data.len()],
            });
            header.insert(name.clone(), entry);
        }
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    file
}
