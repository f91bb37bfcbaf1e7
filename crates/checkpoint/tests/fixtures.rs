//! Checkpoints that PyTorch and the safetensors library wrote.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_checkpoint::{Checkpoint, Format, Limits};

/// Reads `path`, or `None` where the fixtures are absent.
fn read(path: &str) -> Option<Checkpoint> {
    let path = amphora_testing::fixture(path)?;
    Some(Checkpoint::open(path, &Limits::default()).unwrap())
}

#[test]
fn every_safetensors_fixture_reads_as_the_format_s_own_library_reads_it() {
    let files = [
        "bert_tiny/model.safetensors",
        "conv2d_fsq/model.safetensors",
        "conv2d_fsq/vectors.safetensors",
        "external_data/vectors.safetensors",
        "gpt2_tiny/model.safetensors",
        "minilm/vectors.safetensors",
        "planner_mlp/model.safetensors",
        "planner_mlp/vectors.safetensors",
        "planner_transformer/model.safetensors",
        "planner_urm/model.safetensors",
        "planner_urm_conv/model.safetensors",
        "resnet_tiny/model.safetensors",
    ];
    amphora_testing::each(&files, |file| {
        let Some(path) = amphora_testing::fixture(file) else {
            return Ok(());
        };
        let bytes = fs_err::read(&path).unwrap();
        let expected = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let checkpoint = read(file).unwrap();
        if checkpoint.format() != Format::Safetensors {
            return Err(format!("read as {}", checkpoint.format()));
        }
        if checkpoint.tensors().len() != expected.len() {
            return Err(format!("{} tensors", checkpoint.tensors().len()));
        }
        for (name, view) in expected.tensors() {
            let tensor = &checkpoint.tensors()[&name];
            let shape: Vec<u64> = view.shape().iter().map(|extent| *extent as u64).collect();
            let offset = tensor.place().unwrap().offset as usize;
            let same = tensor.shape() == shape
                && tensor.dtype().name() == view.dtype().to_string()
                && tensor.data().unwrap() == view.data()
                && bytes[offset..].starts_with(view.data());
            if !same {
                return Err(format!("{name} differs"));
            }
        }
        Ok(())
    });
}

#[test]
fn every_pytorch_file_holds_the_tensors_of_the_safetensors_file_beside_it() {
    let files = [
        ("conv2d_fsq/model.pt", "conv2d_fsq", Format::TorchZip),
        (
            "conv2d_fsq/model_legacy_format.pt",
            "conv2d_fsq",
            Format::TorchLegacy,
        ),
        ("conv2d_fsq/checkpoint.pt", "conv2d_fsq", Format::TorchZip),
        ("planner_mlp/model.pt", "planner_mlp", Format::TorchZip),
        ("resnet_tiny/model.pt", "resnet_tiny", Format::TorchZip),
    ];
    amphora_testing::each(&files, |(file, folder, format)| {
        let Some(checkpoint) = read(file) else {
            return Ok(());
        };
        let expected = read(&format!("{folder}/model.safetensors")).unwrap();
        if checkpoint.format() != *format {
            return Err(format!("read as {}", checkpoint.format()));
        }
        let names = |checkpoint: &Checkpoint| -> Vec<String> {
            checkpoint.tensors().keys().cloned().collect()
        };
        if names(&checkpoint) != names(&expected) {
            return Err(format!("{:?}", names(&checkpoint)));
        }
        for (name, tensor) in checkpoint.tensors() {
            let expected = &expected.tensors()[name];
            let same = tensor.dtype() == expected.dtype()
                && tensor.shape() == expected.shape()
                && tensor.data().unwrap() == expected.data().unwrap()
                && tensor.digest().unwrap() == expected.digest().unwrap();
            if !same {
                return Err(format!("{name} differs"));
            }
        }
        Ok(())
    });
}

#[test]
fn a_training_checkpoint_keeps_its_configuration() {
    let Some(checkpoint) = read("conv2d_fsq/checkpoint.pt") else {
        return;
    };
    let config = serde_json::Value::Object(checkpoint.config().unwrap().clone());
    assert_eq!(
        config,
        serde_json::json!({"levels": [8, 6, 5], "n_classes": 4})
    );
}
