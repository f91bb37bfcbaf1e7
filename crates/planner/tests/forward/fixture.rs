//! The reference planner MLP, as PyTorch exported it and as this project does.

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Safetensors, Tensor};
use amphora_export::{ExportOptions, export};
use amphora_files::OpenedFile;
use amphora_onnx::{Limits, Model};
use amphora_planner::forward::SparseMlp;

struct Vectors(Safetensors);

impl Vectors {
    fn read() -> Option<Self> {
        let path = amphora_testing::fixture("planner_mlp/vectors.safetensors")?;
        let bytes = OpenedFile::open(path).unwrap().contents(64 << 20).unwrap();
        Some(Self(
            Safetensors::from_bytes(&bytes, &Default::default()).unwrap(),
        ))
    }

    fn tensor(&self, name: &str) -> &Tensor {
        &self.0.tensors[name]
    }

    /// The nonzero values of each row of the input.
    fn rows(&self) -> Vec<(Vec<u32>, Vec<f32>)> {
        let input = self.tensor("input");
        let width = input.shape()[1] as usize;
        let dense = input.to_f32().unwrap();
        let rows = dense.chunks(width).map(|row| {
            let nonzero = (0..).zip(row).filter(|(_, value)| **value != 0.0);
            nonzero.map(|(index, value)| (index, *value)).unzip()
        });
        rows.collect()
    }
}

fn pytorch() -> Option<Model> {
    let path = amphora_testing::fixture("planner_mlp/model.onnx")?;
    Some(Model::open(&path, &Limits::default()).unwrap())
}

fn own(opset: u64) -> Option<Model> {
    let folder = amphora_testing::fixture("planner_mlp")?;
    let config = amphora_files::json::read(folder.join("config.json")).unwrap();
    let architecture = Architecture::from_config(&config).unwrap();
    let weights = folder.join("model.safetensors");
    let checkpoint = Checkpoint::open(weights, &Default::default()).unwrap();
    let options = ExportOptions {
        opset: Some(opset),
        ..ExportOptions::default()
    };
    let proto = export(&architecture, &checkpoint, &options).unwrap();
    Some(Model::from_proto(proto, &Limits::default()).unwrap())
}

#[test]
fn pytorchs_export_agrees_with_double_precision_on_every_kind_of_row() {
    let (Some(model), Some(vectors)) = (pytorch(), Vectors::read()) else {
        return;
    };
    let mlp = SparseMlp::recognize(&model).unwrap();
    assert_eq!(mlp.width(), 3779);
    let rows = vectors.rows();
    assert_eq!(rows.len(), 64);
    let mut worst = 0.0_f64;
    for (number, (indices, values)) in rows.iter().enumerate() {
        let logits = mlp.forward(indices, values).unwrap();
        for (head, found) in mlp.heads().iter().zip(logits) {
            let expected = vectors
                .tensor(&format!("{}_f64", head.name))
                .to_f64()
                .unwrap();
            let expected = &expected[number * head.classes..][..head.classes];
            for (found, expected) in found.iter().zip(expected) {
                worst = worst.max((f64::from(*found) - expected).abs());
            }
        }
    }
    assert!(worst < 1e-5, "{worst:e}");
}

#[test]
fn both_forms_of_layer_norm_and_both_exporters_give_the_same_bits() {
    let (Some(model), Some(vectors)) = (pytorch(), Vectors::read()) else {
        return;
    };
    let expected = SparseMlp::recognize(&model).unwrap();
    for opset in [14, 17, 18, 20] {
        let mlp = SparseMlp::recognize(&own(opset).unwrap()).unwrap();
        assert_eq!(mlp.heads(), expected.heads());
        for (indices, values) in &vectors.rows() {
            let found = mlp.forward(indices, values).unwrap();
            assert_eq!(
                found,
                expected.forward(indices, values).unwrap(),
                "opset {opset}"
            );
        }
    }
}

#[test]
fn a_row_is_answered_alike_alone_and_among_others() {
    let (Some(model), Some(vectors)) = (pytorch(), Vectors::read()) else {
        return;
    };
    let mlp = SparseMlp::recognize(&model).unwrap();
    let rows = vectors.rows();
    let slices = rows
        .iter()
        .map(|(indices, values)| (&indices[..], &values[..]));
    let mut answers = Vec::new();
    mlp.forward_each(slices, |logits| {
        answers.push(mlp.split(logits).map(<[f32]>::to_vec).collect::<Vec<_>>());
    })
    .unwrap();
    for ((indices, values), answer) in rows.iter().zip(&answers) {
        assert_eq!(&mlp.forward(indices, values).unwrap(), answer);
    }
}

#[test]
fn token_models_are_not_recognized() {
    for name in [
        "planner_transformer",
        "planner_urm",
        "planner_urm_conv",
        "conv2d_fsq",
        "resnet_tiny",
    ] {
        let Some(path) = amphora_testing::fixture(&format!("{name}/model.onnx")) else {
            continue;
        };
        let model = Model::open(&path, &Limits::default()).unwrap();
        assert!(SparseMlp::recognize(&model).is_none(), "{name}");
    }
}
