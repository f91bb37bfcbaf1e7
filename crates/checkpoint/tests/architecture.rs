//! Configurations: what is read, what is refused, and what is written.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use amphora_checkpoint::architecture::{Architecture, Axis, Values};
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_error::{Error, ErrorKind};
use amphora_testing::{each, fixture};
use proptest::prelude::*;
use serde_json::{Value, json};

fn mlp(change: impl FnOnce(&mut Value)) -> Value {
    let mut config = json!({
        "model_type": "mlp", "d_in": 16, "d_hidden": 8, "n_layers": 2,
        "heads": {"swarm": 2, "minutes": {"n_classes": 6}},
    });
    change(&mut config);
    config
}

fn urm(change: impl FnOnce(&mut Value)) -> Value {
    let mut config = json!({
        "model_type": "urm", "vocab_size": 32, "d_model": 8, "n_heads": 2, "d_inner": 12,
        "loops": 3, "max_len": 16, "heads": {"swarm": 2},
    });
    change(&mut config);
    config
}

fn conv(change: impl FnOnce(&mut Value)) -> Value {
    let mut config = json!({
        "model_type": "conv2d_fsq", "input_shape": ["batch", 9, 2, 100], "fsq_levels": [8, 6, 5],
        "n_classes": 4, "codebook_size": 240,
    });
    change(&mut config);
    config
}

fn refusal(config: &Value) -> Error {
    Architecture::from_config(config).unwrap_err()
}

#[test]
fn both_spellings_of_the_heads_are_read_in_the_order_of_the_file() {
    let architecture = Architecture::from_config(&mlp(|_| {})).unwrap();
    let heads: Vec<_> = architecture
        .heads()
        .into_iter()
        .map(|head| (head.name, head.n_classes))
        .collect();
    assert_eq!(heads, [("swarm".to_owned(), 2), ("minutes".to_owned(), 6)]);
}

#[test]
fn heads_follow_from_the_action_space_where_they_are_absent() {
    let config = mlp(|config| {
        let object = config.as_object_mut().unwrap();
        object.remove("heads");
        object.insert("action_space".into(), json!({"swarm_ids": ["a", "b", "c"]}));
    });
    let outputs = Architecture::from_config(&config).unwrap().outputs();
    let widths: Vec<_> = outputs
        .iter()
        .map(|port| (port.name.as_str(), &port.shape[1]))
        .collect();
    assert_eq!(
        widths,
        [
            ("swarm", &Axis::Fixed(3)),
            ("candidates", &Axis::Fixed(4)),
            ("minutes", &Axis::Fixed(6)),
            ("iterations", &Axis::Fixed(5)),
        ]
    );
}

#[test]
fn keys_that_leave_inference_as_it_is_are_ignored() {
    let rows = [
        mlp(|c| c["dropout"] = json!(0.1)),
        mlp(|c| c["architecture"] = json!("MLPPolicy")),
        mlp(|c| c["hidden_sizes"] = json!([8, 4])),
        mlp(|c| c["onnx"] = json!({"opset_version": 14})),
        mlp(|c| c["activation"] = json!("relu")),
        urm(|c| c["conv_kernel"] = Value::Null),
        urm(|c| c["seed"] = json!(7)),
        conv(|c| c["training"] = json!({"epochs": 100})),
        conv(|c| c["input_shape"] = json!([1, 9, 2, 100])),
    ];
    each(&rows, |config| Architecture::from_config(config).map(drop));
}

