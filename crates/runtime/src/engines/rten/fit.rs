//! What rten would silently change is refused before it loads.
//!
//! rten turns 64-bit floats into 32-bit ones and clamps 64-bit integers to 32 bits when it reads a
//! constant. Clamping is harmless in one place only: the bounds of `Slice`, where exporters write the
//! largest integer for "to the end".

use std::collections::{HashMap, HashSet};

use amphora_error::{Error, Result, quoted};
use amphora_onnx::proto::{AttributeProto, NodeProto, TensorProto};
use amphora_onnx::visit::{self, Item, Role};
use amphora_onnx::{Contract, Dtype, Model};

/// Most faults listed.
const SHOWN: usize = 50;

/// Refuses a model that has values rten cannot represent, naming all of them.
pub(super) fn check(model: &Model, contract: &Contract) -> Result<()> {
    let mut faults = Vec::new();
    let values = contract.inputs.iter().chain(&contract.outputs);
    for spec in values.filter(|spec| !has_values(spec.dtype)) {
        faults.push(format!("{} is {}", quoted(&spec.name), spec.dtype));
    }
    let flow = Flow::new(model)?;
    visit::items(model.proto(), &mut |place, item| {
        match item {
            Item::Tensor(_, tensor) => {
                let dtype = Dtype::from_onnx(tensor.data_type())?;
                if !has_values(dtype) {
                    faults.push(format!("{} is {dtype}", place.of_tensor(tensor.name())));
                }
            }
            Item::Node(node) => {
                for attribute in &node.attribute {
                    if let Some(dtype) = requested(attribute).filter(|d| !has_values(*d)) {
                        faults.push(format!(
                            "{place} makes {dtype} (attribute {})",
                            quoted(attribute.name())
                        ));
                    }
                }
            }
            Item::Sparse(_) => {}
        }
        Ok(())
    })?;
    faults.extend(flow.faults());
    if faults.is_empty() {
        return Ok(());
    }
    let left = faults.len().saturating_sub(SHOWN);
    faults.truncate(SHOWN);
    if left > 0 {
        faults.push(format!("and {left} more"));
    }
    Err(Error::unsupported(
        "engine-dtype",
        "rten cannot represent all values of the model",
    )
    .expected("float32, float16, int8, uint8, bool, and integers of up to 32 bits")
    .faults(faults)
    .hint("choose the engine ort"))
}

/// Whether rten holds values of this type, in their own or in a wider one.
fn has_values(dtype: Dtype) -> bool {
    matches!(
        dtype,
        Dtype::Float32
            | Dtype::Float16
            | Dtype::Int32
            | Dtype::Int64
            | Dtype::Bool
            | Dtype::Int8
            | Dtype::Uint8
    )
}

/// The element type that an attribute asks an operator to produce.
fn requested(attribute: &AttributeProto) -> Option<Dtype> {
    let names_a_type = matches!(
        attribute.name(),
        "to" | "dtype" | "output_dtype" | "output_datatype"
    );
    let number = attribute.i.filter(|_| names_a_type)?;
    // 0 leaves the type open.
    Dtype::from_onnx(i32::try_from(number).ok()?).ok()
}

/// Where the integers beyond 32 bits are, and where each value goes.
#[derive(Default)]
struct Flow<'m> {
    /// The place of every constant that has such an integer, by the name of the value.
    wide: HashMap<&'m str, String>,
    /// Places of such integers that no `Slice` can be the only reader of.
    stray: Vec<String>,
    /// The nodes that read a value, with the position of the input.
    readers: HashMap<&'m str, Vec<(&'m NodeProto, usize)>>,
    /// The outputs of the graph and of its sub-graphs.
    outputs: HashSet<&'m str>,
}

impl<'m> Flow<'m> {
    fn new(model: &'m Model) -> Result<Self> {
        let mut flow = Self::default();
        if let Some(main) = &model.proto().graph {
            flow.outputs
                .extend(main.output.iter().map(|value| value.name()));
        }
        let wide = |tensor: &TensorProto| -> Result<bool> {
            if tensor.data_type() != Dtype::Int64.to_onnx() {
                return Ok(false);
            }
            let bytes = model.tensor_bytes(tensor)?;
            let (values, _) = bytes.as_chunks::<8>();
            Ok(values.iter().any(|v| beyond(i64::from_le_bytes(*v))))
        };
        visit::items(model.proto(), &mut |place, item| {
            match item {
                Item::Node(node) => flow.node(&place.to_string(), node, &wide)?,
                Item::Tensor(Role::Initializer, tensor) if wide(tensor)? => {
                    let place = place.of_tensor(tensor.name());
                    flow.wide.insert(tensor.name(), place);
                }
                Item::Tensor(..) | Item::Sparse(_) => {}
            }
            Ok(())
        })?;
        Ok(flow)
    }

    fn node(
        &mut self,
        place: &str,
        node: &'m NodeProto,
        wide: &dyn Fn(&TensorProto) -> Result<bool>,
    ) -> Result<()> {
        for (position, name) in node.input.iter().enumerate() {
            self.readers.entry(name).or_default().push((node, position));
        }
        for attribute in &node.attribute {
            for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
                let outputs = graph.output.iter().map(|value| value.name());
                self.outputs.extend(outputs);
            }
            let tensor = attribute.t.as_deref().map_or(Ok(false), wide)?;
            match (node.op_type(), node.output.first()) {
                ("Constant", Some(output)) => {
                    let integers = attribute.i.iter().chain(&attribute.ints);
                    if tensor || integers.copied().any(beyond) {
                        self.wide.insert(output, place.to_owned());
                    }
                }
                _ if tensor => self.stray.push(place.to_owned()),
                _ => {}
            }
        }
        Ok(())
    }

    fn faults(self) -> Vec<String> {
        let escaped = self
            .wide
            .iter()
            .filter(|(name, _)| !self.only_bounds(name))
            .map(|(_, place)| place);
        let mut faults: Vec<String> = escaped
            .chain(&self.stray)
            .map(|place| format!("{place} has integers beyond 32 bits"))
            .collect();
        faults.sort();
        faults
    }

    /// Whether a value is used for nothing but the bounds of `Slice`, directly or after operators
    /// that only move elements.
    fn only_bounds(&self, name: &str) -> bool {
        let mut seen = HashSet::from([name]);
        let mut left = vec![name];
        while let Some(value) = left.pop() {
            if self.outputs.contains(value) {
                return false;
            }
            for (node, position) in self.readers.get(value).into_iter().flatten() {
                match (node.op_type(), position) {
                    ("Slice", 1 | 2) => {}
                    ("Identity" | "Unsqueeze" | "Squeeze" | "Reshape", 0) | ("Concat", _) => {
                        for output in &node.output {
                            if seen.insert(output) {
                                left.push(output);
                            }
                        }
                    }
                    _ => return false,
                }
            }
        }
        true
    }
}

fn beyond(value: i64) -> bool {
    i32::try_from(value).is_err()
}
