//! Planner bundles of strangers that need an engine run in a process of its own.

use amphora_testing::repository;
use serde_json::{Value, json};

use crate::planner_data::{DATASET, IMPORT, run, scene};
use crate::walls::is_apart;

#[test]
fn foreign_planners_run_apart_when_they_decide_and_when_they_are_judged() {
    let Some(fixture) = amphora_testing::fixture("planner_urm") else {
        return;
    };
    let scene = scene();
    let example = repository().join("docs/examples/planner_input.json");
    scene.write("input.json", fs_err::read(example).unwrap());
    // Document 000's flat directory around a graph of PyTorch.
    for name in ["model.onnx", "config.json"] {
        let bytes = fs_err::read(fixture.join(name)).unwrap();
        scene.write(&format!("flat/{name}"), bytes);
    }
    let marks = ["[PAD]", "[UNK]", "[BOS]", "[SEP]", "[EOS]", "[=]"];
    let tokens: Vec<String> = marks.iter().map(ToString::to_string).collect();
    let input = fs_err::read(scene.path("input.json")).unwrap();
    let input: Value = serde_json::from_slice(&input).unwrap();
    let documents = [
        ("action_space.json", input["action_space"].clone()),
        ("calibration.json", json!({"method": "none"})),
        ("metadata.json", json!({})),
        (
            "tokenizer_config.json",
            json!({"n_history_slots": 8, "n_tag_buckets": 1024, "d_in": 3779}),
        ),
        (
            "vocab.json",
            json!({"schema_version": "cyntra.vocab.v1", "tokens": tokens, "pad_id": 0, "unk_id": 1}),
        ),
    ];
    for (name, document) in documents {
        scene.write(&format!("flat/{name}"), document.to_string());
    }
    run(&scene, IMPORT).expect_code(0);
    run(&scene, DATASET).expect_code(0);
    let decide = "planner decide --input input.json --bundle flat --deadline 600000";
    let evaluate = "planner evaluate --dataset dataset --model flat --resamples 10 --replays 2";
    let rows = [
        (decide.to_owned(), true),
        (format!("{decide} --isolate never"), false),
        (evaluate.to_owned(), true),
        (format!("{evaluate} --isolate always"), true),
        (format!("{evaluate} --isolate never"), false),
    ];
    for (line, expected) in rows {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(is_apart(&scene, "home", &words, 0), expected, "{line}");
    }
    // The model did decide.
    let answer = run(&scene, &format!("{decide} --explain"));
    answer.expect_code(0);
    assert!(answer.stderr.contains("on rten "), "{}", answer.stderr);
}
