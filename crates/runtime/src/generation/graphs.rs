//! What two graphs must be like to write text.

use amphora_error::{Error, Result, quoted};
use amphora_onnx::{Contract, Dim, Dtype, TensorSpec};

use crate::Link;

/// The tokens, `[batch, positions]`.
pub(super) const INPUT_IDS: &str = "input_ids";
/// 1 for a token, 0 for filling, `[batch, positions so far]`.
pub(super) const MASK: &str = "attention_mask";
/// The places of the tokens in their text, `[batch, positions]`.
pub(super) const POSITIONS: &str = "position_ids";
/// `[batch, positions, vocabulary]`.
pub(super) const LOGITS: &str = "logits";

/// Checks both contracts, reports every fault, and says which outputs become which inputs.
pub(super) fn check(prefill: &Contract, decode: &Contract) -> Result<Vec<Link>> {
    let links = Link::by_name(decode);
    let mut faults = Vec::new();
    if links.is_empty() {
        faults.push("decode: no input past_... has an output present_...".to_owned());
    }
    for (graph, contract) in [("prefill", prefill), ("decode", decode)] {
        inputs(graph, contract, &links, &mut faults);
        logits(graph, contract, &mut faults);
        for link in &links {
            if !contract.outputs.iter().any(|spec| spec.name == link.output) {
                let name = quoted(&link.output);
                faults.push(format!("{graph}: the output {name} is missing"));
            }
        }
    }
    if faults.is_empty() {
        return Ok(links);
    }
    Err(Error::incompatible(
        "generation-graphs",
        "the graphs are not the two halves of a language model",
    )
    .faults(faults))
}

fn inputs(graph: &str, contract: &Contract, links: &[Link], faults: &mut Vec<String>) {
    if !contract.inputs.iter().any(|spec| spec.name == INPUT_IDS) {
        faults.push(format!("{graph}: the input '{INPUT_IDS}' is missing"));
    }
    for spec in &contract.inputs {
        let name = quoted(&spec.name);
        match spec.name.as_str() {
            INPUT_IDS | MASK | POSITIONS => {
                let fits = match spec.name.as_str() {
                    MASK => matches!(
                        spec.dtype,
                        Dtype::Int64 | Dtype::Int32 | Dtype::Float32 | Dtype::Bool
                    ),
                    _ => matches!(spec.dtype, Dtype::Int64 | Dtype::Int32),
                };
                if !fits {
                    faults.push(format!("{graph}: {name} is {}, not int64", spec.dtype));
                }
                if spec.shape.as_ref().is_some_and(|shape| shape.len() != 2) {
                    faults.push(format!("{graph}: {name} is not of rank 2"));
                }
            }
            other if graph == "decode" && links.iter().any(|link| link.input == other) => {}
            other if other.starts_with("past") => {
                let output = other.replacen("past", "present", 1);
                let output = quoted(&output);
                faults.push(match graph {
                    "decode" => format!("{graph}: {name} has no output {output} to come from"),
                    _ => format!("{graph}: {name} is asked for before anything was read"),
                });
            }
            _ => faults.push(format!("{graph}: nothing is known to put into {name}")),
        }
    }
}

fn logits(graph: &str, contract: &Contract, faults: &mut Vec<String>) {
    let Some(spec) = contract.outputs.iter().find(|spec| spec.name == LOGITS) else {
        faults.push(format!("{graph}: the output '{LOGITS}' is missing"));
        return;
    };
    if spec.shape.as_ref().is_some_and(|shape| shape.len() != 3) {
        faults.push(format!(
            "{graph}: '{LOGITS}' is not [batch, positions, vocabulary]"
        ));
    }
}

/// The number of tokens that the model knows, where the contract says it.
pub(super) fn vocabulary(contract: &Contract) -> Option<usize> {
    let logits: &TensorSpec = contract.outputs.iter().find(|spec| spec.name == LOGITS)?;
    match logits.shape.as_ref()?.last()? {
        Dim::Fixed(size) => usize::try_from(*size).ok(),
        Dim::Symbol(_) | Dim::Unknown => None,
    }
}
