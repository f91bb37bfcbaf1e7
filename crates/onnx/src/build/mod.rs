//! Building a graph, node by node.
//!
//! * [`GraphBuilder`] holds the graph under construction and knows its opset.
//! * [`Value`] is one edge: a graph input, an initializer, or the output of a node.
//! * [`Attribute`] is what configures a node beside its inputs.
//!
//! ```
//! use amphora_onnx::build::GraphBuilder;
//! use amphora_onnx::{Dim, Dtype};
//!
//! let mut graph = GraphBuilder::new("halve", 14)?;
//! let shape = [Dim::Symbol("batch_size".into()), Dim::Fixed(3)];
//! let x = graph.input("x", Dtype::Float32, &shape);
//! let half = graph.scalar(0.5);
//! let y = graph.binary("Mul", &x, &half);
//! graph.output(&y, "y", Dtype::Float32, &shape);
//! let model = graph.finish();
//! assert_eq!(model.ir_version, Some(7));
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! One method per operator whose form changed between opsets ([`GraphBuilder::reduce`],
//! [`GraphBuilder::layer_norm`], ...) hides the change; everything else is [`GraphBuilder::node`].
//! Nodes are numbered as they come and constants are shared by content, so the same calls give the
//! same bytes. Names made here start with `/`, which keeps them apart from names of parameters and
//! outputs. Patterns such as LayerNorm and GELU are written the way engines recognize and fuse them.

mod operators;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use amphora_error::{Error, Result};
use bytes::Bytes;

use crate::proto::{
    AttributeProto, AttributeType, DimensionProto, DimensionValue, GraphProto, ModelProto,
    NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, TypeValue, ValueInfoProto,
};
use crate::{Dim, Dtype};

pub use operators::Reduction;

/// The first opset that came with each `ir_version`: the lowest IR that may carry it
/// (`docs/Versioning.md` of ONNX).
const IR_VERSIONS: [(u64, i64); 8] = [
    (11, 6),
    (12, 7),
    (15, 8),
    (19, 9),
    (21, 10),
    (23, 11),
    (24, 12),
    (25, 13),
];

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// One edge of the graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(String);

/// The value of a node's attribute.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// One number.
    Int(i64),
    /// A list of numbers.
    Ints(Vec<i64>),
    /// One real number.
    Float(f32),
}

/// Where the bytes of a linked initializer lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExternalRange<'a> {
    /// The file, relative to the model's directory, with `/` between segments.
    pub location: &'a str,
    /// The first byte.
    pub offset: u64,
    /// The number of bytes.
    pub length: u64,
}

/// A graph under construction.
#[derive(Debug)]
pub struct GraphBuilder {
    opset: u64,
    graph: GraphProto,
    outputs: Vec<(Value, ValueInfoProto)>,
    nodes_by_operator: BTreeMap<String, u64>,
    constants: BTreeMap<(i32, Vec<i64>, Vec<u8>), Value>,
}

impl GraphBuilder {
    /// The opsets that can be written: from `Round` to the newest that a released engine runs.
    pub const OPSETS: RangeInclusive<u64> = 11..=26;

    /// An empty graph.
    ///
    /// # Errors
    ///
    /// Unsupported (`opset-range`) when `opset` is not one of [`Self::OPSETS`].
    pub fn new(name: &str, opset: u64) -> Result<Self> {
        if !Self::OPSETS.contains(&opset) {
            let (first, last) = (Self::OPSETS.start(), Self::OPSETS.end());
            return Err(Error::unsupported(
                "opset-range",
                format!("graphs of opset {opset} cannot be written"),
            )
            .expected(format!("an opset from {first} to {last}"))
            .hint("choose an opset that the engine you deploy to supports, for example 14"));
        }
        Ok(Self {
            opset,
            graph: GraphProto {
                name: Some(name.to_owned()),
                ..GraphProto::default()
            },
            outputs: Vec::new(),
            nodes_by_operator: BTreeMap::new(),
            constants: BTreeMap::new(),
        })
    }

    /// The version of the default operator set.
    pub fn opset(&self) -> u64 {
        self.opset
    }

    /// A graph input.
    pub fn input(&mut self, name: &str, dtype: Dtype, shape: &[Dim]) -> Value {
        self.graph.input.push(value_info(name, dtype, shape));
        Value(name.to_owned())
    }

    /// A tensor stored in the model: `data` in little-endian order, as many bytes as `dtype` and
    /// `shape` ask for.
    pub fn initializer(&mut self, name: &str, dtype: Dtype, shape: &[u64], data: Bytes) -> Value {
        self.graph.initializer.push(TensorProto {
            raw_data: Some(data),
            ..tensor(name, dtype, shape)
        });
        Value(name.to_owned())
    }

    /// A tensor whose bytes lie in another file.
    pub fn linked_initializer(
        &mut self,
        name: &str,
        dtype: Dtype,
        shape: &[u64],
        range: ExternalRange<'_>,
    ) -> Value {
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        self.graph.initializer.push(TensorProto {
            external_data: vec![
                entry("location", range.location.to_owned()),
                entry("offset", range.offset.to_string()),
                entry("length", range.length.to_string()),
            ],
            data_location: Some(EXTERNAL),
            ..tensor(name, dtype, shape)
        });
        Value(name.to_owned())
    }

