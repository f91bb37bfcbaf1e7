//! Hostile graphs, each refused by its rule, beside a sound one that differs in one thing.

use crate::built::{built, graph_attribute, node, opset, value};
use amphora_error::{Error, ErrorKind};
use amphora_onnx::proto::{
    AttributeProto, AttributeType, DimensionValue, FunctionProto, GraphProto, ModelProto,
    NodeProto, StringStringEntryProto, TensorProto, TypeValue,
};
use amphora_onnx::{Limits, Model};

/// What is changed, by which rule and with which words the change is refused.
struct Case {
    rule: &'static str,
    kind: ErrorKind,
    says: &'static str,
    change: fn(&mut ModelProto),
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

fn graph(model: &mut ModelProto) -> &mut GraphProto {
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
fn doubling(model: &mut ModelProto, functions: usize) {
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
fn nest(model: &mut ModelProto, depth: usize) {
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

const CASES: &[Case] = &[
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

/// The sound model that every case changes.
fn sound() -> ModelProto {
    let mut model = built();
    let four = vec![Some(DimensionValue::Value(4))];
    graph(&mut model).input.push(value("integers", 7, four));
    model
}

fn check(model: ModelProto) -> Result<(), Error> {
    Model::from_proto(model, &Limits::default())?.check()
}

#[test]
fn each_change_of_a_sound_model_is_refused_by_its_rule() {
    check(sound()).unwrap();
    amphora_testing::each(CASES, |case| {
        let mut model = sound();
        (case.change)(&mut model);
        let Err(error) = check(model) else {
            return Err("it was accepted".to_owned());
        };
        let text = error.to_string();
        let found = error.rule() == case.rule;
        match error.kind() == case.kind && found && text.contains(case.says) {
            true => Ok(()),
            false => Err(format!("{error:?}")),
        }
    });
}

#[test]
fn what_is_large_but_sound_passes() {
    let mut doubled = sound();
    doubling(&mut doubled, 10);
    check(doubled).unwrap();
    let mut nested = sound();
    nest(&mut nested, 20);
    check(nested).unwrap();
}

#[test]
fn all_unknown_operators_are_listed_once() {
    let mut model = sound();
    for index in 0..300 {
        let name = format!("v{index}");
        let operator = if index % 2 == 0 {
            "Frobnicate"
        } else {
            "Defenestrate"
        };
        graph(&mut model)
            .node
            .push(node("", operator, &["a"], &name));
    }
    graph(&mut model)
        .node
        .push(node("x", "Custom", &["a"], "custom"));
    let model = Model::from_proto(model, &Limits::default()).unwrap();
    let report = model.check_report();
    let names: Vec<&str> = report.errors.iter().map(|finding| finding.rule).collect();
    assert_eq!(names, ["operator-unknown", "operator-unknown"]);
    assert!(
        report.errors[1].message.contains("used 150 times"),
        "{:?}",
        report.errors
    );
    assert!(
        report
            .warnings
            .iter()
            .any(|finding| finding.rule == "operator-custom")
    );
    let error = report.into_result().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.fault_list().len(), 2);
}

/// A model of `count` nodes, each of which takes what the one before makes.
fn chain(count: usize) -> ModelProto {
    let mut model = sound();
    let mut last = "a".to_owned();
    for index in 0..count {
        let next = format!("v{index}");
        graph(&mut model)
            .node
            .push(node("", "Relu", &[&last], &next));
        last = next;
    }
    model
}

#[test]
fn a_chain_of_200_000_nodes_passes() {
    check(chain(200_000)).unwrap();
}

#[test]
fn a_cycle_of_200_000_nodes_is_named_in_short() {
    let mut model = chain(200_000);
    let last = graph(&mut model).node.len() - 1;
    let end = graph(&mut model).node[last].output[0].clone();
    graph(&mut model).node[3].input[0] = end;
    let error = check(model).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(
        text.contains("cycle: node 3 (Relu) -> node 4 (Relu)"),
        "{text}"
    );
    assert!(text.len() < 100_000, "{}", text.len());
}
