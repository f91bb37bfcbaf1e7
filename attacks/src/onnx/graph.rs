//! Rows 23 to 27: graphs that make no sense, or that grow when they are looked at.

use amphora_error::ErrorKind::{Limit, Malformed, Unsupported};
use amphora_onnx::proto::{AttributeType, FunctionProto, GraphProto, ModelProto, TensorProto};

use super::sample::{self, RUN, attribute, node, open, opset, value};
use crate::case::{Answer, Case, Form};

const MALFORMED: Answer = Answer::Refused(&[Malformed]);
const UNSUPPORTED: Answer = Answer::Refused(&[Unsupported]);

fn case(
    row: u8,
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    model: fn(Form) -> ModelProto,
) -> Case {
    Case {
        row,
        name,
        writes,
        command: RUN,
        answer,
        place,
        unopened: None,
        write: Box::new(move |root, form| sample::save(&root.join("model.onnx"), &model(form))),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::from(order());
    cases.extend(versions());
    cases.extend(functions());
    cases.extend(expansion());
    cases.extend(looked_at());
    cases
}

/// Cases that are not run but only looked at: `inspect` describes what it can read and says what is
/// wrong with it; what makes no sense has no contract.
const LOOKED_AT: [(&str, &str, &str); 12] = [
    ("cycle", "cycle-inspected", "inspect model.onnx"),
    ("cycle", "cycle-contract", "contract model.onnx"),
    (
        "dangling-input",
        "dangling-input-inspected",
        "inspect model.onnx --graph",
    ),
    (
        "dangling-input",
        "dangling-input-contract",
        "contract model.onnx",
    ),
    (
        "name-made-twice",
        "name-made-twice-inspected",
        "inspect model.onnx",
    ),
    (
        "output-absent",
        "output-absent-contract",
        "contract model.onnx",
    ),
    (
        "operators-unknown-listed",
        "operators-unknown-inspected",
        "inspect model.onnx",
    ),
    (
        "opset-future",
        "opset-future-contract",
        "contract model.onnx",
    ),
    ("ir-none", "ir-none-inspected", "inspect model.onnx"),
    (
        "function-calls-itself",
        "function-calls-itself-inspected",
        "inspect model.onnx",
    ),
    (
        "function-calls-itself",
        "function-calls-itself-contract",
        "contract model.onnx",
    ),
    (
        "functions-inline-to-2-39",
        "functions-inline-to-2-39-inspected",
        "inspect model.onnx",
    ),
];

fn looked_at() -> Vec<Case> {
    let cases = LOOKED_AT.into_iter().filter_map(|(of, name, command)| {
        let mut all = order().into_iter().chain(versions()).chain(functions());
        let case = all.find(|case| case.name == of)?;
        Some(Case {
            name,
            command,
            ..case
        })
    });
    cases.collect()
}

fn order() -> [Case; 6] {
    [
        case(
            23,
            "cycle",
            "two nodes that need each other",
            MALFORMED,
            "make_b",
            |form| {
                sample::edited(|graph| {
                    graph.node = vec![
                        node("Add", &["x", form.pick("b", "w")], "a"),
                        node("Add", &["a", "w"], "b"),
                        node("Add", &["b", "w"], "y"),
                    ];
                })
            },
        ),
        case(
            23,
            "dangling-input",
            "an input that nobody makes",
            MALFORMED,
            "'nobody'",
            |form| {
                sample::edited(|graph| {
                    graph.node = vec![node("Add", &["x", form.pick("nobody", "w")], "y")];
                })
            },
        ),
        case(
            23,
            "name-made-twice",
            "two nodes make `y`",
            MALFORMED,
            "'y'",
            |form| {
                sample::edited(|graph| {
                    graph
                        .node
                        .push(node("Add", &["x", "w"], form.pick("y", "z")));
                })
            },
        ),
        case(
            23,
            "output-absent",
            "a graph output that nobody makes",
            MALFORMED,
            "'z'",
            |form| sample::edited(|graph| graph.output = vec![value(form.pick("z", "y"), &[2])]),
        ),
        case(
            24,
            "chain-200000",
            "200,000 nodes, each the input of the next",
            Answer::AcceptedOr(Limit),
            "",
            |form| chain(form.pick(200_000, 200)),
        ),
        Case {
            command: "inspect model.onnx --graph",
            ..case(
                24,
                "chain-200000-inspected",
                "200,000 nodes, each the input of the next",
                Answer::AcceptedOr(Limit),
                "",
                |form| chain(form.pick(200_000, 200)),
            )
        },
    ]
}

fn chain(length: usize) -> ModelProto {
    sample::edited(|graph| {
        let name = |index: usize| match index {
            0 => "x".to_owned(),
            index if index == length => "y".to_owned(),
            index => format!("v{index}"),
        };
        graph.node = (0..length)
            .map(|index| node("Neg", &[&name(index)], &name(index + 1)))
            .collect();
        graph.initializer.clear();
    })
}

fn versions() -> [Case; 7] {
    [
        case(
            25,
            "operator-unknown",
            "the operator `Adddd`",
            UNSUPPORTED,
            "Adddd",
            |form| {
                sample::edited(|graph| {
                    graph.node[0].op_type = Some(form.pick("Adddd", "Add").to_owned())
                })
            },
        ),
        case(
            25,
            "operators-unknown-listed",
            "two unknown operators",
            UNSUPPORTED,
            "Second",
            |form| {
                sample::edited(|graph| {
                    graph.node = vec![
                        node(form.pick("First", "Add"), &["x", "w"], "a"),
                        node(form.pick("Second", "Add"), &["a", "w"], "y"),
                    ];
                })
            },
        ),
        case(
            25,
            "domain-unknown",
            "the domain `com.example`",
            UNSUPPORTED,
            "com.example",
            |form| {
                let mut model = sample::edited(|graph| {
                    graph.node[0].domain = Some(form.pick("com.example", "").to_owned());
                });
                model.opset_import.push(opset("com.example", 1));
                model
            },
        ),
        case(
            25,
            "opset-future",
            "operator set 9999",
            UNSUPPORTED,
            "9999",
            |form| {
                let mut model = sample::model();
                model.opset_import = vec![opset("", form.pick(9999, 17))];
                model
            },
        ),
        case(
            25,
            "ir-future",
            "IR version 9999",
            UNSUPPORTED,
            "9999",
            |form| {
                let mut model = sample::model();
                model.ir_version = Some(form.pick(9999, 8));
                model
            },
        ),
        case(
            25,
            "opset-none",
            "no operator set",
            Answer::Refused(&[Unsupported, Malformed]),
            "operator set",
            |form| {
                let mut model = sample::model();
                model.opset_import = form.pick(Vec::new(), vec![opset("", 17)]);
                model
            },
        ),
        case(
            25,
            "ir-none",
            "no IR version",
            MALFORMED,
            "IR version",
            |form| {
                let mut model = sample::model();
                model.ir_version = form.pick(None, Some(8));
                model
            },
        ),
    ]
}

/// Functions named as operators are, in a domain of their own; each calls what `calls` says, either
/// those functions or the operators. The graph itself calls none, so that every engine runs the twins.
fn with_functions(
    form: Form,
    names: &[&str],
    calls: impl Fn(usize) -> Vec<&'static str>,
) -> ModelProto {
    let mut model = sample::model();
    model.opset_import.push(opset("own", 1));
    for (index, name) in names.iter().enumerate() {
        let calls = calls(index);
        let last = calls.len() - 1;
        let nodes = calls.iter().enumerate().map(|(at, operator)| {
            let value = |at: usize| format!("v{at}");
            let input = at.checked_sub(1).map_or("a".to_owned(), value);
            let output = if at == last {
                "b".to_owned()
            } else {
                value(at)
            };
            let mut node = node(operator, &[&input], &output);
            if names.contains(operator) {
                node.domain = Some(form.pick("own", "").to_owned());
            }
            node
        });
        model.functions.push(FunctionProto {
            name: Some((*name).to_owned()),
            domain: Some("own".to_owned()),
            input: vec!["a".to_owned()],
            output: vec!["b".to_owned()],
            opset_import: vec![opset("", 17), opset("own", 1)],
            node: nodes.collect(),
            ..FunctionProto::default()
        });
    }
    model
}

/// Names of operators with one input.
const UNARY: [&str; 14] = [
    "Neg", "Abs", "Relu", "Sqrt", "Exp", "Log", "Sin", "Cos", "Tan", "Floor", "Ceil", "Erf",
    "Sigmoid", "Tanh",
];

/// A model with hostile functions: packed, and run.
fn called(
    [packed, run]: [&'static str; 2],
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    model: fn(Form) -> ModelProto,
) -> [Case; 2] {
    let packed = Case {
        command: "pack --model model.onnx --name attack",
        ..case(26, packed, writes, answer, place, model)
    };
    [packed, case(26, run, writes, answer, place, model)]
}

fn functions() -> Vec<Case> {
    let cases = [
        called(
            ["function-calls-itself", "function-calls-itself-run"],
            "a function that calls itself",
            MALFORMED,
            "'Neg'",
            |form| with_functions(form, &["Neg"], |_| vec!["Neg"]),
        ),
        called(
            ["functions-call-each-other", "functions-call-each-other-run"],
            "two functions that call each other",
            MALFORMED,
            "'Abs'",
            |form| {
                with_functions(form, &["Neg", "Abs"], |index| match index {
                    0 => vec!["Abs"],
                    _ => vec!["Neg"],
                })
            },
        ),
        called(
            ["functions-inline-to-2-39", "functions-inline-to-2-39-run"],
            "14 functions, each calling the next eight times",
            Answer::Refused(&[Limit]),
            "inlining",
            |form| {
                with_functions(form, &UNARY, |index| match UNARY.get(index + 1) {
                    Some(next) => vec![*next; 8],
                    None => vec!["Identity"],
                })
            },
        ),
    ];
    cases.into_iter().flatten().collect()
}

pub(super) fn int64s(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: vec![values.len() as i64],
        data_type: Some(7),
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn scalar(name: &str, value: i64) -> TensorProto {
    TensorProto {
        dims: Vec::new(),
        ..int64s(name, &[value])
    }
}

/// An extent of 2^40, or of 2.
fn extent(form: Form) -> i64 {
    form.pick(1 << 40, 2)
}

/// Two extents whose product is 2^40, though each fits into 32 bits.
fn square(form: Form) -> [i64; 2] {
    [form.pick(1 << 20, 1); 2]
}

/// `y`, of a rank that is stated, is what nodes make of constants; `x` goes unused.
fn grown(rank: usize, change: impl FnOnce(&mut GraphProto)) -> ModelProto {
    sample::edited(|graph| {
        graph.output = vec![open("y", rank)];
        change(graph);
    })
}

/// A graph in which constants of a few bytes ask for terabytes: run, and only looked at.
struct Growth {
    run: &'static str,
    inspected: &'static str,
    writes: &'static str,
    place: &'static str,
    model: fn(Form) -> ModelProto,
}

impl Growth {
    fn cases(self) -> [Case; 2] {
        // rten computes integers in 32 bits, and says so before it looks at the size.
        let refused = Answer::Refused(&[Limit, Unsupported]);
        let looked_at = Case {
            command: "inspect model.onnx",
            ..case(
                27,
                self.inspected,
                self.writes,
                Answer::AcceptedOr(Limit),
                "",
                self.model,
            )
        };
        [
            case(27, self.run, self.writes, refused, self.place, self.model),
            looked_at,
        ]
    }
}

fn expansion() -> Vec<Case> {
    let growths = [
        Growth {
            run: "expand-2-40",
            inspected: "expand-2-40-inspected",
            writes: "Expand to 2^40",
            place: "'y'",
            model: |form| {
                grown(2, |graph| {
                    graph.initializer.push(int64s("shape", &[extent(form), 2]));
                    graph.node = vec![node("Expand", &["w", "shape"], "y")];
                })
            },
        },
        Growth {
            run: "tile-2-40",
            inspected: "tile-2-40-inspected",
            writes: "Tile 2^40 times",
            place: "'y'",
            model: |form| {
                grown(1, |graph| {
                    graph.initializer.push(int64s("repeats", &[extent(form)]));
                    graph.node = vec![node("Tile", &["w", "repeats"], "y")];
                })
            },
        },
        Growth {
            run: "range-2-40",
            inspected: "range-2-40-inspected",
            writes: "Range over 2^40",
            place: "'r'",
            model: |form| {
                grown(1, |graph| {
                    graph.initializer.extend([
                        scalar("start", 0),
                        scalar("limit", extent(form)),
                        scalar("delta", 1),
                    ]);
                    let mut cast = node("Cast", &["r"], "y");
                    let mut to = attribute("to", AttributeType::Int);
                    to.i = Some(1);
                    cast.attribute.push(to);
                    graph.node = vec![node("Range", &["start", "limit", "delta"], "r"), cast];
                })
            },
        },
        Growth {
            run: "constant-of-shape-2-40",
            inspected: "constant-of-shape-2-40-inspected",
            writes: "ConstantOfShape [2^40]",
            place: "'y'",
            model: |form| {
                grown(1, |graph| {
                    graph.initializer.push(int64s("shape", &[extent(form)]));
                    graph.node = vec![node("ConstantOfShape", &["shape"], "y")];
                })
            },
        },
        Growth {
            run: "pad-2-40",
            inspected: "pad-2-40-inspected",
            writes: "Pad by 2^40",
            place: "'y'",
            model: |form| {
                grown(1, |graph| {
                    graph.initializer.push(int64s("pads", &[0, extent(form)]));
                    graph.node = vec![node("Pad", &["w", "pads"], "y")];
                })
            },
        },
        Growth {
            run: "one-hot-2-40",
            inspected: "one-hot-2-40-inspected",
            writes: "OneHot of 2^40",
            place: "'y'",
            model: |form| {
                grown(2, |graph| {
                    graph
                        .initializer
                        .extend([int64s("indices", &[0, 1]), scalar("depth", extent(form))]);
                    graph.node = vec![node("OneHot", &["indices", "depth", "w"], "y")];
                })
            },
        },
        Growth {
            run: "expand-2-20-squared",
            inspected: "expand-2-20-squared-inspected",
            writes: "Expand to 2^20 x 2^20",
            place: "'y'",
            model: |form| {
                let [rows, columns] = square(form);
                grown(3, |graph| {
                    let shape = int64s("shape", &[rows, columns, 2]);
                    graph.initializer.push(shape);
                    graph.node = vec![node("Expand", &["w", "shape"], "y")];
                })
            },
        },
        Growth {
            run: "constant-of-shape-2-20-squared",
            inspected: "constant-of-shape-2-20-squared-inspected",
            writes: "ConstantOfShape [2^20, 2^20]",
            place: "'y'",
            model: |form| {
                grown(2, |graph| {
                    graph.initializer.push(int64s("shape", &square(form)));
                    graph.node = vec![node("ConstantOfShape", &["shape"], "y")];
                })
            },
        },
        Growth {
            run: "matmul-2-20-squared",
            inspected: "matmul-2-20-squared-inspected",
            writes: "the product of two vectors that were expanded to 2^20",
            place: "'y'",
            model: |form| {
                let [rows, columns] = square(form);
                grown(2, |graph| {
                    graph.initializer.extend([
                        int64s("tall", &[rows, 2]),
                        int64s("wide", &[2, columns]),
                        int64s("column", &[2, 1]),
                    ]);
                    graph.node = vec![
                        node("Expand", &["w", "tall"], "a"),
                        node("Reshape", &["w", "column"], "c"),
                        node("Expand", &["c", "wide"], "b"),
                        node("MatMul", &["a", "b"], "y"),
                    ];
                })
            },
        },
    ];
    growths.into_iter().flat_map(Growth::cases).collect()
}
