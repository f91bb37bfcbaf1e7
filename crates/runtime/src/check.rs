//! Checking a graph before an engine sees it, and comparing tensors with a contract.

use std::collections::BTreeMap;

use amphora_error::{Error, Result, quoted, quoted_list};
use amphora_onnx::{Contract, Dim, Dtype, Model, TensorSpec};

use crate::tensor::show_shape;
use crate::{Fed, Kept, Tensor};

/// Sizes that symbolic dimensions got, with the name of the tensor that gave them.
#[derive(Debug, Default)]
pub(crate) struct Bindings<'a>(BTreeMap<&'a str, (usize, &'a str)>);

/// What may go into a graph beyond names, types and shapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputPolicy {
    /// Accept inputs without elements where the contract leaves the dimension open. Off by default:
    /// an empty batch is nearly always a mistake, and engines differ in what they make of it. A
    /// language model's empty key-value cache needs it.
    pub allow_empty: bool,
    /// Inputs whose every element must be finite; the manifest names them. Other inputs may hold NaN
    /// and infinities, and [`crate::Outputs::nonfinite`] then says how many came out.
    pub finite: std::collections::BTreeSet<String>,
}

/// Refuses a graph that makes no sense, or that states a value of more elements than the limits allow
/// one tensor: an engine would try to allocate it, and some end the process when they cannot.
pub(crate) fn graph(model: &Model) -> Result<()> {
    let table = model.infer_shapes()?;
    if !table.contradictions.is_empty() {
        model.check()?;
    }
    let limit = model.limits().elements;
    for (name, value) in &table.values {
        let Some(shape) = &value.shape else { continue };
        let fixed = shape.iter().map(|dim| match dim {
            Dim::Fixed(size) => *size,
            Dim::Symbol(_) | Dim::Unknown => 1,
        });
        let elements = fixed.fold(1_u64, u64::saturating_mul);
        if elements > limit {
            return Err(
                Error::limit("value-elements", "a value of the graph is too large")
                    .expected(format!("at most {limit} elements"))
                    .found(format!("{elements} elements"))
                    .at(format!("value {}", quoted(name))),
            );
        }
    }
    Ok(())
}

/// Checks all of `inputs` against `contract` and reports every fault in one [`usage`](Error::usage)
/// error: missing, extra, element type, rank, fixed dimension, one symbolic dimension bound to two
/// sizes, empty, not finite, and those that were `unreadable`, with the reason.
pub(crate) fn inputs<'a>(
    contract: &'a Contract,
    inputs: &BTreeMap<String, Tensor>,
    fed: &[Fed],
    unreadable: &BTreeMap<String, String>,
    policy: &InputPolicy,
) -> Result<Bindings<'a>> {
    let mut bindings = Bindings::default();
    let mut faults = Vec::new();
    for spec in &contract.inputs {
        let name = quoted(&spec.name);
        if let Some(reason) = unreadable.get(&spec.name) {
            faults.push(format!("{name}: {reason}"));
            continue;
        }
        if let Some(fed) = fed.iter().find(|fed| fed.name == spec.name) {
            value_faults(spec, Value::of_kept(&fed.value), &mut bindings, &mut faults);
            if inputs.contains_key(&spec.name) {
                faults.push(format!("{name} is fed from the cache"));
            }
            continue;
        }
        let Some(tensor) = inputs.get(&spec.name) else {
            faults.push(format!(
                "{name} is missing: {} of shape {}",
                spec.dtype,
                show_spec(spec)
            ));
            continue;
        };
        value_faults(spec, Value::of(tensor), &mut bindings, &mut faults);
        if tensor.is_empty() && !policy.allow_empty && !may_be_empty(spec) {
            faults.push(format!(
                "{name} has no elements: its shape is {}",
                show_shape(tensor.shape())
            ));
        }
        if policy.finite.contains(&spec.name) && tensor.nonfinite() > 0 {
            faults.push(format!(
                "{name} must be finite, but {} of its {} elements are not",
                tensor.nonfinite(),
                tensor.len()
            ));
        }
    }
    for name in inputs.keys().chain(unreadable.keys()) {
        if !contract.inputs.iter().any(|spec| spec.name == *name) {
            faults.push(format!("{} is not an input of the graph", quoted(name)));
        }
    }
    if faults.is_empty() {
        return Ok(bindings);
    }
    let names = contract.inputs.iter().map(|spec| spec.name.as_str());
    Err(
        Error::usage("inputs", "the inputs do not fit the contract of the graph")
            .faults(faults)
            .hint(format!("the graph takes {}", quoted_list(names))),
    )
}

