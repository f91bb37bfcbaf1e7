//! What packing makes, and what damage is named.

use std::path::Path;
use std::process::Command;

use crate::scene::{PACK, Scene};

#[test]
fn the_same_model_gets_the_same_id_on_another_day_in_another_folder() {
    let ids: Vec<String> = ["1700000000", "1800000000"]
        .iter()
        .map(|date| {
            let scene = Scene::new();
            let mut command = scene.command(&[PACK, &["--json"]].concat());
            command.env("SOURCE_DATE_EPOCH", date);
            let answer = scene.answer(command);
            answer.expect_code(0);
            answer.json()["id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn packing_again_leaves_the_bundle_untouched() {
    let (scene, _) = Scene::with_bundle();
    let before = scene.files();
    let answer = scene.run(&[PACK, &["--json"]].concat());
    answer.expect_code(0);
    assert_eq!(answer.json()["existed"], true);
    assert_eq!(before, scene.files());
}

#[test]
fn a_bundle_explains_itself() {
    let (_scene, bundle) = Scene::with_bundle();
    for file in [
        "manifest.yaml",
        "manifest.sha256",
        "config.json",
        "label_map.json",
        "metrics.json",
        "models/model.onnx",
        "contracts/io_contract.json",
        "golden/vectors.safetensors",
        "validation/general_validation.json",
        "validation/onnx_validation.json",
        "validation/validation_report.json",
        "docs/README.md",
    ] {
        assert!(bundle.join(file).is_file(), "{file} is missing");
    }
}

#[test]
fn damage_is_found_and_named() {
    type Damage = fn(&Path);
    let rows: [(&str, &str, Damage); 6] = [
        ("changed", "models/model.onnx", |bundle| {
            flip(&bundle.join("models/model.onnx"))
        }),
        ("changed labels", "label_map.json", |bundle| {
            flip(&bundle.join("label_map.json"))
        }),
        ("missing", "golden/vectors.safetensors", |bundle| {
            std::fs::remove_file(bundle.join("golden/vectors.safetensors")).unwrap();
        }),
        ("unlisted", "extra.txt", |bundle| {
            fs_err::write(bundle.join("extra.txt"), "hello").unwrap();
        }),
        ("manifest", "manifest.yaml", |bundle| {
            flip(&bundle.join("manifest.yaml"))
        }),
        ("digest", "manifest", |bundle| {
            flip(&bundle.join("manifest.sha256"))
        }),
    ];
    amphora_testing::each(&rows, |(_, file, damage)| {
        let (scene, bundle) = Scene::with_bundle();
        damage(&bundle);
        let reference = bundle.to_string_lossy();
        for arguments in [
            vec!["verify", reference.as_ref()],
            vec!["verify", "--all"],
            vec![
                "run",
                reference.as_ref(),
                "--input",
                "imu_input=windows.npy",
            ],
        ] {
            let answer = scene.run(&arguments);
            let named = format!("{}{}", answer.stdout, answer.stderr).contains(file);
            if answer.code != Some(5) || !named {
                return Err(format!("{arguments:?}: {answer:#?}"));
            }
        }
        Ok(())
    });
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(path, bytes).unwrap();
}

#[test]
fn a_bundle_that_does_not_keep_its_golden_vectors_is_not_published() {
    let scene = Scene::with_onnx();
    let run = [
        "run",
        "model.onnx",
        "--input",
        "imu_input=windows.npy",
        "--json",
    ];
    let outputs = scene.run(&run).json()["outputs"].clone();
    for (store, error, code) in [("kept", 0.0, 0), ("broken", 1e-3, 11)] {
        scene.write("golden.safetensors", golden(&scene, &outputs, error));
        let arguments = [
            "pack",
            "--model",
            "model.onnx",
            "--golden",
            "golden.safetensors",
            "--store",
            store,
        ];
        let answer = scene.run(&arguments);
        answer.expect_code(code);
        assert_eq!(
            answer.stderr.contains("'logits'"),
            code == 11,
            "{answer:#?}"
        );
        let listed = scene.run(&["list", "--store", store, "--json"]).json();
        let bundles = listed["bundles"].as_array().unwrap().len();
        assert_eq!(bundles, usize::from(code == 0));
    }
}

/// A safetensors file with the example's windows and the outputs of a run, `error` added to the
/// first logit.
fn golden(scene: &Scene, outputs: &serde_json::Value, error: f32) -> Vec<u8> {
    let windows = std::fs::read(scene.path("windows.npy")).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([windows[8], windows[9]]));
    let values = |name: &str| outputs[name]["data"].as_array().unwrap().clone();
    let floats = |name: &str, error: f32| -> Vec<u8> {
        let mut floats: Vec<f32> = values(name)
            .iter()
            .map(|v| v.as_f64().unwrap() as f32)
            .collect();
        floats[0] += error;
        floats
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    };
    let codes = values("behavioral_codes");
    let codes = codes
        .iter()
        .flat_map(|v| v.as_i64().unwrap().to_le_bytes())
        .collect();
    let tensors = [
        (
            "imu_input",
            "F32",
            vec![4, 9, 2, 100],
            windows[header..].to_vec(),
        ),
        ("behavioral_codes", "I64", vec![4], codes),
        ("confidence", "F32", vec![4], floats("confidence", 0.0)),
        ("logits", "F32", vec![4, 4], floats("logits", error)),
    ];
    let mut entries = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend(bytes);
        let entry = serde_json::json!({
            "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()],
        });
        entries.insert(name.to_owned(), entry);
    }
    let header = serde_json::Value::Object(entries).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.into_bytes());
    file.extend(data);
    file
}

