//! Rows 42 to 45: checkpoints and arrays that want to be executed, or that lie about their tensors.

mod arrays;
mod pickle;
mod safetensors;

use std::path::Path;

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Dtype, Safetensors, Tensor};

use crate::case::{Case, Form, Outcome};

/// The configuration of the model that all checkpoints here are of.
pub(crate) const CONFIG: &str =
    r#"{"model_type": "mlp", "d_in": 2, "hidden_sizes": [2], "heads": {"h": 2}}"#;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = pickle::cases();
    cases.extend(safetensors::cases());
    cases.extend(arrays::cases());
    cases
}

/// Every parameter of the model, all zeros.
fn parameters() -> Outcome<Safetensors> {
    let config = serde_json::from_str(CONFIG)?;
    let mut file = Safetensors::default();
    for parameter in Architecture::from_config(&config)?.parameters() {
        let elements: u64 = parameter.shape.iter().product();
        let zeros = vec![0; elements as usize * 4];
        let tensor = Tensor::new(Dtype::F32, parameter.shape.clone(), zeros.into())?;
        file.tensors.insert(parameter.name.clone(), tensor);
    }
    Ok(file)
}

fn save_config(root: &Path) -> Outcome {
    Ok(fs_err::write(root.join("config.json"), CONFIG)?)
}

/// Writes a file and the configuration beside it.
fn save(root: &Path, name: &str, bytes: &[u8]) -> Outcome {
    save_config(root)?;
    Ok(fs_err::write(root.join(name), bytes)?)
}

/// The sound checkpoint, or something else.
fn hostile_or_sound(form: Form, hostile: impl FnOnce() -> Outcome<Vec<u8>>) -> Outcome<Vec<u8>> {
    match form {
        Form::Hostile => hostile(),
        Form::Healthy => Ok(parameters()?.to_bytes()?),
    }
}