/// Checks what an engine answered: the outputs that were asked for and those that it keeps. A fault is
/// the engine's or the model's, not the caller's. Every symbol an input has bound must keep its size.
pub(crate) fn outputs<'a>(
    contract: &'a Contract,
    names: &[&str],
    tensors: &[Tensor],
    kept_names: &[&str],
    kept: &[Kept],
    mut bindings: Bindings<'a>,
) -> Result<()> {
    let mut faults = Vec::new();
    if tensors.len() != names.len() || kept.len() != kept_names.len() {
        faults.push(format!(
            "{} outputs of {}",
            tensors.len() + kept.len(),
            names.len() + kept_names.len()
        ));
    }
    let tensors = names.iter().zip(tensors.iter().map(Value::of));
    let kept = kept_names.iter().zip(kept.iter().map(Value::of_kept));
    for (name, value) in tensors.chain(kept) {
        if let Some(spec) = contract.outputs.iter().find(|spec| spec.name == **name) {
            value_faults(spec, value, &mut bindings, &mut faults);
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::incompatible(
        "outputs",
        "the engine's answer does not fit the contract of the graph",
    )
    .faults(faults))
}

/// What a contract says something about.
#[derive(Clone, Copy)]
struct Value<'v> {
    dtype: Dtype,
    shape: &'v [usize],
}

impl<'v> Value<'v> {
    fn of(tensor: &'v Tensor) -> Self {
        Self {
            dtype: tensor.dtype(),
            shape: tensor.shape(),
        }
    }

    fn of_kept(kept: &'v Kept) -> Self {
        Self {
            dtype: kept.dtype,
            shape: &kept.shape,
        }
    }
}

fn value_faults<'a>(
    spec: &'a TensorSpec,
    value: Value<'_>,
    bindings: &mut Bindings<'a>,
    faults: &mut Vec<String>,
) {
    let name = quoted(&spec.name);
    if value.dtype != spec.dtype {
        faults.push(format!(
            "{name} has type {}, expected {}",
            value.dtype, spec.dtype
        ));
    }
    let Some(dims) = &spec.shape else { return };
    if dims.len() != value.shape.len() {
        faults.push(format!(
            "{name} has rank {} (shape {}), expected rank {} (shape {})",
            value.shape.len(),
            show_shape(value.shape),
            dims.len(),
            show_spec(spec)
        ));
        return;
    }
    for (axis, (dim, &size)) in dims.iter().zip(value.shape).enumerate() {
        match dim {
            Dim::Fixed(fixed) if *fixed != size as u64 => {
                faults.push(format!(
                    "{name} has {size} in dimension {axis}, expected {fixed}"
                ));
            }
            Dim::Symbol(symbol) => {
                let (bound, by) = *bindings.0.entry(symbol).or_insert((size, &spec.name));
                if bound != size {
                    faults.push(format!(
                        "{name} has {size} in dimension {axis}, but {} is {bound} in {}",
                        quoted(symbol),
                        quoted(by)
                    ));
                }
            }
            Dim::Fixed(_) | Dim::Unknown => {}
        }
    }
}

fn may_be_empty(spec: &TensorSpec) -> bool {
    spec.shape
        .as_ref()
        .is_some_and(|dims| dims.contains(&Dim::Fixed(0)))
}

fn show_spec(spec: &TensorSpec) -> String {
    match &spec.shape {
        None => "any".to_owned(),
        Some(dims) => {
            let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
            format!("[{}]", dims.join(", "))
        }
    }
}
