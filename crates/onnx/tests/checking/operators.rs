//! The operator table against the schemas it was made from.

use amphora_onnx::operators;

const TABLE: &str = include_str!("../../operators/operators.tsv");

#[test]
fn every_record_of_the_table_is_read() {
    let records = TABLE
        .lines()
        .filter(|line| line.starts_with("op\t"))
        .count();
    assert_eq!(operators::all().len(), records);
    for operator in operators::all() {
        let found = operators::find(operator.domain, operator.name, operator.since_version);
        assert_eq!(found, Some(operator));
        assert!(operators::opsets(operator.domain).is_some(), "{operator:?}");
        for parameter in operator
            .inputs
            .parameters
            .iter()
            .chain(&operator.outputs.parameters)
        {
            for kind in parameter.types {
                assert!(kind.ends_with(')'), "{}: {parameter:?}", operator.name);
            }
        }
    }
}

#[test]
fn the_table_equals_the_published_schemas() {
    let version = operators::source_version();
    let Some(peer) = amphora_testing::peer("onnx", Some(version)) else {
        return;
    };
    let script = amphora_testing::repository().join("crates/onnx/operators/generate.py");
    let program = std::fs::read_to_string(script).unwrap();
    let fresh = peer.run(&program, &[]);
    let changed: Vec<&str> = fresh.lines().filter(|line| !TABLE.contains(line)).collect();
    assert!(changed.is_empty(), "records that differ: {changed:#?}");
    assert_eq!(fresh, TABLE);
}

#[test]
fn a_node_means_the_newest_version_its_opset_has() {
    let since = |domain, name, opset| operators::find(domain, name, opset).map(|o| o.since_version);
    assert_eq!(since("", "Softmax", 12), Some(11));
    assert_eq!(since("ai.onnx", "Softmax", 13), Some(13));
    assert_eq!(since("", "Softmax", 0), None);
    assert_eq!(since("ai.onnx.ml", "Scaler", 2), Some(1));
    assert_eq!(since("com.example", "Softmax", 13), None);
    assert!(operators::find("", "Upsample", 10).unwrap().deprecated);
}
