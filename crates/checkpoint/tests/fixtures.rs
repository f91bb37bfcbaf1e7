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
            let offset = tensor.file_offset().unwrap() as usize;
            let same = tensor.shape() == shape
                && tensor.dtype().name() == view.dtype().to_string()
                && tensor.data() == view.data()
                && bytes[offset..].starts_with(view.data());
            if !same {
                return Err(format!("{name} differs"));
            }
        }
        Ok(())
    });
}
