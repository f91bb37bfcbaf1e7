//! A checkpoint matched with an architecture.

use std::collections::BTreeMap;

use amphora_error::{Error, Result, quoted};

use super::Architecture;
use crate::{Checkpoint, Dtype, Tensor};

/// The tensors of a checkpoint, proven to be those of one architecture; made by
/// [`Architecture::bind`].
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    tensors: &'a BTreeMap<String, Tensor>,
}

impl<'a> Weights<'a> {
    pub(super) fn bind(architecture: &Architecture, checkpoint: &'a Checkpoint) -> Result<Self> {
        let tensors = checkpoint.tensors();
        let parameters: BTreeMap<_, _> = architecture
            .parameters()
            .into_iter()
            .map(|parameter| (parameter.name.clone(), parameter))
            .collect();
        let mut faults = Vec::new();
        for (name, parameter) in &parameters {
            match tensors.get(name) {
                None if parameter.optional => {}
                None => faults.push(format!("{name} is missing")),
                Some(tensor) if tensor.shape() != parameter.shape => faults.push(format!(
                    "{name}: expected shape {:?}, found {:?}",
                    parameter.shape,
                    tensor.shape()
                )),
                Some(tensor) if !tensor.dtype().is_float() && !counts(name, tensor) => {
                    faults.push(format!(
                        "{name}: expected floating-point numbers, found {}",
                        tensor.dtype()
                    ));
                }
                Some(_) => {}
            }
        }
        let extra = tensors
            .keys()
            .filter(|name| !parameters.contains_key(*name));
        faults.extend(extra.map(|name| format!("{} is not part of the model", quoted(name))));
        if let (Architecture::Conv2dFsq(config), true) = (architecture, faults.is_empty()) {
            faults = config.quantizer_faults(tensors);
        }
        if faults.is_empty() {
            return Ok(Self { tensors });
        }
        Err(Error::incompatible(
            "checkpoint-parameters",
            format!(
                "the checkpoint does not hold the {} model of the configuration",
                architecture.model_type()
            ),
        )
        .faults(faults)
        .hint("check that configuration and checkpoint come from the same training run"))
    }

    /// The tensor of a parameter; `None` for an optional one that the checkpoint leaves out.
    pub fn get(&self, name: &str) -> Option<&'a Tensor> {
        self.tensors.get(name)
    }

    /// The tensor of a required parameter.
    ///
    /// # Errors
    ///
    /// Internal (`parameter-name`) when `name` is no required parameter of the architecture.
    pub fn required(&self, name: &str) -> Result<&'a Tensor> {
        self.get(name).ok_or_else(|| {
            Error::internal(
                "parameter-name",
                format!("{} is not a required parameter", quoted(name)),
            )
        })
    }
}

/// Whether a tensor is PyTorch's count of training batches or a list of positions, the only integers
/// in a state dict.
fn counts(name: &str, tensor: &Tensor) -> bool {
    let known = [".num_batches_tracked", ".position_ids"];
    tensor.dtype() == Dtype::I64
        && (name == "position_ids" || known.iter().any(|suffix| name.ends_with(suffix)))
}
