//! What `compare` says about two bundles.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use amphora_bundle::{Bundle, Direction, compare, parse_labels, parse_metrics};
use serde_json::{Value, json};
use support::{details, onnx, path, store};

/// Publishes a bundle with these weights, configuration and metrics.
fn bundle(
    store: &amphora_bundle::Store,
    name: &str,
    weights: [f32; 3],
    config: (&str, &str),
    metrics: &str,
) -> Bundle {
    let mut draft = store.draft().unwrap();
    let model = onnx(weights);
    let bytes = amphora_onnx::write::to_bytes(model.proto());
    let contract = model.contract().unwrap();
    draft
        .add_graph("model", "single", &bytes, &Default::default(), &contract)
        .unwrap();
    draft
        .add_bytes(&path(config.0), config.1.as_bytes())
        .unwrap();
    draft
        .add_bytes(&path("metrics.json"), metrics.as_bytes())
        .unwrap();
    let mut details = details(name, "1.0.0", 0);
    details.assets.config = Some(path(config.0));
    if name == "second" {
        details.formats.insert(
            "hailo".to_owned(),
            amphora_bundle::manifest::FormatEntry {
                file: Some(path("models/hailo.hef")),
                ..Default::default()
            },
        );
        draft.add_model_file("hailo.hef", b"hef").unwrap();
    }
    let published = draft.seal(details).unwrap().publish().unwrap();
    Bundle::open(&published.path).unwrap()
}

#[test]
fn metrics_configuration_formats_and_weights_are_compared_one_by_one() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let one = bundle(
        &store,
        "first",
        [1.0, 2.0, 3.0],
        (
            "config.yaml",
            "model:\n  levels: [8, 6]\n  name: a\nlr: 0.1\n",
        ),
        r#"{"accuracy": 0.7, "ece": 0.05, "mce": 0.2, "val_loss": 1.0, "old": 1}"#,
    );
    let two = bundle(
        &store,
        "second",
        [1.0, 2.0, 4.0],
        (
            "config.yaml",
            "model:\n  levels: [8, 5]\n  name: a\n  depth: 2\nlr: 0.1\n",
        ),
        r#"{"metrics": {"accuracy": 0.8, "ece": 0.04, "mce": 0.2, "val_loss": 2.0, "new": 1}}"#,
    );
    let found = serde_json::to_value(compare(&one, &two).unwrap()).unwrap();
    assert_eq!(found["identical"], false);
    assert_eq!(found["bundles"]["bundle1"]["hash"], one.id().exp_hash());
    assert_eq!(found["bundles"]["bundle2"]["name"], "second");
    let improvements: Vec<(&str, &Value)> = ["accuracy", "ece", "mce", "val_loss", "old", "new"]
        .iter()
        .map(|name| (*name, &found["metrics"][name]["improvement"]))
        .collect();
    assert_eq!(
        improvements,
        [
            ("accuracy", &json!(true)),
            ("ece", &json!(true)),
            ("mce", &json!(false)),
            ("val_loss", &json!(false)),
            ("old", &Value::Null),
            ("new", &Value::Null),
        ]
    );
    let delta = found["metrics"]["accuracy"]["delta"].as_f64().unwrap();
    assert!((delta - 0.1).abs() < 1e-12);
    assert_eq!(
        found["config"],
        json!({
            "model.levels": {"bundle1": [8, 6], "bundle2": [8, 5]},
            "model.depth": {"bundle1": null, "bundle2": 2},
        })
    );
    assert_eq!(
        found["formats"],
        json!({"bundle1_only": [], "bundle2_only": ["hailo"], "common": ["onnx"]})
    );
    assert_eq!(found["contract"], json!({}));
    assert_eq!(
        found["weights"],
        json!({"model": {"changed": ["w"], "added": [], "removed": [], "unchanged": 0}})
    );
    assert_eq!(found["files"]["bundle2_only"], json!(["models/hailo.hef"]));
    let text = compare(&one, &two).unwrap().to_markdown();
    for part in [
        "| model.levels | \\[8,6\\] | \\[8,5\\] |",
        "changed: w",
        "less is better",
        "worse",
    ] {
        assert!(text.contains(part), "{part} is absent from\n{text}");
    }
}

#[test]
fn a_bundle_is_identical_to_itself_and_the_text_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let config = ("config.json", "{\"a\": [{\"b\": 1}]}");
    let one = bundle(&store, "first", [1.0; 3], config, "{\"ece\": 0.1}");
    let again = Bundle::open(one.path()).unwrap();
    let found = compare(&one, &again).unwrap();
    assert!(found.identical && found.config.is_empty() && found.contract.is_empty());
    assert_eq!(found.weights["model"].unchanged, 1);
    let ece = &found.metrics["ece"];
    assert_eq!(
        (ece.better, ece.improvement),
        (Direction::Lower, Some(false))
    );
    assert!(found.to_markdown().contains("equal"));
}

#[test]
fn a_configuration_that_cannot_be_read_is_compared_as_a_whole() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let one = bundle(
        &store,
        "a",
        [1.0; 3],
        ("config.yaml", "x: &a 1\ny: *a\n"),
        "{}",
    );
    let two = bundle(
        &store,
        "b",
        [1.0; 3],
        ("config.yaml", "x: &a 2\ny: *a\n"),
        "{}",
    );
    let found = compare(&one, &two).unwrap();
    let keys: Vec<&String> = found.config.keys().collect();
    assert_eq!(keys, ["config.yaml (sha256)"]);
}

#[test]
fn a_changed_file_is_not_compared_but_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let one = bundle(&store, "a", [1.0; 3], ("config.json", "{}"), "{\"x\": 1}");
    support::overwrite(&one.path().join("metrics.json"), b"{\"x\": 2}");
    assert_eq!(compare(&one, &one).unwrap_err().rule(), "file-changed");
}

#[test]
fn metrics_and_labels_are_read_flat_and_wrapped() {
    let metrics = |text: &str| parse_metrics(text.as_bytes()).map_err(|error| error.rule());
    assert_eq!(
        metrics("{\"a\": 1, \"b\": {\"c\": 2}, \"d\": \"x\"}").unwrap()["b.c"],
        2.0
    );
    assert_eq!(
        metrics("{\"metadata\": {}, \"metrics\": {\"a\": 1}}")
            .unwrap()
            .len(),
        1
    );
    assert_eq!(metrics("[1]"), Err("metrics-form"));
    assert_eq!(metrics("{\"a\": 1, \"a\": 2}"), Err("json"));
    let rows = [
        r#"{"0": "rest", "1": "walk"}"#,
        r#"{"rest": 0, "walk": 1}"#,
        r#"["rest", "walk"]"#,
        r#"{"metadata": {"n": 2}, "mapping": {"0": "rest", "1": "walk"}, "reverse_mapping": {}}"#,
    ];
    amphora_testing::each(&rows, |text| {
        let labels = parse_labels(text.as_bytes()).map_err(|error| error.to_string())?;
        let labels: Vec<_> = labels.into_iter().collect();
        let right = labels == [(0, "rest".to_owned()), (1, "walk".to_owned())];
        right.then_some(()).ok_or(format!("{labels:?}"))
    });
    for (text, rule) in [
        ("{\"x\": \"rest\"}", "label-map-form"),
        ("{\"a\": 0, \"b\": 0}", "label-map-twice"),
        ("{\"a\": -1}", "label-map-form"),
        ("3", "label-map-form"),
    ] {
        assert_eq!(
            parse_labels(text.as_bytes()).unwrap_err().rule(),
            rule,
            "{text}"
        );
    }
}
