//! Inputs that a model cannot take are refused with every fault named.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use std::collections::BTreeMap;

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_error::ErrorKind;
use amphora_models::{Array, Data, Precision, Reference, reference};
use amphora_testing::each;
use serde_json::{Value, json};

/// A model whose weights are all 0.1, built from its own list of parameters.
fn model(config: &Value) -> Reference {
    let architecture = Architecture::from_config(config).unwrap();
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for parameter in architecture.parameters() {
        if !parameter.optional {
            let start = data.len();
            let elements: u64 = parameter.shape.iter().product();
            data.extend((0..elements).flat_map(|_| 0.1_f32.to_le_bytes()));
            let entry = json!({
                "dtype": "F32", "shape": parameter.shape, "data_offsets": [start, data.len()],
            });
            header.insert(parameter.name, entry);
        }
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    let checkpoint = Checkpoint::from_bytes(file.into(), &Limits::default()).unwrap();
    reference(&architecture, &checkpoint, Precision::F32).unwrap()
}

fn transformer() -> Reference {
    model(&json!({
        "model_type": "transformer", "vocab_size": 10, "d_model": 4, "n_layers": 1, "n_heads": 2,
        "d_ff": 8, "max_len": 4, "heads": {"swarm": 2},
    }))
}

fn ints(shape: &[usize], values: &[i64]) -> Array {
    Array::new(shape.to_vec(), Data::I64(values.to_vec())).unwrap()
}

fn reals(shape: &[usize], values: &[f64]) -> Array {
    Array::new(shape.to_vec(), Data::F64(values.to_vec())).unwrap()
}

#[test]
fn every_fault_of_token_inputs_is_named() {
    let model = transformer();
    let rows: [(&str, Array, Array, &str); 9] = [
        (
            "id too large",
            ints(&[1, 2], &[1, 10]),
            ints(&[1, 2], &[1, 1]),
            "expected 0 to 9, found 10",
        ),
        (
            "id negative",
            ints(&[1, 2], &[1, -1]),
            ints(&[1, 2], &[1, 1]),
            "found -1",
        ),
        (
            "too long",
            ints(&[1, 5], &[1; 5]),
            ints(&[1, 5], &[1; 5]),
            "expected at most 4, found 5",
        ),
        (
            "mask shorter",
            ints(&[1, 2], &[1, 1]),
            ints(&[1, 1], &[1]),
            "expected 2 as elsewhere, found 1",
        ),
        (
            "mask of another batch",
            ints(&[1, 2], &[1, 1]),
            ints(&[2, 2], &[1; 4]),
            "(batch_size)",
        ),
        (
            "mask of 2",
            ints(&[1, 2], &[1, 1]),
            ints(&[1, 2], &[1, 2]),
            "expected 0 to 1, found 2",
        ),
        (
            "rank",
            ints(&[2], &[1, 1]),
            ints(&[1, 2], &[1, 1]),
            "expected 2 dimensions, found 1",
        ),
        (
            "reals",
            reals(&[1, 2], &[1., 1.]),
            ints(&[1, 2], &[1, 1]),
            "expected integers",
        ),
        (
            "nothing",
            ints(&[1, 0], &[]),
            ints(&[1, 0], &[]),
            "is empty",
        ),
    ];
    each(&rows, |(_, ids, mask, needle)| {
        let inputs = BTreeMap::from([
            ("input_ids".to_owned(), ids.clone()),
            ("attention_mask".to_owned(), mask.clone()),
        ]);
        match model.forward(&inputs) {
            Err(error)
                if error.kind() == ErrorKind::Incompatible
                    && error.rule() == "reference-inputs"
                    && error.to_string().contains(needle) =>
            {
                Ok(())
            }
            answer => Err(format!("{:?}", answer)),
        }
    });
}

#[test]
fn missing_and_unknown_names_are_listed_together() {
    let error = transformer()
        .forward(&BTreeMap::from([(
            "inputs".to_owned(),
            ints(&[1, 1], &[1]),
        )]))
        .unwrap_err();
    assert_eq!(
        error.fault_list(),
        [
            "'input_ids' is missing",
            "'attention_mask' is missing",
            "'inputs' is not an input of the model"
        ]
    );
}

#[test]
fn a_row_of_padding_only_is_not_a_number_in_the_transformer_and_defined_in_urm() {
    let inputs = BTreeMap::from([
        ("input_ids".to_owned(), ints(&[2, 2], &[1, 1, 0, 0])),
        ("attention_mask".to_owned(), ints(&[2, 2], &[1, 1, 0, 0])),
    ]);
    // A softmax over nothing but minus infinity is 0 / 0, in PyTorch as here.
    let outputs = transformer().forward(&inputs).unwrap().outputs;
    let logits = outputs["swarm"].as_f64().unwrap();
    assert!(
        logits[..2].iter().all(|logit| logit.is_finite()),
        "{logits:?}"
    );
    assert!(logits[2..].iter().all(|logit| logit.is_nan()), "{logits:?}");

    let urm = model(&json!({
        "model_type": "urm", "vocab_size": 10, "d_model": 4, "n_heads": 2, "d_inner": 8,
        "loops": 2, "max_len": 4, "heads": {"swarm": 2},
    }));
    let outputs = urm.forward(&inputs).unwrap().outputs;
    assert!(
        outputs["swarm"]
            .as_f64()
            .unwrap()
            .iter()
            .all(|logit| logit.is_finite())
    );
}

#[test]
fn a_checkpoint_of_another_model_is_refused() {
    let config = json!({
        "model_type": "mlp", "d_in": 3, "d_hidden": 2, "n_layers": 1, "heads": {"swarm": 2},
    });
    let architecture = Architecture::from_config(&config).unwrap();
    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend([0; 4]);
    let checkpoint = Checkpoint::from_bytes(file.into(), &Limits::default()).unwrap();
    let error = reference(&architecture, &checkpoint, Precision::F64)
        .err()
        .unwrap();
    assert_eq!(error.rule(), "checkpoint-parameters");
}
