//! What is changed in a sound model, and by which rule that is refused.

use crate::built::{graph_attribute, node, opset, value};
use amphora_error::ErrorKind;
use amphora_onnx::proto::{
    AttributeProto, AttributeType, DimensionValue, FunctionProto, GraphProto, ModelProto,
    NodeProto, StringStringEntryProto, TensorProto, TypeValue,
};

/// What is changed, by which rule and with which words the change is refused.
pub(super) struct Case {
    pub(super) rule: &'static str,
    pub(super) kind: ErrorKind,
    pub(super) says: &'static str,
    pub(super) change: fn(&mut ModelProto),
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.rule, self.says)
    }
}

const fn malformed(rule: &'static str, says: &'static str, change: fn(&mut ModelProto)) -> Case {
    Case {
        rule,
        kind: ErrorKind::Malformed,
        says,
        change,
    }
}

const fn limit(rule: &'static str, says: &'static str, change: fn(&mut ModelProto)) -> Case {
    Case {
        rule,
        kind: ErrorKind::Limit,
        says,
        change,
    }
}

const fn unsupported(rule: &'static str, says: &'static str, change: fn(&mut ModelProto)) -> Case {
    Case {
        rule,
        kind: ErrorKind::Unsupported,
        says,
        change,
    }
}

pub(super) fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

/// The last node: `c = Add(chosen, a)`.
fn add(model: &mut ModelProto) -> &mut NodeProto {
    graph(model).node.last_mut().unwrap()
}

/// The node `chosen = If(condition)`, whose branches are `yes = Relu(b)` and `no = Neg(b)`.
fn branch(model: &mut ModelProto) -> &mut GraphProto {
    graph(model).node[1].attribute[0].g.as_mut().unwrap()
}

/// `y = LeakyRelu(x)` in the function `Inner`, with an attribute of the caller.
fn leaky(model: &mut ModelProto) -> &mut NodeProto {
    &mut model.functions[0].node[0]
}

fn int(name: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(1),
        ..Default::default()
    }
}

fn output_shape(model: &mut ModelProto) -> &mut Vec<amphora_onnx::proto::DimensionProto> {
    let Some(TypeValue::Tensor(tensor)) = graph(model).output[0]
        .r#type
        .as_mut()
        .unwrap()
        .value
        .as_mut()
    else {
        unreachable!("the output is a tensor")
    };
    &mut tensor.shape.as_mut().unwrap().dim
}

/// Makes `functions` functions that each call the next one twice.
pub(super) fn doubling(model: &mut ModelProto, functions: usize) {
    for level in 0..functions {
        let next = format!("F{}", level + 1);
        let nodes = match level + 1 == functions {
            true => vec![node("", "Tanh", &["x"], "z")],
            false => vec![node("x", &next, &["x"], "y"), node("x", &next, &["y"], "z")],
        };
        model.functions.push(FunctionProto {
            name: Some(format!("F{level}")),
            domain: Some("x".into()),
            input: vec!["x".into()],
            output: vec!["z".into()],
            node: nodes,
            opset_import: vec![opset("", 14), opset("x", 1)],
            ..Default::default()
        });
    }
    add(model).domain = Some("x".into());
    add(model).op_type = Some("F0".into());
    add(model).input.truncate(1);
}

/// Puts an `If` inside the branch of an `If`, and so on.
pub(super) fn nest(model: &mut ModelProto, depth: usize) {
    let mut inner = branch(model).clone();
    for level in 0..depth {
        let mut choice = node("", "If", &["condition"], &format!("nested{level}"));
        choice.attribute = vec![
            graph_attribute("then_branch", inner.clone()),
            graph_attribute(
                "else_branch",
                GraphProto {
                    name: Some("else".into()),
                    node: vec![node("", "Neg", &["b"], &format!("other{level}"))],
                    output: vec![value(&format!("other{level}"), 1, Vec::new())],
                    ..Default::default()
                },
            ),
        ];
        for branch in &mut choice.attribute {
            for output in &mut branch.g.as_mut().unwrap().output {
                output.r#type = None;
            }
        }
        inner = GraphProto {
            name: Some(format!("level{level}")),
            output: vec![value(&choice.output[0], 1, Vec::new())],
            node: vec![choice],
            ..Default::default()
        };
        inner.output[0].r#type = None;
    }
    *branch(model) = inner;
}