#[test]
fn document_003_keeps_the_model_under_its_own_key() {
    let flat = Architecture::from_config(&conv(|_| {})).unwrap();
    let rows = [
        json!({"model": {"name": "conv2d_fsq", "architecture": "Conv2d-VQ-HDP-HSMM",
            "input_shape": [1, 9, 2, 100], "n_classes": 4}, "training": {"lr": 0.001}}),
        json!({"name": "dogs", "model": {"name": "conv2d_fsq",
            "architecture": {"quantization": {"type": "fsq", "levels": [8, 6, 5]}}},
            "data": {"channels": 9, "sensors": 2, "window_size": 100}}),
    ];
    each(&rows, |config| match Architecture::from_config(config) {
        Ok(read) if read == flat => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn every_fault_of_a_configuration_is_reported_at_once() {
    let config = json!({"model_type": "transformer", "d_model": 12, "n_heads": 5, "d_ff": -1,
        "n_layers": 2.5, "max_len": "long", "layer_norm_eps": 0, "heads": {"swarm": 0}});
    let error = refusal(&config);
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Malformed, "config-invalid")
    );
    let faults = error.fault_list().join("\n");
    let expected = [
        "`vocab_size` is missing",
        "not a multiple of `n_heads`",
        "`d_ff`: expected a whole number from 1 to 16777216, found -1",
        "`n_layers`: expected a whole number from 1 to 256, found 2.5",
        "`max_len`: expected a whole number from 2 to 16777216, found 'long'",
        "`layer_norm_eps`",
        "`heads.swarm`",
    ];
    each(&expected, |part| {
        faults.contains(part).then_some(()).ok_or(&faults)
    });
    assert_eq!(error.fault_list().len(), expected.len(), "{faults}");
}

#[test]
fn a_configuration_is_refused_with_the_key_that_is_wrong() {
    let invalid = |config, part| (config, ErrorKind::Malformed, "config-invalid", part);
    let unsupported = |config, part| (config, ErrorKind::Unsupported, "config-unsupported", part);
    let rows = [
        invalid(json!([]), "not a mapping"),
        invalid(json!({"d_in": 3}), "no `model_type`"),
        invalid(json!({"model_type": 3}), "no `model_type`"),
        invalid(mlp(|c| c["d_in"] = json!(0)), "`d_in`"),
        invalid(mlp(|c| c["d_in"] = json!(true)), "`d_in`"),
        invalid(mlp(|c| c["d_in"] = json!(1_u64 << 40)), "`d_in`"),
        invalid(mlp(|c| c["n_layers"] = json!(9)), "leaves no width"),
        invalid(mlp(|c| c["hidden_sizes"] = json!([8])), "`hidden_sizes`"),
        invalid(
            mlp(|c| c["hidden_sizes"] = json!([4, 4])),
            "`d_hidden` = 8 first",
        ),
        invalid(mlp(|c| c["hidden_sizes"] = json!([])), "`hidden_sizes`"),
        invalid(mlp(|c| c["heads"] = json!({})), "`heads`"),
        invalid(mlp(|c| c["heads"] = json!({"a/b": 2})), "'a/b'"),
        invalid(
            mlp(|c| c["heads"] = json!({"input": 2})),
            "'input' is taken",
        ),
        invalid(
            mlp(|c| c["heads"] = json!({"swarm": {"classes": 2}})),
            "`heads.swarm`",
        ),
        invalid(
            mlp(|c| drop(c.as_object_mut().unwrap().remove("heads"))),
            "`heads` is missing",
        ),
        invalid(urm(|c| c["n_heads"] = json!(8)), "even multiple"),
        invalid(urm(|c| c["mlp"] = json!(1)), "`mlp`"),
        invalid(urm(|c| c["pad_id"] = json!(32)), "`pad_id`"),
        invalid(urm(|c| c["mask_bias"] = json!(1.0)), "`mask_bias`"),
        invalid(
            urm(|c| {
                c["max_len"] = json!(1 << 24);
                c["d_model"] = json!(64);
            }),
            "rotary",
        ),
        invalid(conv(|c| c["fsq_levels"] = json!([8, 1])), "`fsq_levels`"),
        invalid(
            conv(|c| c["fsq_levels"] = json!([8, 6, 4])),
            "`codebook_size`",
        ),
        invalid(
            conv(|c| {
                c["fsq_levels"] = json!([16_777_216, 16_777_216, 16_777_216]);
            }),
            "`fsq_levels`",
        ),
        invalid(
            conv(|c| c["input_shape"] = json!([9, 2, 100])),
            "`input_shape`",
        ),
        invalid(
            conv(|c| c["input_shape"] = json!([1, 9, 1, 100])),
            "`input_shape[2]`",
        ),
        invalid(
            conv(|c| drop(c.as_object_mut().unwrap().remove("n_classes"))),
            "`n_classes`",
        ),
        unsupported(mlp(|c| c["activation"] = json!("tanh")), "`activation`"),
        unsupported(mlp(|c| c["norm"] = json!("batchnorm")), "`norm`"),
        unsupported(urm(|c| c["mlp"] = json!("geglu")), "`mlp`"),
        unsupported(urm(|c| c["positions"] = json!("learned")), "`positions`"),
        unsupported(urm(|c| c["pooling"] = json!("cls")), "`pooling`"),
    ];
    each(&rows, |(config, kind, rule, part)| {
        let error = refusal(config);
        let right = (error.kind(), error.rule()) == (*kind, *rule);
        match right && error.to_string().contains(part) {
            true => Ok(()),
            false => Err(format!("{error:?}")),
        }
    });
}

#[test]
fn an_unknown_model_type_is_refused_with_the_known_ones() {
    let error = refusal(&json!({"model_type": "rnn"}));
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Unsupported, "model-type")
    );
    let text = error.to_string();
    each(&Architecture::MODEL_TYPES, |name| {
        text.contains(name).then_some(()).ok_or(&text)
    });
    assert!(error.hint_text().is_some());
}

