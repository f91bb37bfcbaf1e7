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
        if faults.is_empty() {
            faults = weights.copy_faults(&architecture.copies());
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

    /// What the checkpoint calls a parameter: as it is, with the prefix added or removed, or in the
    /// spelling of TensorFlow.
    fn stored_name(&self, name: &str) -> Option<String> {
        let other = self.prefix.map(|prefix| {
            let bare = name.strip_prefix(prefix).and_then(|r| r.strip_prefix('.'));
            bare.map_or_else(|| format!("{prefix}.{name}"), str::to_owned)
        });
        let names = std::iter::once(name.to_owned()).chain(other);
        let spellings =
            names.flat_map(|name| [converted_name(&name), Some(name)].into_iter().rev());
        let mut spellings = spellings.flatten();
        spellings.find(|name| self.tensors.contains_key(name))
    }

    /// Tensors that are stored twice must be the same both times: the model has only one of them.
    fn copy_faults(&self, copies: &[(&str, String)]) -> Vec<String> {
        let fault = |(copy, of): &(&str, String)| {
            let (stored, original) = (self.get(copy)?, self.get(of)?);
            match (stored.data(), original.data()) {
                (Err(error), _) | (_, Err(error)) => Some(error.to_string()),
                (Ok(a), Ok(b)) if stored.dtype() == original.dtype() && a == b => None,
                _ => Some(format!(
                    "{copy} differs from {of}, which it is in a model with `tie_word_embeddings`"
                )),
            }
        };
        copies.iter().filter_map(fault).collect()
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

/// What the weights of a layer normalization are called in checkpoints that came from TensorFlow, such
/// as those that BERT was published with.
fn converted_name(name: &str) -> Option<String> {
    const SPELLINGS: [[&str; 2]; 2] = [[".weight", ".gamma"], [".bias", ".beta"]];
    let spelled = |[ours, theirs]: [&str; 2]| {
        let module = name.strip_suffix(ours)?;
        (module.ends_with("LayerNorm")).then(|| format!("{module}{theirs}"))
    };
    SPELLINGS.into_iter().find_map(spelled)
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