#[test]
fn archives_are_reproducible_and_come_back_whole() {
    let (scene, _) = Scene::with_bundle();
    for format in ["zip", "tar", "tar.gz", "tar.zst"] {
        let (one, two) = (format!("1.{format}"), format!("2.{format}"));
        for output in [&one, &two] {
            let arguments = [
                "archive",
                "conv2d_fsq",
                "--format",
                format,
                "--output",
                output,
            ];
            scene.run(&arguments).expect_code(0);
        }
        let read = |name: &str| std::fs::read(scene.path(name)).unwrap();
        assert_eq!(read(&one), read(&two), "{format}");
        let store = format!("from-{format}");
        scene
            .run(&["import", &one, "--store", &store])
            .expect_code(0);
        scene
            .run(&["verify", "conv2d_fsq", "--store", &store])
            .expect_code(0);
    }
}

#[test]
fn a_yaml_configuration_is_understood_and_kept_verbatim() {
    let scene = Scene::new();
    let yaml = "# the example\nmodel_type: conv2d_fsq\ninput_shape: [batch, 9, 2, 100]\nfsq_levels: [8, 6, 5]\nfsq_eps: 0.001\nn_classes: 4\n";
    scene.write("config.yaml", yaml);
    let arguments = [
        "pack",
        "--model",
        "model.pt",
        "--config",
        "config.yaml",
        "--golden-cases",
        "5",
        "--json",
    ];
    let answer = scene.run(&arguments);
    answer.expect_code(0);
    let bundle = scene.path(answer.json()["path"].as_str().unwrap());
    assert_eq!(
        std::fs::read_to_string(bundle.join("config.yaml")).unwrap(),
        yaml
    );
}

#[test]
fn a_calibration_in_the_bundle_scales_the_logits_it_names() {
    let scene = Scene::new();
    scene.write(
        "calibration.json",
        r#"{"method": "temperature_scaling", "temperature": {"logits": 2.0}}"#,
    );
    let input = "imu_input=windows.npy";
    let logits = |arguments: &[&str]| -> Vec<f32> {
        let answer = scene.run(arguments);
        answer.expect_code(0);
        let value = answer.json()["outputs"]["logits"]["data"].clone();
        serde_json::from_value(value).unwrap()
    };
    scene
        .run(&[PACK, &["--name", "plain"]].concat())
        .expect_code(0);
    let calibrated = [
        PACK,
        &["--name", "scaled", "--calibration", "calibration.json"],
    ]
    .concat();
    scene.run(&calibrated).expect_code(0);
    let plain = logits(&["run", "plain", "--input", input, "--json"]);
    let scaled = logits(&["run", "scaled", "--input", input, "--json", "--verify"]);
    let halves: Vec<f32> = plain.iter().map(|logit| logit / 2.0).collect();
    assert_eq!(halves, scaled);
}

