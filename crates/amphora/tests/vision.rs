//! Models of pictures: exported, run, compared with PyTorch, with the reference and with candle.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;

use amphora_checkpoint::architecture::{Architecture, Axis};
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_export::ExportOptions;
use amphora_models::{Array, Data, Precision, reference};
use amphora_onnx::build::GraphBuilder;
use amphora_runtime::Tensor;
use amphora_runtime::image::{ImageConfig, ImageProcessor};
use amphora_testing::{each, fixture};
use candle_core::Module as _;
use common::{answer, candle_weights, furthest, relative, seeded, session, session_with, values};
use serde_json::{Value, json};

#[test]
fn resnet_computes_what_pytorch_did_from_pixels_and_from_files() {
    let Some(folder) = fixture("resnet_tiny") else {
        return;
    };
    let read = |file: &str| amphora_files::json::read(folder.join(file)).unwrap();
    let open = |file: &str| Checkpoint::open(folder.join(file), &Limits::default()).unwrap();
    let architecture = Architecture::from_config(&read("config.json")).unwrap();
    let vectors = open("vectors.safetensors");
    let recorded = |name: &str| vectors.tensors()[name].to_f64().unwrap();
    let processor = ImageConfig::from_preprocessor_config(&read("preprocessor_config.json"));
    let processor = processor.unwrap();

    let pictures = read("images.json");
    let files: Vec<&str> = pictures
        .as_array()
        .unwrap()
        .iter()
        .map(|picture| picture["file"].as_str().unwrap())
        .collect();
    for weights in ["model.safetensors", "model.pt"] {
        let mut session = session(&architecture, &open(weights));
        let input = session.contract().inputs[0].clone();
        let processor = ImageProcessor::new(processor.clone(), &input).unwrap();
        let mut logits = |tensor| {
            answer(
                &mut session,
                &BTreeMap::from([("pixel_values".into(), tensor)]),
            )
        };
        each(&files, |file| {
            let name = file.replace('.', "_");
            let expected = recorded(&format!("logits_{name}"));
            let mut faults = Vec::new();
            if let Some(pixels) = vectors.tensors().get(&format!("preprocessed_{name}")) {
                let pixels = Tensor::new([1, 3, 224, 224], pixels.to_f32().unwrap()).unwrap();
                let far = relative(&logits(pixels), &expected);
                faults.extend((far > 1e-5).then(|| format!("{far:e} from recorded pixels")));
            }
            let bytes = fs_err::read(folder.join("images").join(file)).unwrap();
            let far = furthest(&logits(processor.tensor(&bytes).unwrap()), &expected);
            faults.extend((far > 1e-3).then(|| format!("{far:e} from the file")));
            if faults.is_empty() {
                Ok(())
            } else {
                Err(faults.join(", "))
            }
        });
    }
}

fn resnet(more: Value) -> Value {
    let mut config = json!({
        "model_type": "resnet", "widths": [4, 6], "blocks": [2, 1], "num_labels": 5,
        "input": [3, 40, 33],
    });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    config
}

fn vit(more: Value) -> Value {
    let mut config = json!({
        "model_type": "vit", "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 20, "image_size": 8, "patch_size": 4, "num_labels": 5,
        "architectures": ["ViTForImageClassification"],
    });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    config
}

/// Two pictures that a formula gives.
fn pixels(architecture: &Architecture) -> (Vec<usize>, Vec<f32>) {
    let shape: Vec<usize> = architecture.inputs()[0]
        .shape
        .iter()
        .map(|axis| match axis {
            Axis::Fixed(size) => *size as usize,
            Axis::Dynamic { .. } => 2,
        })
        .collect();
    let count = shape.iter().product();
    let values = (0..count).map(|place: usize| (place as f32 * 0.37).sin() * 2.0);
    (shape, values.collect())
}

#[test]
fn every_form_agrees_with_its_reference() {
    let rows = [
        resnet(json!({})),
        resnet(json!({"block": "bottleneck", "stem_width": 5, "blocks": 2})),
        json!({"model_type": "resnet", "architectures": ["ResNetForImageClassification"],
            "hidden_sizes": [8, 12, 16], "depths": [1, 2, 1], "embedding_size": 8,
            "layer_type": "bottleneck", "id2label": {"0": "a", "1": "b"}, "image_size": 64}),
        vit(json!({})),
        vit(json!({"architectures": ["ViTModel"], "qkv_bias": false, "hidden_act": "relu"})),
        vit(json!({"image_size": [6, 9], "patch_size": [2, 3], "num_channels": 1})),
        vit(json!({"hidden_act": "gelu_pytorch_tanh", "pooler_output_size": 6})),
    ];
    each(&rows, |config| {
        let architecture = Architecture::from_config(config).unwrap();
        let written = architecture.to_config_json(14);
        assert_eq!(Architecture::from_config(&written).unwrap(), architecture);
        let checkpoint = seeded(&architecture);
        let (shape, pixels) = pixels(&architecture);
        let tensor = Tensor::new(shape.clone(), pixels.clone()).unwrap();
        let inputs = BTreeMap::from([("pixel_values".into(), tensor)]);
        let found = answer(&mut session(&architecture, &checkpoint), &inputs);
        let array = Array::new(
            shape,
            Data::F64(pixels.into_iter().map(f64::from).collect()),
        );
        let inputs = BTreeMap::from([("pixel_values".to_owned(), array.unwrap())]);
        let truth = reference(&architecture, &checkpoint, Precision::F64).unwrap();
        let truth = truth.forward(&inputs).unwrap();
        let (name, output) = truth.outputs.iter().next().unwrap();
        assert_eq!(*name, architecture.outputs()[0].name);
        match relative(&found, output.as_f64().unwrap()) {
            far if far < 1e-5 => Ok(()),
            far => Err(format!("{far:e} from the reference")),
        }
    });
}

