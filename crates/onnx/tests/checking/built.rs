//! A small model with what the fixtures lack.

use amphora_onnx::proto::{
    AttributeProto, AttributeType, DimensionProto, DimensionValue, FunctionProto, GraphProto,
    ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, TypeValue, ValueInfoProto,
};

pub(crate) fn value(name: &str, dtype: i32, dims: Vec<Option<DimensionValue>>) -> ValueInfoProto {
    let dim = dims
        .into_iter()
        .map(|value| DimensionProto {
            value,
            denotation: None,
        })
        .collect();
    let tensor = TensorTypeProto {
        elem_type: Some(dtype),
        shape: Some(TensorShapeProto { dim }),
    };
    let kind = TypeProto {
        value: Some(TypeValue::Tensor(tensor)),
        denotation: None,
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(kind),
        ..Default::default()
    }
}

pub(crate) fn node(domain: &str, operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        domain: Some(domain.into()),
        op_type: Some(operator.into()),
        input: inputs.iter().map(|name| (*name).into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

pub(crate) fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain.into()),
        version: Some(version),
    }
}

pub(crate) fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Graph as i32),
        g: Some(Box::new(graph)),
        ..Default::default()
    }
}

/// A model with what the fixtures lack: functions that call one another, a sparse initializer, a
/// branch that uses values around it.
pub(crate) fn built() -> ModelProto {
    let four = || vec![Some(DimensionValue::Value(4))];
    let branch = |name: &str, operator: &str| GraphProto {
        name: Some(name.into()),
        node: vec![node("", operator, &["b"], name)],
        output: vec![value(name, 1, four())],
        ..Default::default()
    };
    let mut choice = node("", "If", &["condition"], "chosen");
    choice.attribute = vec![
        graph_attribute("then_branch", branch("yes", "Relu")),
        graph_attribute("else_branch", branch("no", "Neg")),
    ];
    let mut leaky = node("", "LeakyRelu", &["x"], "y");
    leaky.attribute = vec![AttributeProto {
        name: Some("alpha".into()),
        r#type: Some(AttributeType::Float as i32),
        ref_attr_name: Some("alpha".into()),
        ..Default::default()
    }];
    let function = |name: &str, nodes: Vec<NodeProto>| FunctionProto {
        name: Some(name.into()),
        domain: Some("x".into()),
        input: vec!["x".into()],
        output: vec!["z".into()],
        attribute: vec!["alpha".into()],
        node: nodes,
        opset_import: vec![opset("", 14), opset("x", 1)],
        ..Default::default()
    };
    let sparse = SparseTensorProto {
        values: Some(TensorProto {
            name: Some("sparse".into()),
            data_type: Some(1),
            dims: vec![2],
            float_data: vec![1.0, 2.0],
            ..Default::default()
        }),
        indices: Some(TensorProto {
            data_type: Some(7),
            dims: vec![2],
            int64_data: vec![0, 3],
            ..Default::default()
        }),
        dims: vec![4],
    };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset("", 14), opset("x", 1)],
        functions: vec![
            function("Inner", vec![leaky, node("", "Tanh", &["y"], "z")]),
            function(
                "Outer",
                vec![
                    node("x", "Inner", &["x"], "w"),
                    node("", "Exp", &["w"], "z"),
                ],
            ),
        ],
        graph: Some(GraphProto {
            name: Some("built".into()),
            input: vec![value("a", 1, four()), value("condition", 9, Vec::new())],
            sparse_initializer: vec![sparse],
            node: vec![
                node("x", "Outer", &["a"], "b"),
                choice,
                node("", "Add", &["chosen", "a"], "c"),
            ],
            output: vec![value("c", 1, four())],
            ..Default::default()
        }),
        ..Default::default()
    }
}