    /// A float32 scalar.
    pub fn scalar(&mut self, value: f32) -> Value {
        self.constant(Dtype::Float32, &[], &value.to_le_bytes())
    }

    /// An int64 scalar.
    pub fn int64(&mut self, value: i64) -> Value {
        self.constant(Dtype::Int64, &[], &value.to_le_bytes())
    }

    /// An int64 vector.
    pub fn int64s(&mut self, values: &[i64]) -> Value {
        let data: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.constant(Dtype::Int64, &[values.len() as u64], &data)
    }

    fn constant(&mut self, dtype: Dtype, shape: &[u64], data: &[u8]) -> Value {
        let dims = shape.iter().map(|size| *size as i64).collect();
        let key = (dtype.to_onnx(), dims, data.to_vec());
        if let Some(value) = self.constants.get(&key) {
            return value.clone();
        }
        let name = format!("/constant_{}", self.constants.len());
        let value = self.initializer(&name, dtype, shape, Bytes::copy_from_slice(data));
        self.constants.insert(key, value.clone());
        value
    }

    /// A node with one output.
    pub fn node(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> Value {
        let [output] = self.node_with_outputs(operator, inputs, attributes);
        output
    }

    /// A node with `N` outputs.
    pub fn node_with_outputs<const N: usize>(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> [Value; N] {
        let count = self
            .nodes_by_operator
            .entry(operator.to_owned())
            .or_default();
        let name = format!("/{operator}_{count}");
        *count += 1;
        let outputs = std::array::from_fn(|index| match N {
            1 => Value(name.clone()),
            _ => Value(format!("{name}/{index}")),
        });
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: outputs.iter().map(|value| value.0.clone()).collect(),
            name: Some(name),
            op_type: Some(operator.to_owned()),
            attribute: attributes.iter().map(attribute).collect(),
            ..NodeProto::default()
        });
        outputs
    }

    /// Makes `value` the graph output `name`. The name must be new in the graph.
    pub fn output(&mut self, value: &Value, name: &str, dtype: Dtype, shape: &[Dim]) {
        let computed = self
            .graph
            .node
            .iter()
            .any(|node| node.output.contains(&value.0));
        let taken = self.outputs.iter().any(|(other, _)| other == value);
        let value = match computed && !taken {
            true => value.clone(),
            false => self.node("Identity", &[value], &[]),
        };
        self.outputs.push((value, value_info(name, dtype, shape)));
    }

    /// The model.
    pub fn finish(mut self) -> ModelProto {
        let names: BTreeMap<String, String> = self
            .outputs
            .iter()
            .filter_map(|(value, info)| Some((value.0.clone(), info.name.clone()?)))
            .collect();
        for node in &mut self.graph.node {
            for edge in node.input.iter_mut().chain(&mut node.output) {
                if let Some(name) = names.get(edge) {
                    edge.clone_from(name);
                }
            }
        }
        self.graph.output = self.outputs.into_iter().map(|(_, info)| info).collect();
        let ir_version = IR_VERSIONS
            .iter()
            .rev()
            .find(|(first_opset, _)| *first_opset <= self.opset)
            .map(|(_, ir_version)| *ir_version);
        ModelProto {
            ir_version,
            producer_name: Some("amphora".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(self.opset as i64),
            }],
            ..ModelProto::default()
        }
    }
}

fn tensor(name: &str, dtype: Dtype, shape: &[u64]) -> TensorProto {
    TensorProto {
        dims: shape.iter().map(|size| *size as i64).collect(),
        data_type: Some(dtype.to_onnx()),
        name: Some(name.to_owned()),
        ..TensorProto::default()
    }
}

fn value_info(name: &str, dtype: Dtype, shape: &[Dim]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|dim| DimensionProto {
            value: match dim {
                Dim::Fixed(size) => Some(DimensionValue::Value(*size as i64)),
                Dim::Symbol(name) => Some(DimensionValue::Param(name.clone())),
                Dim::Unknown => None,
            },
            ..DimensionProto::default()
        })
        .collect();
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Tensor(TensorTypeProto {
                elem_type: Some(dtype.to_onnx()),
                shape: Some(TensorShapeProto { dim }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn attribute((name, value): &(&str, Attribute)) -> AttributeProto {
    let named = AttributeProto {
        name: Some((*name).to_owned()),
        ..AttributeProto::default()
    };
    match value {
        Attribute::Int(value) => AttributeProto {
            i: Some(*value),
            r#type: Some(AttributeType::Int as i32),
            ..named
        },
        Attribute::Ints(values) => AttributeProto {
            ints: values.clone(),
            r#type: Some(AttributeType::Ints as i32),
            ..named
        },
        Attribute::Float(value) => AttributeProto {
            f: Some(*value),
            r#type: Some(AttributeType::Float as i32),
            ..named
        },
    }
}
