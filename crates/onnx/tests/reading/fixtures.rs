use std::collections::BTreeMap;
use std::path::Path;

use amphora_error::ErrorKind;
use amphora_files::{Directory, RelativePath};
use amphora_onnx::{Dim, Limits, Model, prescan, visit, write};
use bytes::Bytes;
use serde_json::Value;

/// Model file, and where `check.json` of its folder speaks of it.
const MODELS: [(&str, &str); 9] = [
    ("planner_mlp", "model.onnx"),
    ("planner_transformer", "model.onnx"),
    ("planner_urm", "model.onnx"),
    ("planner_urm_conv", "model.onnx"),
    ("conv2d_fsq", "model.onnx"),
    ("resnet_tiny", "model.onnx"),
    ("qwen3_embedding_tiny", "model.onnx"),
    ("qwen3_tiny", "prefill.onnx"),
    ("qwen3_tiny", "decode.onnx"),
];

fn open(path: &Path) -> Model {
    Model::open(path, &Limits::default()).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

#[test]
fn contracts_agree_with_the_recorded_facts() {
    amphora_testing::each(&MODELS, |(folder, file)| {
        let Some(folder) = amphora_testing::fixture(folder) else {
            return Ok(());
        };
        let facts = &json(&folder.join("check.json"))[file];
        let contract = open(&folder.join(file)).contract().unwrap();
        let names = |specs: &[amphora_onnx::TensorSpec]| -> Value {
            specs.iter().map(|spec| spec.name.clone()).collect()
        };
        let found = serde_json::json!({
            "opset": { "ai.onnx": contract.opset },
            "ir_version": contract.ir_version,
            "ops": contract.operators,
            "inputs": names(&contract.inputs),
            "outputs": names(&contract.outputs),
        });
        for (key, value) in found.as_object().unwrap() {
            if facts[key] != *value {
                return Err(format!("{key}: expected {}, found {value}", facts[key]));
            }
        }
        Ok(())
    });
}

const PEER_CONTRACT: &str = r#"
import json, sys, onnx
from onnx import numpy_helper
answer = []
for path in sys.argv[1:]:
    model = onnx.load(path)
    weights = {t.name for t in model.graph.initializer}
    def spec(v):
        t = v.type.tensor_type
        dims = [d.dim_param or (d.dim_value if d.HasField("dim_value") else -1) for d in t.shape.dim]
        name = str(onnx.helper.tensor_dtype_to_np_dtype(t.elem_type))
        return {"name": v.name, "dtype": name, "shape": dims}
    answer.append({
        "inputs": [spec(v) for v in model.graph.input if v.name not in weights],
        "outputs": [spec(v) for v in model.graph.output],
        "parameters": sum(int(numpy_helper.to_array(t).size) for t in model.graph.initializer
                          if numpy_helper.to_array(t).dtype.kind == "f"),
    })
print(json.dumps(answer))
"#;

#[test]
fn contracts_agree_with_the_python_package() {
    let Some(peer) = amphora_testing::peer("onnx", None) else {
        return;
    };
    let paths: Vec<_> = MODELS
        .iter()
        .filter_map(|(folder, file)| Some(amphora_testing::fixture(folder)?.join(file)))
        .collect();
    let arguments: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let theirs: Vec<Value> = serde_json::from_str(&peer.run(PEER_CONTRACT, &arguments)).unwrap();
    let rows: Vec<_> = paths.iter().zip(&theirs).collect();
    amphora_testing::each(&rows, |(path, theirs)| {
        let contract = open(path).contract().unwrap();
        let ours = serde_json::json!({
            "inputs": contract.inputs,
            "outputs": contract.outputs,
            "parameters": contract.parameters,
        });
        if ours == **theirs {
            Ok(())
        } else {
            Err(format!("expected {theirs}\n      found {ours}"))
        }
    });
}

#[test]
fn fixtures_survive_a_round_trip_and_the_visitor_finds_every_tensor() {
    amphora_testing::each(&MODELS, |(folder, file)| {
        let Some(folder) = amphora_testing::fixture(folder) else {
            return Ok(());
        };
        let model = open(&folder.join(file));
        let again = Bytes::from(write::to_bytes(model.proto()));
        let again = Model::from_bytes(again, None, &Limits::default()).unwrap();
        if again.proto() != model.proto() {
            return Err("the second decoding differs".to_owned());
        }
        let census = prescan(model.bytes().unwrap(), model.limits()).unwrap();
        let mut found = 0;
        visit::tensors(model.proto(), &mut |_, _, _| {
            found += 1;
            Ok(())
        })
        .unwrap();
        if found != census.tensors {
            return Err(format!("{found} tensors visited of {}", census.tensors));
        }
        if model.nonfinite_weights() != 0 {
            return Err("weights are not finite".to_owned());
        }
        Ok(())
    });
}

/// The initializers of the main graph by name.
fn weights(model: &Model) -> BTreeMap<String, Bytes> {
    let graph = model.proto().graph.as_ref().unwrap();
    let named = graph.initializer.iter();
    named
        .map(|tensor| {
            (
                tensor.name().to_owned(),
                model.tensor_bytes(tensor).unwrap(),
            )
        })
        .collect()
}

#[test]
fn all_forms_of_external_data_hold_the_same_weights() {
    let Some(folder) = amphora_testing::fixture("external_data") else {
        return;
    };
    let reference = weights(&open(&folder.join("single/model.onnx")));
    assert_eq!(reference.len(), 6);
    let forms = [
        ("single", 0),
        ("one_file", 1),
        ("split", 5),
        ("dynamo_default", 1),
        ("subfolder_aligned", 1),
    ];
    amphora_testing::each(&forms, |(form, files)| {
        let model = open(&folder.join(form).join("model.onnx"));
        let found = model.external_files().len();
        if found != *files {
            return Err(format!("{found} external files"));
        }
        if weights(&model) != reference {
            return Err("the weights differ".to_owned());
        }
        let packed = write::self_contained(&model, "model.onnx.data", 1000).unwrap();
        let data = packed.data.unwrap().to_bytes();
        let external = [("model.onnx.data".to_owned(), data)];
        let again = Model::from_parts(packed.graph, external.into(), &Limits::default()).unwrap();
        if weights(&again) != reference {
            return Err("the rewritten weights differ".to_owned());
        }
        Ok(())
    });
}

#[test]
fn every_model_that_the_python_package_ships_is_read() {
    let Some(peer) = amphora_testing::peer("onnx", None) else {
        return;
    };
    let program = "import glob, os, onnx
root = os.path.dirname(onnx.__file__)
print('\\n'.join(glob.glob(root + '/**/*.onnx', recursive=True)))";
    let answer = peer.run(program, &[]);
    let paths: Vec<_> = answer.lines().map(Path::new).collect();
    assert!(paths.len() > 100, "{} models", paths.len());
    amphora_testing::each(&paths, |path| {
        let model = Model::open(path, &Limits::default()).map_err(|error| format!("{error:?}"))?;
        let census = prescan(model.bytes().unwrap(), model.limits()).unwrap();
        let mut tensors = 0;
        visit::tensors(model.proto(), &mut |_, _, tensor| {
            tensors += 1;
            match model.tensor_bytes(tensor) {
                Err(error) if error.rule() != "string-payload" => Err(error),
                _ => Ok(()),
            }
        })
        .map_err(|error| format!("{error:?}"))?;
        if tensors != census.tensors {
            return Err(format!("{tensors} tensors visited of {}", census.tensors));
        }
        match model.contract() {
            Err(error) if error.rule() != "value-kind" => Err(format!("{error:?}")),
            _ => Ok(()),
        }
    });
}

const PEER_WEIGHTS: &str = r#"
import sys, onnx
from onnx import numpy_helper
onnx.checker.check_model(sys.argv[1])
model = onnx.load(sys.argv[1])
for tensor in model.graph.initializer:
    array = numpy_helper.to_array(tensor)
    print(tensor.name, array.tobytes().hex())
"#;

#[test]
fn the_python_package_reads_what_is_saved() {
    let Some(folder) = amphora_testing::fixture("external_data") else {
        return;
    };
    let Some(peer) = amphora_testing::peer("onnx", None) else {
        return;
    };
    let model = open(&folder.join("subfolder_aligned/model.onnx"));
    let scratch = tempfile::tempdir().unwrap();
    amphora_testing::each(&[false, true], |data_file| {
        let path = scratch.path().join(format!("{data_file}.onnx"));
        write::save(&model, &path, *data_file).unwrap();
        let answer = peer.run(PEER_WEIGHTS, &[path.to_str().unwrap()]);
        let hex = |bytes: &Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let theirs: BTreeMap<_, String> = answer
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(name, bytes)| (name.to_owned(), bytes.to_owned()))
            .collect();
        let ours: BTreeMap<_, String> = weights(&model)
            .iter()
            .map(|(name, bytes)| (name.clone(), hex(bytes)))
            .collect();
        if ours == theirs {
            Ok(())
        } else {
            Err("the weights differ")
        }
    });
}

