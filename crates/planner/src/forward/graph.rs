//! The graph of a model as the recognizer asks about it: who makes a value, and what is constant.

use std::collections::HashMap;

use amphora_onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use amphora_onnx::{Dtype, Model};

/// Operator sets under which the operators that are recognized mean what is assumed here: from the
/// first whose Dropout does nothing in inference to the newest that was looked at.
const OPSETS: std::ops::RangeInclusive<u64> = 7..=26;

pub(super) struct Graph<'m> {
    model: &'m Model,
    nodes: HashMap<&'m str, (&'m NodeProto, usize)>,
    constants: HashMap<&'m str, &'m TensorProto>,
    inputs: Vec<&'m str>,
}

/// A constant matrix or vector: dimensions and values in row-major order.
pub(super) struct Constant {
    pub(super) dims: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl<'m> Graph<'m> {
    /// `None` when the model breaks a rule of the format (so that names are unique and nothing goes
    /// in a circle), or states operator sets or functions that are not known here.
    pub(super) fn of(model: &'m Model, opset: u64, inputs: Vec<&'m str>) -> Option<Self> {
        if !OPSETS.contains(&opset) || !model.proto().functions.is_empty() {
            return None;
        }
        model.check().ok()?;
        let graph: &GraphProto = model.proto().graph.as_ref()?;
        let mut nodes = HashMap::new();
        for node in &graph.node {
            let named = node.output.iter().enumerate();
            for (place, name) in named.filter(|(_, name)| !name.is_empty()) {
                nodes.insert(name.as_str(), (node, place));
            }
        }
        let constants = graph.initializer.iter();
        let constants = constants.filter_map(|tensor| Some((tensor.name.as_deref()?, tensor)));
        Some(Self {
            model,
            nodes,
            constants: constants.collect(),
            inputs,
        })
    }

    pub(super) fn is_input(&self, name: &str) -> bool {
        self.inputs.contains(&self.source(name))
    }

    /// The value that `name` is a plain copy of.
    pub(super) fn source<'n>(&self, name: &'n str) -> &'n str
    where
        'm: 'n,
    {
        let mut name = name;
        while let Some(before) = self.copied(name) {
            name = before;
        }
        name
    }

    fn copied(&self, name: &str) -> Option<&'m str> {
        let (node, place) = self.nodes.get(name)?;
        if !is_standard(node) || *place != 0 {
            return None;
        }
        match node.op_type() {
            "Identity" => one(node),
            "Dropout" => match self.dropout_is_idle(node) {
                true => node.input.first().map(String::as_str),
                false => None,
            },
            _ => None,
        }
    }

    /// Whether a Dropout does nothing: it trains only when a third input says so.
    fn dropout_is_idle(&self, node: &NodeProto) -> bool {
        let Some(training) = node.input.get(2).filter(|name| !name.is_empty()) else {
            return true;
        };
        let Some(tensor) = self.tensor(training) else {
            return false;
        };
        let is_bool = tensor.data_type == Some(Dtype::Bool.to_onnx());
        let bytes = self.model.tensor_bytes(tensor);
        is_bool && bytes.is_ok_and(|bytes| bytes[..] == [0])
    }

    /// The node of this operator whose first output `name` is.
    pub(super) fn node(&self, name: &str, operator: &str) -> Option<&'m NodeProto> {
        let (node, place) = self.nodes.get(self.source(name))?;
        let is_it = *place == 0 && is_standard(node) && node.op_type() == operator;
        is_it.then_some(*node)
    }

    /// The constant tensor that `name` stands for.
    fn tensor(&self, name: &str) -> Option<&'m TensorProto> {
        let name = self.source(name);
        if let Some(tensor) = self.constants.get(name) {
            return Some(tensor);
        }
        let node = self.node(name, "Constant")?;
        match &node.attribute[..] {
            [attribute] if attribute.name() == "value" => attribute.t.as_deref(),
            _ => None,
        }
    }

    /// The finite float32 values of a constant; `None` when any is not.
    pub(super) fn constant(&self, name: &str) -> Option<Constant> {
        let tensor = self.tensor(name)?;
        if tensor.data_type != Some(Dtype::Float32.to_onnx()) {
            return None;
        }
        let bytes = self.model.tensor_bytes(tensor).ok()?;
        let (chunks, _) = bytes.as_chunks::<4>();
        let values: Vec<f32> = chunks.iter().copied().map(f32::from_le_bytes).collect();
        let dims = tensor.dims.iter().map(|dim| usize::try_from(*dim).ok());
        values.iter().all(|value| value.is_finite()).then_some(())?;
        Some(Constant {
            dims: dims.collect::<Option<_>>()?,
            values,
        })
    }

    /// A constant of one element that leaves the rank of a matrix as it is.
    pub(super) fn scalar(&self, name: &str) -> Option<f32> {
        if let Some(node) = self.node(name, "Constant")
            && let [attribute] = &node.attribute[..]
            && attribute.name() == "value_float"
        {
            return attribute.f.filter(|value| value.is_finite());
        }
        let constant = self.constant(name)?;
        match (constant.dims.len() <= 2, &constant.values[..]) {
            (true, [value]) => Some(*value),
            _ => None,
        }
    }

    /// A constant of `n` elements that is added to or multiplied with each row of a matrix.
    pub(super) fn vector(&self, name: &str, n: usize) -> Option<Vec<f32>> {
        let constant = self.constant(name)?;
        match constant.dims[..] {
            [width] | [1, width] if width == n => Some(constant.values),
            _ => None,
        }
    }

    /// A constant list of 64-bit integers.
    pub(super) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        if let Some(node) = self.node(name, "Constant")
            && let [attribute] = &node.attribute[..]
            && attribute.name() == "value_ints"
        {
            return Some(attribute.ints.clone());
        }
        let tensor = self.tensor(name)?;
        if tensor.data_type != Some(Dtype::Int64.to_onnx()) {
            return None;
        }
        let bytes = self.model.tensor_bytes(tensor).ok()?;
        let (chunks, _) = bytes.as_chunks::<8>();
        Some(chunks.iter().copied().map(i64::from_le_bytes).collect())
    }
}

/// The only input of a node.
fn one(node: &NodeProto) -> Option<&str> {
    match &node.input[..] {
        [only] => Some(only),
        _ => None,
    }
}

fn is_standard(node: &NodeProto) -> bool {
    matches!(node.domain(), "" | "ai.onnx")
}

pub(super) fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n AttributeProto> {
    node.attribute.iter().find(|a| a.name() == name)
}

pub(super) fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).and_then(|a| a.i).unwrap_or(default)
}

pub(super) fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    attribute(node, name).and_then(|a| a.f).unwrap_or(default)
}

/// The inputs of a node of two, both ways round.
pub(super) fn either_way(node: &NodeProto) -> Option<[(&str, &str); 2]> {
    match &node.input[..] {
        [a, b] => Some([(a, b), (b, a)]),
        _ => None,
    }
}
