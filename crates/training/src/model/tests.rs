//! Forward passes against `amphora-models`, gradients against finite differences.

use std::collections::BTreeMap;

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_models::{Array, Data, Precision, reference};
use serde_json::{Value, json};

use super::{Entry, Gather, Learner};
use crate::checkpoint::model_bytes;
use crate::loss::cross_entropy;

fn heads() -> Value {
    json!({"swarm": 2, "minutes": 3})
}

fn architecture(kind: &str) -> Architecture {
    let config = match kind {
        "mlp" => json!({
            "model_type": "mlp", "d_in": 20, "d_hidden": 8, "n_layers": 2, "heads": heads(),
        }),
        "transformer" => json!({
            "model_type": "transformer", "vocab_size": 11, "d_model": 8, "n_layers": 2,
            "n_heads": 2, "d_ff": 12, "max_len": 9, "heads": heads(),
        }),
        _ => json!({
            "model_type": "urm", "vocab_size": 11, "d_model": 8, "n_heads": 2, "d_inner": 12,
            "loops": 3, "max_len": 9, "heads": heads(),
            "mlp": if kind == "urm_conv" { "conv_swiglu" } else { "swiglu" },
        }),
    };
    Architecture::from_config(&config).unwrap()
}

const KINDS: [&str; 4] = ["mlp", "transformer", "urm", "urm_conv"];

fn entries(kind: &str) -> Vec<Entry> {
    match kind {
        "mlp" => vec![
            Entry::Features {
                indices: vec![],
                values: vec![],
            },
            Entry::Features {
                indices: vec![0, 3, 19],
                values: vec![1.0, 0.5, 1.0],
            },
            Entry::Features {
                indices: vec![3, 4, 7, 19],
                values: vec![1.0, -2.0, 1.0, 0.25],
            },
        ],
        _ => vec![
            Entry::Tokens(vec![2, 5, 5, 7, 10, 1, 4]),
            Entry::Tokens(vec![3]),
            Entry::Tokens(vec![9, 8, 5, 2]),
        ],
    }
}

/// What the reference model takes for these entries: dense features, or padded ids and a mask.
fn reference_inputs(entries: &[Entry], d_in: usize) -> BTreeMap<String, Array> {
    let time = entries.iter().map(Entry::time).max().unwrap();
    let (mut dense, mut ids, mut mask) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Entry::Features { indices, values } => {
                let mut row = vec![0.0; d_in];
                for (index, value) in indices.iter().zip(values) {
                    row[*index as usize] = f64::from(*value);
                }
                dense.extend(row);
            }
            Entry::Tokens(tokens) => {
                let padding = time - tokens.len();
                ids.extend(tokens.iter().map(|id| i64::from(*id)));
                ids.extend(vec![0; padding]);
                mask.extend(vec![1; tokens.len()]);
                mask.extend(vec![0; padding]);
            }
        }
    }
    let rows = entries.len();
    if ids.is_empty() {
        let input = Array::new(vec![rows, d_in], Data::F64(dense)).unwrap();
        return BTreeMap::from([("input".to_owned(), input)]);
    }
    let ids = Array::new(vec![rows, time], Data::I64(ids)).unwrap();
    let mask = Array::new(vec![rows, time], Data::I64(mask)).unwrap();
    BTreeMap::from([
        ("input_ids".to_owned(), ids),
        ("attention_mask".to_owned(), mask),
    ])
}

fn check_forward(architecture: &Architecture, learner: &Learner, entries: &[Entry], d_in: usize) {
    let bytes = model_bytes(architecture, learner).unwrap();
    let checkpoint = Checkpoint::from_bytes(bytes.into(), &Limits::default()).unwrap();
    let model = reference(architecture, &checkpoint, Precision::F64).unwrap();
    let expected = model.forward(&reference_inputs(entries, d_in)).unwrap();
    let gather = Gather::new(entries.iter());
    for (name, found, tolerance) in [
        ("f64", learner.logits::<f64>(&gather, None).unwrap(), 1e-12),
        ("f32", learner.logits::<f32>(&gather, None).unwrap(), 1e-5),
    ] {
        for (head, found) in learner.heads.iter().zip(found) {
            let expected = expected.outputs[&head.name].as_f64().unwrap();
            for (found, expected) in found.iter().zip(expected) {
                let off = (found - expected).abs();
                assert!(
                    off < tolerance,
                    "{name} {}: {found} and {expected}",
                    head.name
                );
            }
        }
    }
}