#[test]
fn linked_weights_stay_in_the_checkpoint() {
    let Some(checkpoint) = amphora_testing::fixture("planner_mlp/model.safetensors") else {
        return;
    };
    let scene = Scene::new();
    std::fs::copy(&checkpoint, scene.path("weights.safetensors")).unwrap();
    let config = checkpoint.with_file_name("config.json");
    let arguments = [
        "export",
        "weights.safetensors",
        "--config",
        config.to_str().unwrap(),
        "-o",
        "linked.onnx",
        "--link",
        "--json",
    ];
    let answer = scene.run(&arguments);
    answer.expect_code(0);
    let value = &answer.json()["graphs"][0];
    assert_eq!(
        value["external_files"],
        serde_json::json!(["weights.safetensors"])
    );
    assert!(value["size"].as_u64().unwrap() < 20_000, "{value}");
    // A bundle of it holds its own data.
    scene
        .run(&["pack", "--model", "linked.onnx", "--golden-cases", "3"])
        .expect_code(0);
    std::fs::remove_file(scene.path("weights.safetensors")).unwrap();
    scene.run(&["verify", "linked"]).expect_code(0);
    scene.run(&["inspect", "linked.onnx"]).expect_code(6);
}

#[test]
fn outputs_go_where_they_are_asked_to() {
    let scene = Scene::with_onnx();
    scene.run(PACK).expect_code(0);
    scene
        .run(&["archive", "conv2d_fsq", "--output", "x.tar.gz"])
        .expect_code(0);
    let archive = std::fs::read(scene.path("x.tar.gz")).unwrap();
    assert!(archive.starts_with(&[0x1f, 0x8b]), "not gzip");
    scene
        .run(&["verify", "conv2d_fsq", "--report", "new/reports"])
        .expect_code(0);
    assert!(scene.path("new/reports/general_validation.json").is_file());
    scene
        .run(&["contract", "model.onnx", "--out", "new/contracts"])
        .expect_code(0);
    let contract = scene.path("new/contracts/io_contract_model.json");
    assert!(contract.is_file());
    // A name that is there, but is no bundle, says what it is.
    let answer = scene.run(&["verify", "x.tar.gz"]);
    answer.expect_code(6);
    assert!(
        answer.stderr.contains("amphora import x.tar.gz"),
        "{answer:?}"
    );
}

#[test]
fn a_model_check_that_was_not_reached_has_no_outcome() {
    let (scene, bundle) = Scene::with_bundle();
    fs_err::write(bundle.join("README.txt"), "more").unwrap();
    let answer = scene.run(&["verify", "conv2d_fsq", "--json"]);
    answer.expect_code(5);
    let value = answer.json();
    assert_eq!(value["passed"], false);
    assert!(value["onnx_check"].is_null(), "{value}");
}

#[test]
fn strict_verification_answers_as_it_exits() {
    let scene = Scene::with_onnx();
    scene
        .run(&["pack", "--model", "model.onnx", "--golden-cases", "3"])
        .expect_code(0);
    let answer = scene.run(&["verify", "model", "--json"]);
    answer.expect_code(0);
    assert_ne!(answer.json()["warnings"], serde_json::json!([]));
    let answer = scene.run(&["verify", "model", "--strict", "--json"]);
    answer.expect_code(12);
    let value = answer.json();
    assert_eq!(value["passed"], false);
    assert!(value["errors"].to_string().contains("metrics"), "{value}");
    let value = scene.run(&["verify", "--all", "--strict", "--json"]).json();
    assert_eq!(value["passed"], false);
    assert_eq!(value["bundles"][0]["identity"]["name"], "model");
    assert_eq!(value["bundles"][0]["report"]["passed"], false);
}

#[test]
fn verify_and_run_open_each_file_of_a_bundle_once() {
    if Command::new("strace").arg("-V").output().is_err() {
        return amphora_testing::skip("strace is absent");
    }
    let (scene, bundle) = Scene::with_bundle();
    let bundle = bundle.to_string_lossy();
    let rows = [
        ("verify", vec!["verify", &bundle]),
        (
            "run",
            vec!["run", &bundle, "--input", "imu_input=windows.npy"],
        ),
    ];
    amphora_testing::each(&rows, |(name, arguments)| {
        let amphora = scene.command(arguments);
        let log = scene.path(name);
        let mut traced = Command::new("strace");
        traced
            .args(["-f", "-e", "trace=open,openat,openat2", "-o"])
            .arg(&log)
            .arg(amphora.get_program())
            .args(arguments)
            .current_dir(scene.path(""))
            .env("AMPHORA_HOME", scene.path(".local/share/amphora"));
        scene.answer(traced).expect_code(0);
        let trace = fs_err::read_to_string(&log).map_err(|error| error.to_string())?;
        for file in ["model.onnx", "vectors.safetensors", "label_map.json"] {
            let opened = trace
                .lines()
                .filter(|line| line.contains(file) && !line.contains(" = -1 "));
            if opened.count() != 1 {
                return Err(format!("{file} was not opened once:\n{trace}"));
            }
        }
        Ok(())
    });
}
