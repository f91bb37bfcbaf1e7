//! A checkpoint matched with an architecture.

use std::collections::{BTreeMap, BTreeSet};

use amphora_error::{Error, Result, quoted};

use super::Architecture;
use crate::{Checkpoint, Dtype, Tensor};

/// The tensors of a checkpoint, proven to be those of one architecture; made by
/// [`Architecture::bind`].
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    tensors: &'a BTreeMap<String, Tensor>,
    /// A first segment of names that a checkpoint may have where the model does not, or the reverse.
    prefix: Option<&'static str>,
}

impl<'a> Weights<'a> {
    pub(super) fn bind(architecture: &Architecture, checkpoint: &'a Checkpoint) -> Result<Self> {
        let tensors = checkpoint.tensors();
        let parameters: BTreeMap<_, _> = architecture
            .parameters()
            .into_iter()
            .map(|parameter| (parameter.name.clone(), parameter))
            .collect();
        let weights = Self {
            tensors,
            prefix: architecture.prefix(),
        };
        let mut faults = Vec::new();
        let mut stored = BTreeSet::new();
        for (name, parameter) in &parameters {
            stored.extend(weights.stored_name(name));
            match weights.get(name) {
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
        let extra = tensors.keys().filter(|name| !stored.contains(*name));
        faults.extend(extra.map(|name| format!("{} is not part of the model", quoted(name))));
        if let (Architecture::Conv2dFsq(config), true) = (architecture, faults.is_empty()) {
            faults = config.quantizer_faults(tensors);
        }
        if let (Architecture::Decoder(config), true) = (architecture, faults.is_empty()) {
            faults.extend(config.head_fault(&weights));
        }
        if faults.is_empty() {
            return Ok(weights);
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
        self.tensors.get(&self.stored_name(name)?)
    }

    /// What the checkpoint calls a parameter: as it is, or with the prefix added or removed.
    fn stored_name(&self, name: &str) -> Option<String> {
        if self.tensors.contains_key(name) {
            return Some(name.to_owned());
        }
        let prefix = self.prefix?;
        let bare = name.strip_prefix(prefix).and_then(|r| r.strip_prefix('.'));
        let other = bare.map_or_else(|| format!("{prefix}.{name}"), str::to_owned);
        self.tensors.contains_key(&other).then_some(other)
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

/// Whether a tensor is PyTorch's count of training batches, a list of positions or a causal mask, the
/// only integers in a state dict.
fn counts(name: &str, tensor: &Tensor) -> bool {
    let known = match tensor.dtype() {
        Dtype::I64 => [".num_batches_tracked", ".position_ids"],
        Dtype::Bool | Dtype::U8 => [".attn.bias", ".attn.masked_bias"],
        _ => return false,
    };
    name == "position_ids" || known.iter().any(|suffix| name.ends_with(suffix))
}