#[test]
fn forward_passes_agree_with_the_reference_models() {
    amphora_testing::each(&KINDS, |kind| {
        let architecture = architecture(kind);
        let learner = Learner::new(&architecture, 2, false, 5).unwrap();
        check_forward(&architecture, &learner, &entries(kind), 20);
        Ok::<(), String>(())
    });
}

/// The loss of the tests: masked cross-entropy with uneven weights. Writes its gradient over the
/// logits.
fn loss(logits: &mut [Vec<f64>]) -> f64 {
    let mut sum = 0.0;
    for (head, logits) in logits.iter_mut().enumerate() {
        let width = logits.len() / 3;
        let mut gradient = vec![0.0; logits.len()];
        for row in 0..3 {
            let valid: Vec<bool> = (0..width).map(|class| class != 2 || row > 0).collect();
            let mut q = vec![0.1; width];
            q[(row + head) % 2] += 0.7;
            for (q, valid) in q.iter_mut().zip(&valid) {
                *q = if *valid { *q } else { 0.0 };
            }
            let total: f64 = q.iter().sum();
            q.iter_mut().for_each(|q| *q /= total);
            let weight = 0.5 + row as f64;
            let range = row * width..(row + 1) * width;
            let part = &mut gradient[range.clone()];
            sum += weight * cross_entropy(&logits[range], &valid, &q, weight, part);
        }
        *logits = gradient;
    }
    sum
}

