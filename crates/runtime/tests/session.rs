//! What a session refuses before the engine is called, and what it makes of the answer.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use amphora_error::{Error, ErrorKind, Result};
use amphora_onnx::{Dim, Dtype, Model};
use amphora_runtime::{
    Calibration, Engine, Executable, InputPolicy, Session, SessionOptions, Tensor,
    UnsupportedOperator,
};
use common::graph::{graph, model, node, value};

fn symbol(name: &str) -> Dim {
    Dim::Symbol(name.to_owned())
}

/// `sum = a + b` and `big = a > b` over [batch, 3]; `mask` [batch] passes through.
fn adder() -> Model {
    let wide = [symbol("batch"), Dim::Fixed(3)];
    model(graph(
        vec![
            node("Add", &["a", "b"], &["sum"]),
            node("Greater", &["a", "b"], &["big"]),
            node("Identity", &["mask"], &["kept"]),
        ],
        vec![],
        vec![
            value("a", Dtype::Float32, &wide),
            value("b", Dtype::Float32, &wide),
            value("mask", Dtype::Int64, &[symbol("batch")]),
        ],
        vec![
            value("sum", Dtype::Float32, &wide),
            value("big", Dtype::Bool, &wide),
            value("kept", Dtype::Int64, &[symbol("batch")]),
        ],
    ))
}

fn healthy() -> BTreeMap<String, Tensor> {
    let f32s = |values: [f32; 6]| Tensor::new([2, 3], values.to_vec()).unwrap();
    BTreeMap::from([
        ("a".to_owned(), f32s([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        ("b".to_owned(), f32s([6.0, 5.0, 4.0, 3.0, 2.0, f32::NAN])),
        (
            "mask".to_owned(),
            Tensor::new([2], vec![1_i64, -7]).unwrap(),
        ),
    ])
}

#[test]
fn outputs_have_the_types_of_the_contract_in_the_order_of_the_graph() {
    for engine in common::engines() {
        let mut session = Session::new(&adder(), engine, &SessionOptions::default(), None).unwrap();
        let outputs = session.run(&healthy()).unwrap();
        let names: Vec<&str> = outputs.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["sum", "big", "kept"]);
        let sum = outputs.get("sum").unwrap().as_slice::<f32>().unwrap();
        assert_eq!(sum[..5], [7.0; 5]);
        assert!(sum[5].is_nan());
        assert_eq!(
            outputs.get("big").unwrap().as_slice::<bool>().unwrap(),
            [false, false, false, true, true, false]
        );
        assert_eq!(
            outputs.get("kept").unwrap().as_slice::<i64>(),
            Some(&[1, -7][..])
        );
        assert_eq!(outputs.nonfinite(), 1);
        assert_eq!(outputs.to_json()["sum"]["data"][5], "NaN");
    }
}

/// An engine that counts its calls and answers what it was made with.
#[derive(Debug)]
struct Scripted {
    calls: Arc<AtomicUsize>,
    answer: fn() -> Result<Vec<Tensor>>,
}

impl Engine for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }
    fn version(&self) -> String {
        "1".to_owned()
    }
    fn unsupported(&self, _: &Model) -> Vec<UnsupportedOperator> {
        Vec::new()
    }
    fn load(&self, _: &Model, _: &SessionOptions) -> Result<Box<dyn Executable>> {
        Ok(Box::new(Self {
            calls: self.calls.clone(),
            answer: self.answer,
        }))
    }
}

impl Executable for Scripted {
    fn run(&mut self, _: &[(&str, &Tensor)], _: &[&str]) -> Result<Vec<Tensor>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        (self.answer)()
    }
}

fn scripted(answer: fn() -> Result<Vec<Tensor>>) -> (Arc<dyn Engine>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let engine = Scripted {
        calls: calls.clone(),
        answer,
    };
    (Arc::new(engine), calls)
}

