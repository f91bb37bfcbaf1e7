//! Hostile graphs, each refused by its rule, beside a sound one that differs in one thing.

use amphora_error::{Error, ErrorKind};
use amphora_onnx::proto::{DimensionValue, ModelProto};
use amphora_onnx::{Limits, Model};

use crate::built::{built, node, value};
use crate::hostile_cases::{CASES, doubling, graph, nest};

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