/// Compares the gradient of every element that `chosen` picks with finite differences.
fn check_gradient(
    learner: &mut Learner,
    gather: &Gather,
    choices: Option<&[Vec<usize>]>,
    chosen: impl Fn(&str, usize) -> bool,
) -> Result<(), String> {
    let (_, gradients) = learner
        .gradient::<f64, _>(gather, choices, None, |logits| Ok(loss(logits)))
        .unwrap();
    for (index, (rows, values)) in gradients.iter().enumerate() {
        let name = learner.parameters[index].name.clone();
        let width = learner.parameters[index].width();
        for element in 0..learner.parameters[index].values.len() {
            if !chosen(&name, element) {
                continue;
            }
            let analytic = match rows {
                None => values[element],
                Some(rows) => rows
                    .iter()
                    .position(|row| *row as usize == element / width)
                    .map_or(0.0, |at| values[at * width + element % width]),
            };
            let stored = learner.parameters[index].values[element];
            // The parameters are f32: what was added is what is divided by.
            let (above, below) = (stored + 1e-3, stored - 1e-3);
            let mut at = |value: f32| {
                learner.parameters[index].values[element] = value;
                loss(&mut learner.logits::<f64>(gather, choices).unwrap())
            };
            let numeric = (at(above) - at(below)) / (f64::from(above) - f64::from(below));
            at(stored);
            if (analytic - numeric).abs() > 2e-5 * (1.0 + numeric.abs()) {
                return Err(format!("{name}[{element}]: {analytic}, not {numeric}"));
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_agree_with_finite_differences() {
    amphora_testing::each(&KINDS, |kind| {
        let mut learner = Learner::new(&architecture(kind), 3, false, 11).unwrap();
        let gather = Gather::new(entries(kind).iter());
        // Every parameter, every fifth element: rows and columns of all matrices are met.
        check_gradient(&mut learner, &gather, None, |_, element| element % 5 == 0)
    });
}

#[test]
fn conditioned_heads_have_the_gradient_of_finite_differences() {
    let mut learner = Learner::new(&architecture("mlp"), 0, true, 11).unwrap();
    let entries = entries("mlp");
    let choices = vec![vec![0, 1], vec![1, 0], vec![1, 2]];
    let gather = Gather::new(entries.iter());
    check_gradient(&mut learner, &gather, Some(&choices), |_, _| true).unwrap();
    let one = learner.logits::<f64>(&gather, Some(&choices)).unwrap();
    let other = learner
        .logits::<f64>(&gather, Some(&[vec![1, 1], vec![0, 0], vec![0, 2]]))
        .unwrap();
    assert_eq!(one[0], other[0], "the first head depends on no choice");
    assert_ne!(one[1], other[1]);
}

#[test]
fn a_truncated_gradient_is_that_of_the_last_loops() {
    let d = 8;
    let mut learner = Learner::new(&architecture("urm_conv"), 2, false, 3).unwrap();
    let entries = entries("urm_conv");
    let gather = Gather::new(entries.iter());
    // The vectors of the last two of three loops enter there alone, so theirs is the whole gradient.
    check_gradient(&mut learner, &gather, None, |name, element| {
        (name == "step.weight" && element >= d) || name.contains("_head")
    })
    .unwrap();
    let (_, gradients) = learner
        .gradient::<f64, _>(&gather, None, None, |logits| Ok(loss(logits)))
        .unwrap();
    let step = learner
        .parameters
        .iter()
        .position(|p| p.name == "step.weight")
        .unwrap();
    assert_eq!(
        gradients[step].1[..d],
        vec![0.0; d],
        "nothing flows into the first loop"
    );
    assert!(gradients[step].1[d..].iter().all(|x| *x != 0.0));
}

/// The gather and its gradient against a plain dense product.
#[test]
fn the_sparse_entry_equals_the_dense_layer() {
    let (rows, width) = (20, 8);
    let table: Vec<f64> = (0..rows * width).map(|i| (i as f64 * 0.7).sin()).collect();
    let entries = entries("mlp");
    let gather = Gather::new(entries.iter());
    let mut dense = vec![vec![0.0; rows]; entries.len()];
    for (dense, entry) in dense.iter_mut().zip(&entries) {
        if let Entry::Features { indices, values } = entry {
            for (index, value) in indices.iter().zip(values) {
                dense[*index as usize] += f64::from(*value);
            }
        }
    }
    let grad: Vec<f64> = (0..entries.len() * width)
        .map(|i| (i as f64).cos())
        .collect();
    let found = gather.forward(&table, width);
    let (touched, by_row) = gather.backward(&grad, width);
    assert_eq!(touched, [0, 3, 4, 7, 19]);
    for column in 0..width {
        for (example, x) in dense.iter().enumerate() {
            let expected: f64 = (0..rows)
                .map(|row| x[row] * table[row * width + column])
                .sum();
            assert!((found[example * width + column] - expected).abs() < 1e-12);
        }
        for row in 0..rows {
            let expected: f64 = dense
                .iter()
                .enumerate()
                .map(|(example, x)| x[row] * grad[example * width + column])
                .sum();
            let at = touched.iter().position(|touched| *touched as usize == row);
            let found = at.map_or(0.0, |at| by_row[at * width + column]);
            assert!((found - expected).abs() < 1e-12);
        }
    }
}

/// The published weights and inputs of the fixtures, through the training layers.
#[test]
fn fixtures_run_through_the_training_layers() {
    for name in [
        "planner_mlp",
        "planner_transformer",
        "planner_urm",
        "planner_urm_conv",
    ] {
        let Some(folder) = amphora_testing::fixture(name) else {
            return;
        };
        let config = amphora_files::json::read(folder.join("config.json")).unwrap();
        let architecture = Architecture::from_config(&config).unwrap();
        let mut learner = Learner::new(&architecture, 2, false, 0).unwrap();
        let path = folder.join("model.safetensors");
        let stored = amphora_checkpoint::Safetensors::from_bytes(
            &std::fs::read(&path).unwrap().into(),
            &Limits::default(),
        )
        .unwrap();
        for parameter in &mut learner.parameters {
            let values = stored.tensors[&parameter.name].to_f32().unwrap();
            parameter.values = match parameter.table && name == "planner_mlp" {
                true => super::transpose(&values, parameter.shape[1], parameter.shape[0]),
                false => values,
            };
        }
        let entries = match name {
            "planner_mlp" => vec![Entry::Features {
                indices: (0..60).map(|i| i * 61).collect(),
                values: vec![1.0; 60],
            }],
            _ => vec![
                Entry::Tokens((1..40).collect()),
                Entry::Tokens((60..65).collect()),
            ],
        };
        check_forward(&architecture, &learner, &entries, 3779);
    }
}
