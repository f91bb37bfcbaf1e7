//! The tables of operators against the engines themselves.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use std::collections::BTreeSet;

use amphora_error::ErrorKind;
use amphora_onnx::operators::{self, Operator};
use amphora_onnx::proto::{FunctionProto, NodeProto, OperatorSetIdProto};
use amphora_onnx::{Dim, Dtype, Limits, Model};
use amphora_runtime::{
    Engine, EngineChoice, OrtLocation, Session, SessionOptions, UnsupportedOperator, engine,
};
use common::graph::{graph, messages, node, value, with_graph};

fn rten() -> std::sync::Arc<dyn Engine> {
    engine(EngineChoice::Rten, &OrtLocation::default()).unwrap()
}

/// A model of one node, with as many inputs as the operator needs.
fn one_node(operator: &Operator) -> Model {
    let n = [Dim::Symbol("n".to_owned())];
    let count = (0..9).find(|count| operator.inputs.allows(*count)).unwrap();
    let names: Vec<String> = (0..count).map(|index| format!("x{index}")).collect();
    let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut only = node(operator.name, &inputs, &["y"]);
    only.domain = Some(operator.domain.to_owned());
    let values = inputs
        .iter()
        .map(|name| value(name, Dtype::Float32, &n))
        .collect();
    let outputs = vec![value("y", Dtype::Float32, &n)];
    let mut proto = messages(graph(vec![only], vec![], values, outputs), 17);
    proto.opset_import = vec![import(operator.domain, operator.since_version)];
    Model::from_proto(proto, &Limits::default()).unwrap()
}

fn import(domain: &str, version: u64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version as i64),
    }
}

#[test]
fn rten_knows_the_operators_of_its_table_and_no_other() {
    let rten = rten();
    let newest: Vec<&Operator> = operators::all()
        .iter()
        .filter(|op| operators::versions(op.domain, op.name).last() == Some(op))
        .collect();
    assert!(newest.len() > 200);
    amphora_testing::each(&newest, |operator| {
        let model = one_node(operator);
        let listed = rten.unsupported(&model).is_empty();
        // Without the table: rten's own words. Other complaints, about attributes, come from an
        // operator that it knows.
        let loaded = rten.load(&model, &SessionOptions::default());
        let known = match loaded.map(drop) {
            Ok(()) => true,
            Err(error) => !error.to_string().contains("operator not supported"),
        };
        if listed == known {
            return Ok(());
        }
        Err(format!("in the table: {listed}, in the engine: {known}"))
    });
}

#[test]
fn the_table_of_onnx_runtime_is_what_the_library_says() {
    let Some(peer) = amphora_testing::peer("onnxruntime", None) else {
        return;
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("operators");
    let table = fs_err::read_to_string(folder.join("onnxruntime.tsv")).unwrap();
    let header = |key: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap().trim().to_owned()
    };
    let source = header("# source: ");
    let onnx = source.rsplit(' ').next().unwrap();
    let wanted = format!("{} {onnx}", header("# version: "));
    let found = peer.run(
        "import onnx, onnxruntime; print(onnxruntime.__version__, onnx.__version__)",
        &[],
    );
    let scratch = tempfile::tempdir().unwrap();
    let script = scratch.path().join("generate.py");
    fs_err::copy(folder.join("generate.py"), &script).unwrap();
    let run = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')";
    peer.run(run, &[script.to_str().unwrap(), "onnxruntime"]);
    let fresh = fs_err::read_to_string(scratch.path().join("onnxruntime.tsv")).unwrap();
    if found.trim() == wanted {
        assert!(fresh == table, "run operators/generate.py onnxruntime");
        return;
    }
    // Another release: it may run more, and what the table promises must still be there.
    let names = |table: &str| -> BTreeSet<String> {
        let rows = table.lines().filter(|line| !line.starts_with('#'));
        rows.filter_map(|row| Some(row.rsplit_once('\t')?.0.to_owned()))
            .collect()
    };
    let (table, fresh) = (names(&table), names(&fresh));
    let gone: Vec<&String> = table.difference(&fresh).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

/// A model whose unsupported operators are in the graph, in a branch and in a function.
fn hiding() -> Model {
    let n = [Dim::Symbol("n".to_owned())];
    let float = |name: &str| value(name, Dtype::Float32, &n);
    let foreign = |op: &str, domain: &str, inputs: &[&str], output: &str| NodeProto {
        domain: Some(domain.to_owned()),
        ..node(op, inputs, &[output])
    };
    let branch = |output: &str| {
        let nodes = vec![foreign("Stranger", "org.example", &["x"], output)];
        graph(nodes, vec![], vec![], vec![float(output)])
    };
    let choose = with_graph(node("If", &["flag"], &["c"]), "then_branch", branch("t"));
    let choose = with_graph(choose, "else_branch", branch("e"));
    let nodes = vec![
        node("Det", &["x"], &["a"]),
        foreign("Local", "org.here", &["a"], "b"),
        choose,
        node("Relu", &["c"], &["y"]),
    ];
    let inputs = vec![float("x"), value("flag", Dtype::Bool, &[])];
    let mut proto = messages(graph(nodes, vec![], inputs, vec![float("y")]), 20);
    proto.opset_import.push(import("org.example", 3));
    proto.opset_import.push(import("org.here", 1));
    proto.functions = vec![FunctionProto {
        name: Some("Local".to_owned()),
        domain: Some("org.here".to_owned()),
        input: vec!["i".to_owned()],
        output: vec!["o".to_owned()],
        node: vec![node("StringConcat", &["i", "i"], &["o"])],
        opset_import: vec![import("", 20)],
        ..FunctionProto::default()
    }];
    Model::from_proto(proto, &Limits::default()).unwrap()
}

#[test]
fn all_unsupported_operators_are_listed_at_once() {
    let missing = rten().unsupported(&hiding());
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let expected = [
        "ai.onnx.Det (opset 20, 1 node)",
        "ai.onnx.StringConcat (opset 20, 1 node)",
        "org.example.Stranger (opset 3, 2 nodes)",
        "org.here.Local (opset 1, 1 node)",
    ];
    assert_eq!(names, expected);
    let error = Session::new(&hiding(), rten(), &SessionOptions::default(), None).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Unsupported, "engine-operators")
    );
    assert_eq!(error.fault_list(), expected);

    let Some(location) = common::ort_location() else {
        return;
    };
    let ort = engine(EngineChoice::Ort, &location).unwrap();
    // ONNX Runtime expands functions of the model, so that only what is inside them can be missing.
    let names: BTreeSet<(String, u64)> = ort
        .unsupported(&hiding())
        .into_iter()
        .map(|UnsupportedOperator { name, count, .. }| (name, count))
        .collect();
    assert!(names.contains(&("Stranger".to_owned(), 2)), "{names:?}");
    assert!(!names.iter().any(|(name, _)| name == "Local"), "{names:?}");
}