#[test]
fn a_model_linked_into_a_missing_checkpoint_names_the_file() {
    let Some(folder) = amphora_testing::fixture("minilm") else {
        return;
    };
    let opened = Model::open(&folder.join("model_linked.onnx"), &Limits::default());
    if folder.join("model.safetensors").exists() {
        opened.unwrap();
        return;
    }
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("model.safetensors"), "{error}");
}

#[test]
fn symbols_and_sizes_of_the_planner_are_read() {
    let Some(folder) = amphora_testing::fixture("planner_mlp") else {
        return;
    };
    let contract = open(&folder.join("model.onnx")).contract().unwrap();
    let shape = contract.inputs[0].shape.as_ref().unwrap();
    assert!(
        matches!(&shape[..], [Dim::Symbol(_), Dim::Fixed(_)]),
        "{shape:?}"
    );
}

#[test]
fn a_model_beneath_a_directory_finds_its_data_beside_it() {
    let Some(folder) = amphora_testing::fixture("external_data") else {
        return;
    };
    let directory = Directory::open(&folder).unwrap();
    let path = RelativePath::parse("subfolder_aligned/model.onnx").unwrap();
    let model = Model::open_in(&directory, &path, &Limits::default()).unwrap();
    let locations: Vec<_> = model.external_files().keys().collect();
    assert_eq!(locations, ["weights/all.bin"]);
}

#[test]
fn payloads_are_borrowed_from_the_bytes_of_the_file() {
    let Some(folder) = amphora_testing::fixture("planner_mlp") else {
        return;
    };
    let model = open(&folder.join("model.onnx"));
    let file = model.bytes().unwrap().as_ptr_range();
    for tensor in &model.proto().graph.as_ref().unwrap().initializer {
        let payload = model.tensor_bytes(tensor).unwrap();
        assert!(
            file.contains(&payload.as_ptr()),
            "{} was copied",
            tensor.name()
        );
    }
}
