//! The documentation inside a bundle names what is really there, and its examples run.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;

use amphora_bundle::{Bundle, Details, MAIN_GRAPH};
use amphora_onnx::{Contract, Dim, Dtype, Limits, Model, TensorSpec};
use support::{details, path, store};

fn docs(bundle: &Bundle, name: &str) -> String {
    let bytes = bundle.read(&path(&format!("docs/{name}"))).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn plain(name: &str) -> Details {
    let mut details = details(name, "1.0.0", 0);
    details.assets = Default::default();
    details
}

/// Every fenced block of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    text.split("```")
        .filter_map(|block| block.strip_prefix(&format!("{language}\n")))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_python_example_of_a_real_model_runs_and_names_its_outputs() {
    let fixtures = [
        "conv2d_fsq/model.onnx",
        "planner_mlp/model.onnx",
        "planner_transformer/model.onnx",
    ];
    let Some(peer) = amphora_testing::peer("onnxruntime", None) else {
        return;
    };
    let rows: Vec<_> = fixtures
        .into_iter()
        .filter_map(amphora_testing::fixture)
        .collect();
    amphora_testing::each(&rows, |file| {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        let model = Model::open(file, &Limits::default()).map_err(|e| e.to_string())?;
        let contract = model.contract().map_err(|e| e.to_string())?;
        let bytes = model.bytes().unwrap().clone();
        let mut draft = store.draft().unwrap();
        draft
            .add_graph(MAIN_GRAPH, "single", &bytes, &BTreeMap::new(), &contract)
            .unwrap();
        let published = draft.seal(plain("demo")).unwrap().publish().unwrap();
        let bundle = Bundle::open(&published.path).unwrap();
        let programs = blocks(&docs(&bundle, "api_reference.md"), "python");
        let program = format!(
            "import os\nos.chdir({})\n{}",
            serde_json::json!(published.path),
            programs[0]
        );
        let printed = peer.run(&program, &[]);
        let names: Vec<&str> = printed
            .lines()
            .filter_map(|l| l.split(' ').next())
            .collect();
        let outputs: Vec<&str> = contract.outputs.iter().map(|o| o.name.as_str()).collect();
        if names == outputs {
            Ok(())
        } else {
            Err(format!("{printed} for {outputs:?}"))
        }
    });
}

#[test]
fn example_inputs_have_the_shape_of_the_contract() {
    let scratch = tempfile::tempdir().unwrap();
    let store = store(scratch.path());
    let spec = |name: &str, dtype, dims: &[Dim]| TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Some(dims.to_vec()),
    };
    let batch = || Dim::Symbol("batch".to_owned());
    let contract = Contract {
        inputs: vec![
            spec(
                "imu input",
                Dtype::Float32,
                &[batch(), Dim::Fixed(9), Dim::Fixed(100)],
            ),
            spec(
                "it's",
                Dtype::Int64,
                &[batch(), Dim::Symbol("length".to_owned())],
            ),
            spec("flag", Dtype::Bool, &[]),
            spec(
                "image",
                Dtype::Float32,
                &[
                    Dim::Unknown,
                    Dim::Fixed(3),
                    Dim::Fixed(224),
                    Dim::Fixed(224),
                ],
            ),
            spec(
                "nothing",
                Dtype::Float32,
                &[Dim::Fixed(1 << 40), Dim::Fixed(0)],
            ),
        ],
        outputs: vec![spec("a|b`c", Dtype::Float32, &[batch()])],
        opset: 17,
        other_opsets: BTreeMap::new(),
        ir_version: 8,
        operators: BTreeMap::new(),
        parameters: 7,
    };
    let mut draft = store.draft().unwrap();
    draft
        .add_graph(MAIN_GRAPH, "single", b"onnx", &BTreeMap::new(), &contract)
        .unwrap();
    let published = draft.seal(plain("space/demo")).unwrap().publish().unwrap();
    let bundle = Bundle::open(&published.path).unwrap();
    let readme = docs(&bundle, "README.md");
    let expected = [
        "# space/demo 1.0.0",
        "--input 'imu input=@docs/examples/model_input_0.json'",
        r"--input 'it'\''s=[[1,1,1,1]]'",
        "--input 'flag=true'",
        "--input 'image=model_input_3.npy'",
        "float32 of shape (1, 3, 224, 224)",
        "`a\\|b'c`",
        "| parameters | 7 |",
    ];
    for part in expected {
        assert!(readme.contains(part), "{part} is absent from\n{readme}");
    }
    let file = bundle
        .read(&path("docs/examples/model_input_0.json"))
        .unwrap();
    let value: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let lengths = [&value, &value[0], &value[0][0]].map(|v| v.as_array().unwrap().len());
    assert_eq!(lengths, [1, 9, 100]);
    let guide = docs(&bundle, "deployment_guide.md");
    assert!(guide.contains(&format!("amphora import {}.tar.gz", published.exp_hash)));
    assert!(guide.contains("ONNX Runtime 1.16.0 or newer"));
    assert!(docs(&bundle, "api_reference.md").contains("opset 17"));
}
