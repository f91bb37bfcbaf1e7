//! What the steps and labels of a package make of its outputs, before it is a bundle and after.

use amphora::{PackRequest, Store, Subject, Timestamp};
use amphora_onnx::{Dim, Dtype};
use amphora_testing::each;
use serde_json::{Value, json};

use crate::proof::import;
use crate::scene::{Scene, io, open};

const VALUES: &str = "[[1, 3, 3], [0.25, 0.75, 0]]";

/// A package that gives back its input, three numbers for each row.
fn classifier(steps: &str, config: &Value) -> Scene {
    let shape = [open("batch"), Dim::Fixed(3)];
    let input = "{name: x, dtype: float32, shape: [-1, 3]}".to_owned();
    let io = io(&[input]).replace(
        "float32, shape: [-1, -1]}",
        &format!("float32, shape: [-1, 3], postprocessing: {steps}}}"),
    );
    let scene = Scene::new(&io).with_graph(&[("x", Dtype::Float32, &shape)], &shape);
    scene.write("config.json", config.to_string());
    scene
}

/// What `run` answers besides the outputs themselves.
fn answered(scene: &Scene, subject: Subject) -> Result<Value, String> {
    let inputs = [("x", VALUES)];
    let answer = scene.run_subject(subject, &inputs, amphora_runtime::EngineChoice::Rten);
    let answer = answer.map_err(|error| error.to_string())?;
    let mut value = serde_json::to_value(&answer).unwrap();
    let object = value.as_object_mut().unwrap();
    object.remove("bundle");
    Ok(value)
}

fn bundle(path: &std::path::Path) -> Subject {
    Subject::Bundle(Box::new(amphora::open(path).unwrap()))
}

fn names(answer: &Value) -> Vec<Vec<String>> {
    let rows = answer["labels"]["logits"].as_array();
    let name = |label: &Value| label["label"].as_str().unwrap().to_owned();
    let row = |row: &Value| row.as_array().unwrap().iter().map(name).collect();
    rows.into_iter().flatten().map(row).collect()
}

#[test]
fn a_package_and_its_bundle_name_the_same_classes() {
    let labels = json!({"0": "no", "1": "maybe", "2": "yes"});
    let config = json!({"id2label": labels});
    let many = json!({"id2label": labels, "problem_type": "multi_label_classification"});
    let rows: [(&str, &Value, &[&[&str]]); 6] = [
        (
            "[{type: softmax}, {type: labels}]",
            &config,
            &[&["maybe", "yes", "no"], &["maybe", "no", "yes"]],
        ),
        (
            "[{type: softmax, temperature: 2.0}, {type: labels, top_k: 2}]",
            &config,
            &[&["maybe", "yes"], &["maybe", "no"]],
        ),
        ("[{type: argmax}]", &config, &[]),
        (
            "[]",
            &config,
            &[&["maybe", "yes", "no"], &["maybe", "no", "yes"]],
        ),
        // Several may hold at once: no softmax makes probabilities of these.
        ("[]", &many, &[]),
        (
            "[{type: softmax}, {type: labels, top_k: 1}]",
            &many,
            &[&["maybe"], &["maybe"]],
        ),
    ];
    each(&rows, |(steps, config, expected)| {
        let scene = classifier(steps, config);
        let before = answered(&scene, scene.subject().unwrap())?;
        let packed = import(&scene, scene.path()).map_err(|error| error.to_string())?;
        let after = answered(&scene, bundle(&packed.path))?;
        match names(&before) == *expected && before == after {
            true => Ok(()),
            false => Err(format!("{before}\n{after}")),
        }
    });
}

#[test]
fn steps_that_no_run_could_take_are_not_sealed() {
    let two = json!({"id2label": {"0": "no", "1": "yes"}});
    let three = json!({"id2label": {"0": "no", "1": "maybe", "2": "yes"}});
    let rows = [
        (
            "[{type: softmax}, {type: labels}]",
            &two,
            "expected 3 labels, found 2 labels",
        ),
        (
            "[{type: softmax}, {type: labels}]",
            &json!({}),
            "assets.labels names no file",
        ),
        (
            "[{type: pooling, mode: mean}]",
            &three,
            "pooling needs the shape",
        ),
        (
            "[{type: argmax}, {type: softmax}]",
            &three,
            "softmax cannot follow argmax",
        ),
        (
            "[{type: softmax, temperature: 0.0}]",
            &three,
            "temperature 0 is not positive",
        ),
    ];
    each(&rows, |(steps, config, fault)| {
        let scene = classifier(steps, config);
        match import(&scene, scene.path()) {
            Err(error) if error.to_string().contains(fault) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_directory_whose_labels_may_hold_at_once_names_no_class() {
    let labels = json!({"0": "no", "1": "maybe", "2": "yes"});
    let rows = [
        (json!({"id2label": labels}), 2),
        (
            json!({"id2label": labels, "problem_type": "single_label_classification"}),
            2,
        ),
        (
            json!({"id2label": labels, "problem_type": "multi_label_classification"}),
            0,
        ),
        (json!({"id2label": labels, "problem_type": "regression"}), 0),
    ];
    each(&rows, |(config, named)| {
        let scene = classifier("[]", config);
        fs_err::remove_file(scene.path().join("manifest.yaml")).unwrap();
        let store = Store::open(scene.path().join("artifacts")).unwrap();
        let date = Timestamp::from_unix_seconds(0).unwrap();
        let request = || PackRequest {
            golden_cases: 3,
            name: Some("classes".to_owned()),
            ..PackRequest::new(store.clone(), scene.path(), date.clone())
        };
        let packed = amphora::pack(&request(), &|_| {}).map_err(|error| error.to_string())?;
        let answer = answered(&scene, bundle(&packed.path))?;
        if names(&answer).len() != *named {
            return Err(answer.to_string());
        }
        // Nobody can say otherwise.
        scene.write("labels.json", labels.to_string());
        let told = PackRequest {
            labels: Some(scene.path().join("labels.json")),
            ..request()
        };
        match (amphora::pack(&told, &|_| {}), *named) {
            (Ok(_), 2) => Ok(()),
            (Err(error), 0) if error.rule() == "labels-of-many" => Ok(()),
            (other, _) => Err(format!("{other:?}")),
        }
    });
}