#[test]
fn every_opset_computes_the_same() {
    each(&[resnet(json!({})), vit(json!({}))], |config| {
        let architecture = Architecture::from_config(config).unwrap();
        let checkpoint = seeded(&architecture);
        let (shape, pixels) = pixels(&architecture);
        let tensor = Tensor::new(shape, pixels).unwrap();
        let inputs = BTreeMap::from([("pixel_values".into(), tensor)]);
        let expected = answer(&mut session(&architecture, &checkpoint), &inputs);
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        let far = GraphBuilder::OPSETS.map(|opset| {
            let options = ExportOptions {
                opset: Some(opset),
                link: None,
            };
            let mut session = session_with(&architecture, &checkpoint, &options);
            (opset, relative(&answer(&mut session, &inputs), &expected))
        });
        let far: Vec<_> = far.filter(|(_, far)| far.is_nan() || *far > 1e-5).collect();
        if far.is_empty() {
            Ok(())
        } else {
            Err(format!("{far:?}"))
        }
    });
}

#[test]
fn candle_transformers_computes_the_same() {
    type Peer = fn(candle_nn::VarBuilder<'static>, &candle_core::Tensor) -> candle_core::Tensor;
    let rows: [(Value, Peer); 3] = [
        (
            vit(json!({"hidden_act": "gelu", "layer_norm_eps": 1e-6})),
            |weights, pixels| {
                let config = json!({
                    "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
                    "intermediate_size": 20, "hidden_act": "gelu", "layer_norm_eps": 1e-6,
                    "image_size": 8, "patch_size": 4, "num_channels": 3, "qkv_bias": true,
                });
                let config = serde_json::from_value(config).unwrap();
                let model = candle_transformers::models::vit::Model::new(&config, 5, weights);
                model.unwrap().forward(pixels).unwrap()
            },
        ),
        (
            json!({"model_type": "resnet18", "num_labels": 7, "input": [3, 48, 48]}),
            |weights, pixels| {
                let model = candle_transformers::models::resnet::resnet18(7, weights);
                model.unwrap().forward(pixels).unwrap()
            },
        ),
        (
            json!({"model_type": "resnet50", "num_labels": 3, "input": [3, 48, 48]}),
            |weights, pixels| {
                let model = candle_transformers::models::resnet::resnet50(3, weights);
                model.unwrap().forward(pixels).unwrap()
            },
        ),
    ];
    each(&rows, |(config, peer)| {
        let architecture = Architecture::from_config(config).unwrap();
        let checkpoint = seeded(&architecture);
        let (shape, pixels) = pixels(&architecture);
        let theirs =
            candle_core::Tensor::from_slice(&pixels, &shape[..], &candle_core::Device::Cpu);
        let theirs = values(&peer(candle_weights(&checkpoint), &theirs.unwrap()));
        let tensor = Tensor::new(shape, pixels).unwrap();
        let inputs = BTreeMap::from([("pixel_values".into(), tensor)]);
        let found = answer(&mut session(&architecture, &checkpoint), &inputs);
        match relative(&found, &theirs) {
            far if far < 1e-5 => Ok(()),
            far => Err(format!("{far:e} apart")),
        }
    });
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let rows = [
        (
            resnet(json!({"groups": 32})),
            "config-unsupported",
            "groups",
        ),
        (
            resnet(json!({"block": "wide"})),
            "config-unsupported",
            "block",
        ),
        (
            resnet(json!({"blocks": [1, 1, 1]})),
            "config-invalid",
            "stages",
        ),
        (json!({"model_type": "resnet"}), "config-invalid", "blocks"),
        (
            resnet(json!({"input": [3, 0, 5]})),
            "config-invalid",
            "input",
        ),
        (
            json!({"model_type": "resnet", "depths": [1], "hidden_sizes": [8],
                "architectures": ["ResNetModel"]}),
            "config-unsupported",
            "ResNetForImageClassification",
        ),
        (
            json!({"model_type": "resnet", "depths": [1], "hidden_sizes": [6]}),
            "config-invalid",
            "hidden_sizes",
        ),
        (
            vit(json!({"patch_size": 3})),
            "config-invalid",
            "patch_size",
        ),
        (
            vit(json!({"patch_size": 0})),
            "config-invalid",
            "patch_size",
        ),
        (
            vit(json!({"hidden_act": "quick_gelu"})),
            "config-unsupported",
            "hidden_act",
        ),
        (
            vit(json!({"num_attention_heads": 5})),
            "config-invalid",
            "heads",
        ),
        (
            vit(json!({"architectures": ["ViTForMaskedImageModeling"]})),
            "config-unsupported",
            "architectures",
        ),
        (json!({"model_type": "deit"}), "model-type", "deit"),
        (json!({"model_type": "swin"}), "model-type", "swin"),
    ];
    each(
        &rows,
        |(config, rule, word)| match Architecture::from_config(config) {
            Err(error) if error.rule() == *rule && error.to_string().contains(word) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );
}
