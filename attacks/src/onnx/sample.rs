//! The model that all attacks on ONNX start from: `y = x + w`, two float32 values each.

use std::path::Path;

use amphora_onnx::proto::{
    AttributeProto, AttributeType, DimensionProto, DimensionValue, GraphProto, ModelProto,
    NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, TypeValue, ValueInfoProto,
};
use amphora_onnx::write;
use bytes::Bytes;

use crate::case::Outcome;

/// Runs the sample.
pub(crate) const RUN: &str = "run model.onnx --input x=[1,2]";

/// Two float32 values, 1 and 2.
pub(crate) const PAYLOAD: [u8; 8] = [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40];

/// A tensor of two float32 values, inside the model.
pub(crate) fn tensor(name: &str) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: vec![2],
        data_type: Some(1),
        raw_data: Some(Bytes::from_static(&PAYLOAD)),
        ..TensorProto::default()
    }
}

pub(crate) fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    }
}

/// A node with one output.
pub(crate) fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: Some(format!("make_{output}")),
        op_type: Some(operator.to_owned()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// A graph input or output of these fixed extents.
pub(crate) fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims
        .iter()
        .map(|extent| DimensionProto {
            value: Some(DimensionValue::Value(*extent)),
            denotation: None,
        })
        .collect();
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(TypeValue::Tensor(TensorTypeProto {
                elem_type: Some(1),
                shape: Some(TensorShapeProto { dim }),
            })),
            denotation: None,
        }),
        ..ValueInfoProto::default()
    }
}

/// A value of so many dimensions, none of which is stated.
pub(crate) fn open(name: &str, rank: usize) -> ValueInfoProto {
    let mut value = value(name, &[]);
    if let Some(TypeProto {
        value: Some(TypeValue::Tensor(tensor)),
        ..
    }) = &mut value.r#type
    {
        let dim = vec![DimensionProto::default(); rank];
        tensor.shape = Some(TensorShapeProto { dim });
    }
    value
}

pub(crate) fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind as i32),
        ..AttributeProto::default()
    }
}

pub(crate) fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    }
}

/// The sample.
pub(crate) fn model() -> ModelProto {
    with_graph(GraphProto {
        name: Some("g".to_owned()),
        node: vec![node("Add", &["x", "w"], "y")],
        initializer: vec![tensor("w")],
        input: vec![value("x", &[2])],
        output: vec![value("y", &[2])],
        ..GraphProto::default()
    })
}

pub(crate) fn with_graph(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset("", 17)],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

/// The sample with another graph.
pub(crate) fn edited(change: impl FnOnce(&mut GraphProto)) -> ModelProto {
    let mut model = model();
    change(model.graph.get_or_insert_default());
    model
}

pub(crate) fn save(path: &Path, model: &ModelProto) -> Outcome {
    Ok(fs_err::write(path, write::to_bytes(model))?)
}