pub(super) const CASES: &[Case] = &[
    malformed("ir-version", "0", |m| m.ir_version = None),
    unsupported("ir-version-future", "IR version 90", |m| {
        m.ir_version = Some(90)
    }),
    malformed("opset-missing", "operator set", |m| m.opset_import.clear()),
    malformed("opset-twice", "'x'", |m| m.opset_import.push(opset("x", 2))),
    malformed("opset-version", "'ai.onnx' has no version 0", |m| {
        m.opset_import[0].version = None
    }),
    unsupported(
        "opset-future",
        "version 999 of operator set 'ai.onnx'",
        |m| {
            m.opset_import[0].version = Some(999);
            m.functions.clear();
            graph(m).node[0].op_type = Some("Relu".into());
            graph(m).node[0].domain = None;
        },
    ),
    malformed("opset-not-imported", "'y'", |m| {
        add(m).domain = Some("y".into())
    }),
    unsupported("domain-alias", "'ai.onnx'", |m| {
        m.opset_import[0].domain = Some("ai.onnx".into());
        add(m).domain = Some("ai.onnx".into());
        for function in &mut m.functions {
            function.opset_import[0].domain = None;
        }
    }),
    malformed("metadata-duplicate", "'k'", |m| {
        let entry = StringStringEntryProto {
            key: Some("k".into()),
            value: None,
        };
        m.metadata_props = vec![entry.clone(), entry];
    }),
    malformed("graph-name", "no name", |m| graph(m).name = None),
    malformed("input-duplicate", "'a'", |m| {
        let input = graph(m).input[0].clone();
        graph(m).input.push(input);
    }),
    malformed("output-duplicate", "'c'", |m| {
        let output = graph(m).output[0].clone();
        graph(m).output.push(output);
    }),
    malformed("output-dangling", "'d'", |m| {
        graph(m).output[0].name = Some("d".into())
    }),
    malformed("value-name", "input '' has no name", |m| {
        graph(m).input[1].name = None
    }),
    malformed("value-type", "'a' has no type", |m| {
        graph(m).input[0].r#type = None
    }),
    malformed("initializer-duplicate", "'sparse'", |m| {
        let pair = graph(m).sparse_initializer[0].clone();
        graph(m).sparse_initializer.push(pair);
    }),
    malformed("initializer-name", "no name", |m| {
        graph(m).sparse_initializer[0].values.as_mut().unwrap().name = None;
    }),
    malformed("initializer-not-input", "'w'", |m| {
        m.ir_version = Some(3);
        let tensor = TensorProto {
            name: Some("w".into()),
            data_type: Some(1),
            float_data: vec![1.0],
            ..Default::default()
        };
        graph(m).initializer.push(tensor);
    }),
    malformed(
        "initializer-type",
        "declares float32, the tensor holds int32",
        |m| {
            let tensor = TensorProto {
                name: Some("a".into()),
                data_type: Some(6),
                dims: vec![4],
                int32_data: vec![1; 4],
                ..Default::default()
            };
            graph(m).initializer.push(tensor);
        },
    ),
    malformed("sparse-tensor", "ascending order", |m| {
        graph(m).sparse_initializer[0]
            .indices
            .as_mut()
            .unwrap()
            .int64_data = vec![3, 0];
    }),
    malformed("sparse-tensor", "out of range", |m| {
        graph(m).sparse_initializer[0]
            .indices
            .as_mut()
            .unwrap()
            .int64_data = vec![0, 4];
    }),
    malformed("value-duplicate", "'b'", |m| add(m).output[0] = "b".into()),
    malformed("value-duplicate", "'a'", |m| {
        branch(m).node[0].output[0] = "a".into()
    }),
    malformed("input-dangling", "'nowhere'", |m| {
        add(m).input[0] = "nowhere".into()
    }),
    malformed("node-order", "'chosen' is only made by a later node", |m| {
        graph(m).node.swap(1, 2)
    }),
    malformed(
        "cycle",
        "0 (Outer) -> node 2 (Add) -> node 0 (Outer)",
        |m| {
            graph(m).node[0].input[0] = "c".into();
            add(m).input[0] = "b".into();
        },
    ),
    malformed("cycle", "node 2 (Add) -> node 2 (Add)", |m| {
        add(m).input[0] = "c".into()
    }),
    malformed("node-empty", "neither", |m| {
        let add = add(m);
        add.input.clear();
        add.output.clear();
    }),
    malformed("operator-name", "no operator", |m| add(m).op_type = None),
    unsupported(
        "operator-unknown",
        "'Frobnicate' is unknown in version 14",
        |m| {
            add(m).op_type = Some("Frobnicate".into());
        },
    ),
    unsupported("operator-unknown", "comes with version 17", |m| {
        add(m).op_type = Some("LayerNormalization".into());
    }),
    unsupported(
        "operator-withdrawn",
        "'Upsample' was withdrawn in version 10",
        |m| {
            add(m).op_type = Some("Upsample".into());
        },
    ),
    malformed("arity", "1 inputs, its operator takes 2", |m| {
        add(m).input.truncate(1)
    }),
    malformed("arity", "the node has 2 inputs, the function has 1", |m| {
        graph(m).node[0].input.push("a".into());
    }),
    malformed("parameter-missing", "'B'", |m| {
        add(m).input[1] = String::new()
    }),
    malformed("attribute-unknown", "no attribute 'axis'", |m| {
        add(m).attribute.push(int("axis"))
    }),
    malformed("attribute-duplicate", "'__note'", |m| {
        add(m).attribute = vec![int("__note"), int("__note")];
    }),
    malformed("attribute-name", "no name", |m| {
        add(m).attribute.push(int(""))
    }),
    malformed("attribute-untyped", "no type", |m| {
        add(m).attribute.push(AttributeProto {
            r#type: None,
            ..int("__note")
        });
    }),
    malformed(
        "attribute-mismatch",
        "says it is Float, but its value is Int",
        |m| {
            let kind = Some(AttributeType::Float as i32);
            add(m).attribute.push(AttributeProto {
                r#type: kind,
                ..int("__note")
            });
        },
    ),
    malformed("attribute-values", "several values", |m| {
        add(m).attribute.push(AttributeProto {
            f: Some(1.0),
            ..int("__note")
        });
    }),
    malformed("attribute-empty", "has no value", |m| {
        graph(m).node[1].attribute[0].g = None
    }),
    malformed("attribute-type", "expected Float, found Int", |m| {
        leaky(m).attribute[0] = int("alpha");
    }),
    malformed("attribute-missing", "'else_branch' is missing", |m| {
        graph(m).node[1].attribute.pop();
    }),
    malformed("attribute-reference", "outside of a function", |m| {
        let reference = Some("alpha".into());
        let note = AttributeProto {
            ref_attr_name: reference,
            i: None,
            ..int("__note")
        };
        add(m).attribute.push(note);
    }),
    malformed("attribute-reference", "no attribute 'beta'", |m| {
        leaky(m).attribute[0].ref_attr_name = Some("beta".into());
    }),
    limit("nesting", "too many graphs", |m| nest(m, 90)),
    malformed("function-duplicate", "defined twice", |m| {
        let function = m.functions[0].clone();
        m.functions.push(function);
    }),
    malformed("function-name", "no name", |m| m.functions[0].name = None),
    malformed("function-domain", "no domain", |m| {
        m.functions[0].domain = None
    }),
    malformed("function-attribute", "'alpha' is declared twice", |m| {
        m.functions[0].attribute.push("alpha".into());
    }),
    malformed("function-recursion", "'Inner' -> 'Inner'", |m| {
        leaky(m).domain = Some("x".into());
        leaky(m).op_type = Some("Inner".into());
    }),
    malformed("function-recursion", "functions call themselves", |m| {
        leaky(m).domain = Some("x".into());
        leaky(m).op_type = Some("Outer".into());
    }),
    malformed("function-opset", "operator 'LeakyRelu' differs", |m| {
        m.functions[0].opset_import[0].version = Some(18);
    }),
    limit("inlined-nodes", "inlining", |m| doubling(m, 40)),
    limit("inlined-nodes", "countless", |m| doubling(m, 90)),
    limit("function-depth", "in a row", |m| doubling(m, 120)),
    malformed("shape-contradiction", "declared [5], inferred [4]", |m| {
        output_shape(m)[0].value = Some(DimensionValue::Value(5));
    }),
    malformed("shape-mismatch", "[4] and [3] cannot be broadcast", |m| {
        let three = vec![Some(DimensionValue::Value(3))];
        graph(m).input.push(value("three", 1, three));
        let four = vec![Some(DimensionValue::Value(4))];
        graph(m).input.push(value("four", 1, four));
        add(m).input = vec!["four".into(), "three".into()];
    }),
    malformed("type-mismatch", "must be", |m| {
        add(m).input[0] = "integers".into()
    }),
];
