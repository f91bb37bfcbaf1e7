//! Rows 24 and 26 to 28 through the commands that run a model: an engine that would take all memory or
//! never end is held back by the process it runs in.

use amphora_error::ErrorKind::{Busy, Limit};
use amphora_onnx::proto::{
    AttributeType, GraphProto, ModelProto, TensorProto, TypeValue, ValueInfoProto,
};

use super::graph::int64s;
use super::sample::{self, RUN, attribute, node, value};
use crate::bundle::sample::make_of;
use crate::case::{Answer, Case, Form};

/// A model whose answer, where it gives one, is that of the sample, and what the commands say to it.
struct Model {
    row: u8,
    writes: &'static str,
    /// The names of the cases: `run`, `pack` and `verify`, then `run` on the bundle.
    names: [&'static str; 4],
    commands: [&'static str; 4],
    answer: Answer,
    place: &'static str,
    model: fn(Form) -> ModelProto,
}

const COMMANDS: [&str; 4] = [
    RUN,
    "pack --model model.onnx --name attack",
    "verify bundle",
    "run bundle --input x=[1,2]",
];

impl Model {
    fn cases(self) -> Vec<Case> {
        let Self {
            row,
            writes,
            model,
            answer,
            place,
            ..
        } = self;
        let cases = self.names.into_iter().zip(self.commands);
        cases
            .map(|(name, command)| Case {
                row,
                name,
                writes,
                command,
                answer,
                place,
                unopened: None,
                write: Box::new(move |root, form| match command.contains("model.onnx") {
                    true => sample::save(&root.join("model.onnx"), &model(form)),
                    false => make_of(root, &model(form), [2.0, 4.0]).map(drop),
                }),
            })
            .collect()
    }
}

/// The sample with one more term: the sum of what `node` makes of `w` and an extent.
fn with_sum(operator: &str, inputs: &[&str], extents: [i64; 2]) -> ModelProto {
    sample::edited(|graph| {
        graph.initializer.push(int64s("shape", &extents));
        let mut sum = node("ReduceMin", &["large"], "least");
        let mut keep = attribute("keepdims", AttributeType::Int);
        keep.i = Some(0);
        sum.attribute.push(keep);
        graph.node = vec![
            node(operator, inputs, "large"),
            sum,
            node("Sub", &["least", "least"], "nothing"),
            node("Add", &["x", "w"], "sum"),
            node("Add", &["sum", "nothing"], "y"),
        ];
    })
}

fn typed(mut value: ValueInfoProto, dtype: i32) -> ValueInfoProto {
    let kind = value.r#type.as_mut().and_then(|kind| kind.value.as_mut());
    if let Some(TypeValue::Tensor(tensor)) = kind {
        tensor.elem_type = Some(dtype);
    }
    value
}

/// The sample, whose sum goes through a `Loop` that ends at once, or never.
fn looping(form: Form) -> ModelProto {
    const BOOL: i32 = 9;
    const INT64: i32 = 7;
    let body = GraphProto {
        name: Some("body".to_owned()),
        node: vec![
            node("Identity", &["go_on"], "goes_on"),
            node("Identity", &["carried"], "passed_on"),
        ],
        input: vec![
            typed(value("iteration", &[]), INT64),
            typed(value("go_on", &[]), BOOL),
            value("carried", &[2]),
        ],
        output: vec![typed(value("goes_on", &[]), BOOL), value("passed_on", &[2])],
        ..GraphProto::default()
    };
    sample::edited(|graph| {
        graph.initializer.push(TensorProto {
            name: Some("begin".to_owned()),
            data_type: Some(BOOL),
            int32_data: vec![form.pick(1, 0)],
            ..TensorProto::default()
        });
        let mut repeat = node("Loop", &["", "begin", "sum"], "y");
        let mut graph_of = attribute("body", AttributeType::Graph);
        graph_of.g = Some(Box::new(body));
        repeat.attribute.push(graph_of);
        graph.node = vec![node("Add", &["x", "w"], "sum"), repeat];
    })
}

/// The sample, whose sum is negated so many times.
fn chain(length: usize) -> ModelProto {
    sample::edited(|graph| {
        graph.node = vec![node("Add", &["x", "w"], "n0")];
        for at in 0..length {
            let output = if at + 1 == length {
                "y".to_owned()
            } else {
                format!("n{}", at + 1)
            };
            graph.node.push(node("Neg", &[&format!("n{at}")], &output));
        }
    })
}

pub(crate) fn cases() -> Vec<Case> {
    let models = [
        Model {
            row: 24,
            writes: "200,000 nodes, each the input of the next",
            names: [
                "chain-200000-sum",
                "chain-200000-packed",
                "chain-200000-verified",
                "chain-200000-bundle",
            ],
            commands: COMMANDS,
            answer: Answer::AcceptedOr(Limit),
            place: "",
            model: |form| chain(form.pick(200_000, 200)),
        },
        Model {
            row: 27,
            writes: "ConstantOfShape [2^15, 2^17], 16 GiB, within every limit on shapes",
            names: [
                "constant-16-gib",
                "constant-16-gib-packed",
                "constant-16-gib-verified",
                "constant-16-gib-bundle",
            ],
            commands: COMMANDS,
            answer: Answer::Refused(&[Limit]),
            place: "memory",
            model: |form| {
                let extents = [form.pick(1 << 15, 2), form.pick(1 << 17, 2)];
                with_sum("ConstantOfShape", &["shape"], extents)
            },
        },
        Model {
            row: 27,
            writes: "Expand to 2^40",
            names: [
                "expand-2-40-sum",
                "expand-2-40-packed",
                "expand-2-40-verified",
                "expand-2-40-bundle",
            ],
            commands: COMMANDS,
            answer: Answer::Refused(&[Limit]),
            place: "'large'",
            model: |form| with_sum("Expand", &["w", "shape"], [form.pick(1 << 40, 2), 2]),
        },
        Model {
            row: 28,
            writes: "a Loop that never ends",
            names: [
                "loop-for-ever",
                "loop-for-ever-packed",
                "loop-for-ever-verified",
                "loop-for-ever-bundle",
            ],
            commands: [
                "run model.onnx --input x=[1,2] --engine-timeout 1",
                "pack --model model.onnx --name attack --engine-timeout 1",
                "verify bundle --engine-timeout 1",
                "run bundle --input x=[1,2] --engine-timeout 1",
            ],
            answer: Answer::Refused(&[Busy]),
            place: "at most 1 s",
            model: looping,
        },
    ];
    models.into_iter().flat_map(Model::cases).collect()
}
