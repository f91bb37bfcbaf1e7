//! Small graphs, built message by message.

use amphora_onnx::proto::{
    AttributeProto, AttributeType, DimensionProto, DimensionValue, GraphProto, ModelProto,
    NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    TypeValue, ValueInfoProto,
};
use amphora_onnx::{Dim, Dtype, Limits, Model};

/// A node of the default domain.
pub(crate) fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op.to_owned()),
        name: Some(format!("{op}_{}", outputs.join("_"))),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        ..NodeProto::default()
    }
}

/// The node with an integer attribute.
pub(crate) fn with_int(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.to_owned()),
        i: Some(value),
        r#type: Some(AttributeType::Int as i32),
        ..AttributeProto::default()
    });
    node
}

/// The node with a tensor attribute.
pub(crate) fn with_tensor(mut node: NodeProto, name: &str, tensor: TensorProto) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.to_owned()),
        t: Some(Box::new(tensor)),
        r#type: Some(AttributeType::Tensor as i32),
        ..AttributeProto::default()
    });
    node
}

/// The node with a sub-graph.
pub(crate) fn with_graph(mut node: NodeProto, name: &str, graph: GraphProto) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.to_owned()),
        g: Some(Box::new(graph)),
        r#type: Some(AttributeType::Graph as i32),
        ..AttributeProto::default()
    });
    node
}

/// A tensor of 64-bit integers.
pub(crate) fn int64s(name: &str, values: &[i64]) -> TensorProto {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto {
        name: Some(name.to_owned()),
        dims: vec![values.len() as i64],
        data_type: Some(Dtype::Int64.to_onnx()),
        raw_data: Some(bytes.into()),
        ..TensorProto::default()
    }
}

/// A tensor of any type, all bytes zero.
pub(crate) fn zeros(name: &str, dtype: Dtype, dims: &[i64]) -> TensorProto {
    let count: i64 = dims.iter().product();
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(dtype.to_onnx()),
        raw_data: Some(vec![0; dtype.byte_size(count as u64).unwrap() as usize].into()),
        ..TensorProto::default()
    }
}

/// An input or output.
pub(crate) fn value(name: &str, dtype: Dtype, dims: &[Dim]) -> ValueInfoProto {
    let dim = dims.iter().map(|dim| DimensionProto {
        value: match dim {
            Dim::Fixed(size) => Some(DimensionValue::Value(*size as i64)),
            Dim::Symbol(name) => Some(DimensionValue::Param(name.clone())),
            Dim::Unknown => None,
        },
        denotation: None,
    });
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Tensor(TensorTypeProto {
                elem_type: Some(dtype.to_onnx()),
                shape: Some(TensorShapeProto { dim: dim.collect() }),
            })),
            denotation: None,
        }),
        ..ValueInfoProto::default()
    }
}

/// A graph.
pub(crate) fn graph(
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
) -> GraphProto {
    GraphProto {
        name: Some("g".to_owned()),
        node: nodes,
        initializer: initializers,
        input: inputs,
        output: outputs,
        ..GraphProto::default()
    }
}

/// A model of operator set `opset`.
pub(crate) fn messages(graph: GraphProto, opset: i64) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(opset),
        }],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

/// A model of operator set 17.
pub(crate) fn model(graph: GraphProto) -> Model {
    Model::from_proto(messages(graph, 17), &Limits::default()).unwrap()
}
