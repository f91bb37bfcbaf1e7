//! What rten would change silently is refused by name.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use std::collections::BTreeMap;

use amphora_error::ErrorKind;
use amphora_onnx::proto::{NodeProto, TensorProto};
use amphora_onnx::{Dim, Dtype, Model};
use amphora_runtime::{Engine, EngineChoice, OrtLocation, Session, SessionOptions, Tensor, engine};
use common::graph::{graph, int64s, model, node, value, with_graph, with_int, with_tensor, zeros};

fn rten() -> std::sync::Arc<dyn Engine> {
    engine(EngineChoice::Rten, &OrtLocation::default()).unwrap()
}

fn session(model: &Model) -> amphora_error::Result<Session> {
    Session::new(model, rten(), &SessionOptions::default(), None)
}

/// `y` of type `dtype` from `x` int64 [4] through `nodes`.
fn integers(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> Model {
    let n = [Dim::Symbol("n".to_owned())];
    let outputs = vec![value("y", Dtype::Int64, &[Dim::Unknown])];
    model(graph(
        nodes,
        initializers,
        vec![value("x", Dtype::Int64, &n)],
        outputs,
    ))
}

const WIDE: i64 = 5_000_000_000;

#[test]
fn values_it_cannot_represent_are_named() {
    let n = [Dim::Symbol("n".to_owned())];
    let add = || node("Add", &["x", "c"], &["y"]);
    let constant = || node("Constant", &[], &["c"]);
    let shaped = |tensor| with_tensor(node("ConstantOfShape", &["x"], &["y"]), "value", tensor);
    let branch = graph(
        vec![with_tensor(
            node("Constant", &[], &["b"]),
            "value",
            int64s("", &[WIDE]),
        )],
        vec![],
        vec![],
        vec![value("b", Dtype::Int64, &n)],
    );
    let conditional = with_graph(
        with_graph(node("If", &["flag"], &["y"]), "then_branch", branch.clone()),
        "else_branch",
        branch,
    );
    let double = |name: &str| value(name, Dtype::Float64, &n);
    let rows: [(&str, Model, &[&str]); 9] = [
        (
            "initializer",
            integers(vec![add()], vec![int64s("c", &[1, WIDE])]),
            &["initializer 'c'", "beyond 32 bits"],
        ),
        (
            "constant",
            integers(
                vec![
                    with_tensor(constant(), "value", int64s("", &[-WIDE])),
                    add(),
                ],
                vec![],
            ),
            &["'Constant_c'"],
        ),
        (
            "value_int",
            integers(vec![with_int(constant(), "value_int", WIDE), add()], vec![]),
            &["'Constant_c'"],
        ),
        (
            "fill",
            integers(vec![shaped(int64s("", &[WIDE]))], vec![]),
            &["'ConstantOfShape_y'"],
        ),
        (
            "output",
            integers(vec![], vec![int64s("y", &[WIDE])]),
            &["initializer 'y'"],
        ),
        (
            "branch",
            model(graph(
                vec![conditional],
                vec![],
                vec![value("flag", Dtype::Bool, &[])],
                vec![value("y", Dtype::Int64, &n)],
            )),
            &["'Constant_b'"],
        ),
        (
            "bound and operand",
            integers(
                vec![
                    node("Slice", &["x", "zero", "c"], &["s"]),
                    node("Add", &["s", "c"], &["y"]),
                ],
                vec![int64s("zero", &[0]), int64s("c", &[i64::MAX])],
            ),
            &["initializer 'c'"],
        ),
        (
            "double",
            model(graph(
                vec![node("Add", &["x", "c"], &["y"])],
                vec![zeros("c", Dtype::Float64, &[1])],
                vec![double("x")],
                vec![double("y")],
            )),
            &[
                "'x' is float64",
                "'y' is float64",
                "initializer 'c' is float64",
            ],
        ),
        (
            "cast",
            integers(
                vec![
                    with_int(node("Cast", &["x"], &["d"]), "to", 11),
                    with_int(node("Cast", &["d"], &["y"]), "to", 7),
                ],
                vec![zeros("h", Dtype::Bfloat16, &[1])],
            ),
            &["'Cast_d' (Cast) makes float64", "'h' is bfloat16"],
        ),
    ];
    amphora_testing::each(&rows, |(_, model, needles)| match session(model) {
        Err(e) if e.kind() == ErrorKind::Unsupported && e.rule() == "engine-dtype" => {
            let text = e.to_string();
            match needles.iter().find(|needle| !text.contains(**needle)) {
                Some(needle) => Err(format!("{needle:?} is not in {text}")),
                None => Ok(()),
            }
        }
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn the_bounds_of_a_slice_may_be_the_largest_integer() {
    let far = || {
        let tensor = int64s("", &[i64::MAX]);
        with_tensor(node("Constant", &[], &["far"]), "value", tensor)
    };
    let slice = |to: &str| node("Slice", &["x", "from", to], &["y"]);
    let from = || vec![int64s("from", &[1]), int64s("shape", &[1])];
    let rows = [
        ("directly", integers(vec![far(), slice("far")], from())),
        (
            "moved first",
            integers(
                vec![
                    far(),
                    node("Reshape", &["far", "shape"], &["to"]),
                    slice("to"),
                ],
                from(),
            ),
        ),
    ];
    let x = Tensor::new([4], vec![1_i64, 2, 3, 4]).unwrap();
    let inputs = BTreeMap::from([("x".to_owned(), x)]);
    amphora_testing::each(&rows, |(_, model)| {
        let outputs = session(model).and_then(|mut session| session.run(&inputs));
        let outputs = outputs.map_err(|e| e.to_string())?;
        match outputs.get("y").unwrap().as_slice::<i64>() {
            Some([2, 3, 4]) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn an_input_beyond_32_bits_is_refused_and_others_pass() {
    let mut session = session(&integers(vec![node("Identity", &["x"], &["y"])], vec![])).unwrap();
    let run = |session: &mut Session, values: Vec<i64>| {
        let tensor = Tensor::new([values.len()], values).unwrap();
        session.run(&BTreeMap::from([("x".to_owned(), tensor)]))
    };
    let edge = vec![i64::from(i32::MAX), i64::from(i32::MIN)];
    let outputs = run(&mut session, edge.clone()).unwrap();
    assert_eq!(outputs.get("y").unwrap().as_slice::<i64>(), Some(&edge[..]));
    let error = run(&mut session, vec![0, 1 << 31]).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Unsupported, "engine-range")
    );
    assert!(
        error.to_string().contains("input 'x', element 1"),
        "{error}"
    );
}

#[test]
fn half_precision_is_computed_wider_and_rounded_at_the_end() {
    let n = [Dim::Symbol("n".to_owned())];
    let model = model(graph(
        vec![node("Add", &["x", "x"], &["y"])],
        vec![],
        vec![value("x", Dtype::Float16, &n)],
        vec![value("y", Dtype::Float16, &n)],
    ));
    let half = |value: f32| half::f16::from_f32(value);
    let x = Tensor::new([2], vec![half(0.1), half(-3.0)]).unwrap();
    let outputs = session(&model)
        .unwrap()
        .run(&BTreeMap::from([("x".to_owned(), x)]))
        .unwrap();
    let expected = [half(half(0.1).to_f32() * 2.0), half(-6.0)];
    assert_eq!(outputs.get("y").unwrap().as_slice(), Some(&expected[..]));
}

/// `y` of `x`, through so many nodes.
fn chain(length: usize) -> Model {
    let name = |index: usize| match index {
        0 => "x".to_owned(),
        index if index == length => "y".to_owned(),
        index => format!("v{index}"),
    };
    let nodes = (0..length).map(|index| node("Neg", &[&name(index)], &[&name(index + 1)]));
    let shape = [Dim::Fixed(1)];
    let inputs = vec![value("x", Dtype::Float32, &shape)];
    let outputs = vec![value("y", Dtype::Float32, &shape)];
    model(graph(nodes.collect(), vec![], inputs, outputs))
}

#[test]
fn the_longest_chain_fits_the_stack_of_a_thread_and_a_longer_one_is_refused() {
    let load = |length| Session::new(&chain(length), rten(), &SessionOptions::default(), None);
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let answer = small.spawn(move || {
        let x = Tensor::new([1], vec![1.0_f32]).unwrap();
        let inputs = BTreeMap::from([("x".to_owned(), x)]);
        load(4_000).unwrap().run(&inputs).unwrap().nonfinite()
    });
    assert_eq!(answer.unwrap().join().unwrap(), 0);
    let error = load(4_001).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Limit, "engine-depth")
    );
}