#[test]
fn the_written_form_is_document_000s_and_reads_back_equal() {
    let config = mlp(|_| {});
    let architecture = Architecture::from_config(&config).unwrap();
    let written = architecture.to_config_json(14);
    assert_eq!(written["dropout"], json!(0.0));
    assert_eq!(written["heads"]["swarm"], json!({"n_classes": 2}));
    assert_eq!(
        written["onnx"],
        json!({
            "opset_version": 14,
            "input_names": ["input"],
            "output_names": ["swarm", "minutes"],
            "dynamic_axes": {
                "input": {"0": "batch_size"},
                "swarm": {"0": "batch_size"},
                "minutes": {"0": "batch_size"},
            },
        })
    );
    let rows = [
        config,
        urm(|_| {}),
        urm(|c| c["mlp"] = json!("conv_swiglu")),
        conv(|_| {}),
        json!({"model_type": "transformer", "vocab_size": 32, "d_model": 8, "n_heads": 2,
            "d_ff": 16, "n_layers": 2, "max_len": 16, "heads": {"swarm": 2}}),
    ];
    each(&rows, |config| {
        let read = Architecture::from_config(config).map_err(|error| error.to_string())?;
        match Architecture::from_config(&read.to_config_json(17)) {
            Ok(again) if again == read => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn the_ports_of_a_token_model_say_which_values_they_take() {
    let architecture = Architecture::from_config(&urm(|_| {})).unwrap();
    let inputs = architecture.inputs();
    assert_eq!(inputs[0].name, "input_ids");
    assert_eq!(inputs[0].values, Values::Index { below: 32 });
    assert_eq!(inputs[1].values, Values::Mask);
    assert_eq!(
        inputs[1].shape[1],
        Axis::Dynamic {
            name: "sequence_length",
            max: Some(16)
        }
    );
}

#[test]
fn the_parameters_are_those_of_the_reference_checkpoints() {
    let names = [
        "planner_mlp",
        "planner_transformer",
        "planner_urm",
        "planner_urm_conv",
        "conv2d_fsq",
    ];
    each(&names, |name| {
        let Some(folder) = fixture(name) else {
            return Ok(());
        };
        let config = amphora_files::json::read(folder.join("config.json")).unwrap();
        let bytes = fs_err::read(folder.join("model.safetensors")).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let mut expected: Vec<_> = header
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let shape: Vec<u64> = info.shape.iter().map(|size| *size as u64).collect();
                (name, shape)
            })
            .collect();
        expected.sort();
        let architecture = Architecture::from_config(&config).unwrap();
        let mut found: Vec<_> = architecture
            .parameters()
            .into_iter()
            .map(|parameter| (parameter.name, parameter.shape))
            .collect();
        found.sort();
        match found == expected {
            true => Ok(()),
            false => Err(format!("{found:?}\n{expected:?}")),
        }
    });
}

/// A safetensors file of float32 tensors filled with `0.5`, one for each name and shape.
fn checkpoint(tensors: &[(String, Vec<u64>)]) -> Checkpoint {
    let named: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape)| {
            let shape: Vec<usize> = shape.iter().map(|size| *size as usize).collect();
            let data = 0.5_f32.to_le_bytes().repeat(shape.iter().product());
            (name.clone(), shape, data)
        })
        .collect();
    let views = named.iter().map(|(name, shape, data)| {
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    let file = safetensors::serialize(views, None).unwrap();
    Checkpoint::from_bytes(file.into(), &Limits::default()).unwrap()
}

#[test]
fn a_checkpoint_without_the_optional_buffers_is_bound() {
    let rows = [mlp(|_| {}), urm(|_| {}), conv(|_| {})];
    each(&rows, |config| {
        let architecture = Architecture::from_config(config).unwrap();
        let tensors: Vec<_> = architecture
            .parameters()
            .into_iter()
            .filter(|parameter| !parameter.optional)
            .map(|parameter| (parameter.name, parameter.shape))
            .collect();
        architecture.bind(&checkpoint(&tensors)).map(drop)
    });
}

#[test]
fn missing_extra_and_misshapen_tensors_are_one_error_that_lists_them_all() {
    let architecture = Architecture::from_config(&mlp(|_| {})).unwrap();
    let mut tensors: Vec<_> = architecture
        .parameters()
        .into_iter()
        .map(|parameter| (parameter.name, parameter.shape))
        .collect();
    tensors.retain(|(name, _)| name != "trunk.1.bias" && name != "swarm_head.weight");
    for (name, shape) in &mut tensors {
        if name == "trunk.0.weight" {
            shape.reverse();
        }
    }
    tensors.push(("value_head.weight".to_owned(), vec![1, 4]));
    let error = architecture.bind(&checkpoint(&tensors)).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Incompatible, "checkpoint-parameters")
    );
    assert_eq!(
        error.fault_list(),
        [
            "swarm_head.weight is missing",
            "trunk.0.weight: expected shape [8, 16], found [16, 8]",
            "trunk.1.bias is missing",
            "'value_head.weight' is not part of the model",
        ]
    );
}