#[test]
fn every_fault_of_the_inputs_is_listed_and_the_engine_is_not_called() {
    let (engine, calls) = scripted(|| Err(Error::internal("called", "the engine was called")));
    let policy = InputPolicy {
        allow_empty: false,
        finite: BTreeSet::from(["b".to_owned()]),
    };
    let options = SessionOptions {
        inputs: policy,
        ..SessionOptions::default()
    };
    let mut session = Session::new(&adder(), engine, &options, None).unwrap();
    let zeros =
        |shape: &[usize]| Tensor::new(shape, vec![0.0_f32; shape.iter().product()]).unwrap();
    let rows: [(&str, Option<Tensor>, &[&str]); 9] = [
        ("a", None, &["'a' is missing: float32 of shape [batch, 3]"]),
        ("typo", Some(zeros(&[2, 3])), &["'typo' is not an input"]),
        (
            "mask",
            Some(zeros(&[2])),
            &["'mask' has type float32, expected int64"],
        ),
        (
            "a",
            Some(zeros(&[6])),
            &["'a' has rank 1 (shape [6]), expected rank 2 (shape [batch, 3])"],
        ),
        (
            "a",
            Some(zeros(&[2, 4])),
            &["'a' has 4 in dimension 1, expected 3"],
        ),
        (
            "b",
            Some(zeros(&[5, 3])),
            &["'b' has 5 in dimension 0, but 'batch' is 2 in 'a'"],
        ),
        (
            "a",
            Some(zeros(&[0, 3])),
            &["'a' has no elements", "'batch' is 0 in 'a'"],
        ),
        ("b", None, &["'b' is missing"]),
        (
            "a",
            Some(Tensor::new([2, 3], vec![0_i32; 6]).unwrap()),
            &["'a' has type int32"],
        ),
    ];
    amphora_testing::each(&rows, |(name, tensor, needles)| {
        let mut inputs = healthy();
        match tensor {
            Some(tensor) => inputs.insert((*name).to_owned(), tensor.clone()),
            None => inputs.remove(*name),
        };
        let error = session.run(&inputs).unwrap_err();
        let text = error.to_string();
        if error.kind() != ErrorKind::Usage || error.rule() != "inputs" {
            return Err(format!("{error:?}"));
        }
        match needles.iter().find(|needle| !text.contains(**needle)) {
            Some(needle) => Err(format!("{needle:?} is not in {text}")),
            None => Ok(()),
        }
    });
    let all = BTreeMap::from([
        (
            "b".to_owned(),
            Tensor::new([2, 2], vec![f32::INFINITY; 4]).unwrap(),
        ),
        ("mask".to_owned(), zeros(&[3])),
        ("x".to_owned(), zeros(&[1])),
    ]);
    let error = session.run(&all).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.fault_list().len(), 6, "{text}");
    assert!(
        text.contains("'b' must be finite, but 4 of its 4 elements are not"),
        "{text}"
    );
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[test]
fn an_answer_that_breaks_the_contract_is_refused() {
    fn tensors(shape: [usize; 2], kept: Tensor) -> Result<Vec<Tensor>> {
        let count = shape[0] * shape[1];
        Ok(vec![
            Tensor::new(shape, vec![0.0_f32; count])?,
            Tensor::new(shape, vec![false; count])?,
            kept,
        ])
    }
    type Answer = fn() -> Result<Vec<Tensor>>;
    let rows: [(&str, Answer, &str); 4] = [
        (
            "type",
            || tensors([2, 3], Tensor::new([2], vec![0_i32; 2])?),
            "'kept' has type int32",
        ),
        (
            "rank",
            || tensors([2, 3], Tensor::scalar(0_i64)),
            "'kept' has rank 0",
        ),
        (
            "symbol",
            || tensors([2, 3], Tensor::new([4], vec![0_i64; 4])?),
            "'batch' is 2 in 'a'",
        ),
        (
            "fixed",
            || tensors([2, 2], Tensor::new([2], vec![0_i64; 2])?),
            "expected 3",
        ),
    ];
    amphora_testing::each(&rows, |(_, answer, needle)| {
        let (engine, _) = scripted(*answer);
        let mut session = Session::new(&adder(), engine, &SessionOptions::default(), None).unwrap();
        match session.run(&healthy()) {
            Err(e) if e.kind() == ErrorKind::Incompatible && e.to_string().contains(needle) => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_panic_inside_an_engine_names_the_engine() {
    let (engine, _) = scripted(|| panic!("index out of bounds"));
    let mut session = Session::new(&adder(), engine, &SessionOptions::default(), None).unwrap();
    let error = session.run(&healthy()).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Unsupported, "engine-panic")
    );
    assert!(
        error.to_string().contains("engine scripted broke off"),
        "{error}"
    );
}

#[test]
fn an_empty_input_passes_where_the_policy_or_the_contract_allows_it() {
    let options = SessionOptions {
        inputs: InputPolicy {
            allow_empty: true,
            ..InputPolicy::default()
        },
        ..SessionOptions::default()
    };
    let (engine, calls) = scripted(|| {
        let empty = Tensor::new([0, 3], Vec::<f32>::new())?;
        let flags = Tensor::new([0, 3], Vec::<bool>::new())?;
        Ok(vec![empty, flags, Tensor::new([0], Vec::<i64>::new())?])
    });
    let mut session = Session::new(&adder(), engine, &options, None).unwrap();
    let empty = Tensor::new([0, 3], Vec::<f32>::new()).unwrap();
    let inputs = BTreeMap::from([
        ("a".to_owned(), empty.clone()),
        ("b".to_owned(), empty),
        (
            "mask".to_owned(),
            Tensor::new([0], Vec::<i64>::new()).unwrap(),
        ),
    ]);
    session.run(&inputs).unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn calibration_scales_its_head_and_must_fit_the_graph() {
    let calibration = |head: &str| Calibration::new([(head.to_owned(), 2.0)]).unwrap();
    for engine in common::engines() {
        let options = SessionOptions::default();
        let scaled = Some(calibration("sum"));
        let mut session = Session::new(&adder(), engine.clone(), &options, scaled).unwrap();
        let outputs = session.run(&healthy()).unwrap();
        assert_eq!(
            outputs.get("sum").unwrap().as_slice::<f32>().unwrap()[0],
            3.5
        );
        for (head, needle) in [
            ("kept", "int64, not a float"),
            ("nothing", "no output 'nothing'"),
        ] {
            let refused = Session::new(&adder(), engine.clone(), &options, Some(calibration(head)));
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Incompatible);
            assert!(error.to_string().contains(needle), "{error}");
        }
    }
}
