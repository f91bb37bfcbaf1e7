//! The inputs and outputs of a planner's graph.

use amphora_error::{Error, ErrorKind, Result};
use amphora_onnx::{Contract, Dim, Dtype, TensorSpec};

use super::ModelKind;
use crate::action_space::{ActionSpace, Head};

/// Refuses a graph that does not take what the encoder makes, or whose heads are not the action
/// space's.
pub(super) fn check(
    contract: &Contract,
    kind: ModelKind,
    width: usize,
    space: &ActionSpace,
) -> Result<()> {
    let mut faults = Vec::new();
    let inputs: &[(&str, Dtype)] = match kind {
        ModelKind::Features => &[("input", Dtype::Float32)],
        ModelKind::Tokens => &[
            ("input_ids", Dtype::Int64),
            ("attention_mask", Dtype::Int64),
        ],
    };
    for (name, dtype) in inputs {
        let found = contract.inputs.iter().find(|input| input.name == *name);
        if found.is_none_or(|input| input.dtype != *dtype) {
            faults.push(format!("input {name}: expected one of type {dtype}"));
        }
    }
    if contract.inputs.len() != inputs.len() {
        let (expected, found) = (inputs.len(), contract.inputs.len());
        faults.push(format!("expected {expected} inputs, found {found}"));
    }
    let last = |spec: &TensorSpec| match spec.shape.as_deref() {
        Some([_, Dim::Fixed(size)]) => Some(*size),
        _ => None,
    };
    if kind == ModelKind::Features
        && let Some(found) = contract.inputs.first().and_then(last)
        && found != width as u64
    {
        faults.push(format!(
            "input: expected {width} features as in tokenizer_config.json, found {found}"
        ));
    }
    for (head, classes) in Head::ALL.into_iter().zip(space.widths()) {
        let name = head.onnx_name();
        match contract.outputs.iter().find(|output| output.name == name) {
            None => faults.push(format!("output {name}: not in the graph")),
            Some(output) if output.dtype != Dtype::Float32 => {
                faults.push(format!(
                    "output {name}: expected float32, found {}",
                    output.dtype
                ));
            }
            Some(output) => {
                if let Some(found) = last(output)
                    && found != classes as u64
                {
                    faults.push(format!(
                        "output {name}: expected {classes} classes as in the action space, found {found}"
                    ));
                }
            }
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Incompatible,
            "planner-graph",
            "the graph is not that of this planner",
        )
        .faults(faults)),
    }
}