#[test]
fn stored_quantizer_buffers_must_agree_with_the_levels() {
    let architecture = Architecture::from_config(&conv(|_| {})).unwrap();
    let tensors: Vec<_> = architecture
        .parameters()
        .into_iter()
        .filter(|parameter| !parameter.name.ends_with("tracked"))
        .map(|parameter| (parameter.name, parameter.shape))
        .collect();
    let error = architecture.bind(&checkpoint(&tensors)).unwrap_err();
    assert_eq!(error.rule(), "checkpoint-parameters");
    let faults = error.fault_list().join("\n");
    assert!(
        faults.contains("fsq.half_width: expected [4.0, 3.0, 2.0]"),
        "{faults}"
    );
    assert!(
        faults.contains("fsq.basis: expected [1.0, 8.0, 48.0]"),
        "{faults}"
    );
}

fn value() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u64..300).prop_map(Value::from),
        (0_u32..25).prop_map(|bits| Value::from(1_u64 << bits)),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        "[a-z_]{0,12}".prop_map(Value::from),
        numbers,
    ];
    leaf.prop_recursive(2, 16, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{0,8}", inner, 0..4)
                .prop_map(|map| Value::from(serde_json::Map::from_iter(map))),
        ]
    })
}

proptest! {
    /// Whatever stands in a configuration: it is refused, or it is a model whose sizes do not
    /// overflow and that is written in a form that reads back equal.
    #[test]
    fn a_configuration_is_refused_or_sound(
        which in 0_usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), value()), 1..4),
    ) {
        let transformer = json!({"model_type": "transformer", "vocab_size": 32, "d_model": 8,
            "n_heads": 2, "d_ff": 16, "n_layers": 2, "max_len": 16, "heads": {"swarm": 2}});
        let nested = json!({"model_type": "conv2d_fsq", "data": {}, "model": {"n_classes": 4}});
        let mut config = [mlp(|_| {}), urm(|_| {}), conv(|_| {}), transformer, nested][which].clone();
        let keys: Vec<String> = config.as_object().unwrap().keys().cloned().collect();
        for (index, value) in changes {
            let key = index.get(&keys);
            if key != "model_type" {
                config[key] = value;
            }
        }
        if let Ok(architecture) = Architecture::from_config(&config) {
            let bytes = architecture
                .parameters()
                .iter()
                .map(|parameter| 4 * u128::from(parameter.shape.iter().product::<u64>()))
                .sum::<u128>();
            prop_assert!(bytes > 0);
            prop_assert_eq!(architecture.heads().is_empty(), false);
            let written = architecture.to_config_json(14);
            prop_assert_eq!(Architecture::from_config(&written).unwrap(), architecture);
        }
    }
}
