//! Bad input to each command gives the documented kind and exit code.

use crate::scene::{PACK, Scene};

/// Command line, kind and exit code.
type Row = (&'static str, &'static str, i32);

/// Every row of the table, all in one directory; `words` are separated by spaces.
const ROWS: &[Row] = &[
    // A file that is not there.
    (
        "export nothing.pt --config config.json -o x.onnx",
        "not_found",
        6,
    ),
    (
        "export model.pt --config nothing.json -o x.onnx",
        "not_found",
        6,
    ),
    ("pack --model nothing.onnx", "not_found", 6),
    (
        "pack --model model.pt --config nothing.json",
        "not_found",
        6,
    ),
    (
        "pack --model model.onnx --labels nothing.json",
        "not_found",
        6,
    ),
    (
        "pack --model model.onnx --metrics nothing.json",
        "not_found",
        6,
    ),
    (
        "pack --model model.onnx --calibration nothing.json",
        "not_found",
        6,
    ),
    (
        "pack --model model.onnx --golden nothing.npz",
        "not_found",
        6,
    ),
    (
        "pack --model model.onnx --asset nothing.txt",
        "not_found",
        6,
    ),
    ("inspect nothing.onnx", "not_found", 6),
    ("run nothing.onnx", "not_found", 6),
    (
        "run model.onnx --input imu_input=nothing.npy",
        "not_found",
        6,
    ),
    (
        "run model.onnx --input imu_input=@nothing.json",
        "not_found",
        6,
    ),
    ("contract nothing.onnx", "not_found", 6),
    ("contract model.onnx --check nothing.json", "not_found", 6),
    ("import nothing.zip", "not_found", 6),
    // A name that nothing has.
    ("inspect nothing", "not_found", 6),
    ("verify nothing", "not_found", 6),
    ("verify nothing:1.0.0", "not_found", 6),
    ("verify 0123456789ab", "not_found", 6),
    ("run nothing", "not_found", 6),
    ("compare nothing conv2d_fsq", "not_found", 6),
    ("archive nothing", "not_found", 6),
    ("remove nothing", "not_found", 6),
    ("schema nothing", "not_found", 6),
    // A directory in the place of a file, and a file in the place of a directory.
    (
        "export folder --config config.json -o x.onnx",
        "not_found",
        6,
    ),
    ("export model.pt --config folder -o x.onnx", "malformed", 3),
    ("pack --model folder", "not_found", 6),
    ("pack --model model.onnx --labels folder", "malformed", 3),
    ("run model.onnx --input imu_input=@folder", "malformed", 3),
    ("inspect ./folder", "not_found", 6),
    ("verify ./folder", "not_found", 6),
    ("verify ./config.json", "malformed", 3),
    ("contract folder", "not_found", 6),
    ("import folder", "not_found", 6),
    // An empty file.
    (
        "export empty --config config.json -o x.onnx",
        "malformed",
        3,
    ),
    ("export model.pt --config empty -o x.onnx", "malformed", 3),
    ("pack --model empty", "malformed", 3),
    ("pack --model model.onnx --labels empty", "malformed", 3),
    ("pack --model model.onnx --metrics empty", "malformed", 3),
    (
        "pack --model model.onnx --calibration empty",
        "malformed",
        3,
    ),
    ("pack --model model.onnx --golden empty", "malformed", 3),
    ("inspect empty", "malformed", 3),
    ("run empty", "malformed", 3),
    ("run model.onnx --input imu_input=@empty", "malformed", 3),
    ("contract empty", "malformed", 3),
    ("contract model.onnx --check empty", "malformed", 3),
    ("import empty", "malformed", 3),
    // Another format.
    (
        "export windows.npy --config config.json -o x.onnx",
        "malformed",
        3,
    ),
    ("pack --model windows.npy", "malformed", 3),
    ("pack --model config.json", "malformed", 3),
    (
        "pack --model model.onnx --golden config.json",
        "malformed",
        3,
    ),
    ("inspect config.json", "malformed", 3),
    ("run config.json", "malformed", 3),
    ("contract config.json", "malformed", 3),
    ("import config.json", "malformed", 3),
    // A file that was cut.
    (
        "export cut.pt --config config.json -o x.onnx",
        "malformed",
        3,
    ),
    ("pack --model cut.onnx", "malformed", 3),
    ("inspect cut.onnx", "malformed", 3),
    ("run cut.onnx", "malformed", 3),
    ("contract cut.onnx", "malformed", 3),
    ("import cut.zip", "malformed", 3),
    ("run model.onnx --input imu_input=cut.npy", "malformed", 3),
    // A configuration of something else, or of nothing.
    (
        "export model.pt --config labels.json -o x.onnx",
        "malformed",
        3,
    ),
    (
        "export model.pt --config unknown.json -o x.onnx",
        "unsupported",
        10,
    ),
    (
        "export model.pt --config mlp.json -o x.onnx",
        "incompatible",
        12,
    ),
    ("export model.pt -o x.onnx", "usage", 2),
    ("pack --model model.pt", "usage", 2),
    (
        "pack --model model.pt --config mlp.json",
        "incompatible",
        12,
    ),
    ("pack --model model.pt --config twice.json", "malformed", 3),
    (
        "pack --model model.onnx --calibration heads.json",
        "incompatible",
        12,
    ),
    ("pack --model model.onnx --labels gap.json", "malformed", 3),
    // Another shape, dtype or name than the graph takes.
    ("run model.onnx", "usage", 2),
    ("run model.onnx --input imu_input=[[1,2]]", "usage", 2),
    ("run model.onnx --input other=[1]", "usage", 2),
    ("run model.onnx --input imu_input=[[true]]", "usage", 2),
    ("run model.onnx --input imu_input", "usage", 2),
    ("run model.onnx --input imu_input=word", "usage", 2),
    (
        "run model.onnx --input imu_input=[1] --input imu_input=[1]",
        "usage",
        2,
    ),
    // Requests that make no sense, or that this release does not serve.
    ("frobnicate", "usage", 2),
    ("pack", "usage", 2),
    ("pack model.onnx --model model.onnx", "usage", 2),
    ("pack --model model.onnx --version one", "usage", 2),
    ("pack --model model.onnx --name ../up", "usage", 2),
    ("pack --model model.onnx --git-sha xyz", "usage", 2),
    ("pack --model model.onnx --golden-cases 0", "usage", 2),
    ("pack --model model.onnx --keep-checkpoint", "usage", 2),
    ("pack --model model.onnx --target ios", "unsupported", 10),
    (
        "pack --model model.onnx --target onnx,hailo",
        "unsupported",
        10,
    ),
    ("pack --model model.onnx --target vax", "usage", 2),
    ("pack --model model.onnx --engine torch", "usage", 2),
    (
        "export model.pt --config config.json -o x.onnx --opset 5",
        "unsupported",
        10,
    ),
    (
        "export model.pt --config config.json -o x.onnx --link",
        "unsupported",
        10,
    ),
    ("export model.pt --config config.json -o folder", "usage", 2),
    ("clean --keep -1", "usage", 2),
    ("clean --keep 99999999999999999999", "usage", 2),
    ("export model.pt -o x.onnx --opset -1", "usage", 2),
    ("archive conv2d_fsq --format rar", "usage", 2),
    ("archive conv2d_fsq --format zip --output x.tar", "usage", 2),
    ("completions klingon", "usage", 2),
    // An output that would destroy an input, or a bundle.
    (
        "export model.pt --config config.json -o model.pt",
        "usage",
        2,
    ),
    (
        "export model.pt --config config.json -o ./folder/../config.json",
        "usage",
        2,
    ),
    (
        "export weights.onnx.data --config config.json -o weights.onnx --external-data",
        "usage",
        2,
    ),
    (
        "export model.pt --config config.json -o sealed/models/x.onnx",
        "usage",
        2,
    ),
    ("archive conv2d_fsq --output sealed/x.zip", "usage", 2),
    ("contract model.onnx --out sealed/new", "usage", 2),
    ("contract sealed/models", "usage", 2),
    (
        "compare conv2d_fsq conv2d_fsq --output sealed/x.md",
        "usage",
        2,
    ),
    ("verify conv2d_fsq --report sealed/docs", "usage", 2),
    ("verify conv2d_fsq --report empty", "io", 8),
    // A path that is there, but no bundle.
    ("verify folder", "not_found", 6),
    ("verify whole.zip", "not_found", 6),
    ("verify config.json", "not_found", 6),
    ("verify", "usage", 2),
    ("verify conv2d_fsq --all", "usage", 2),
    ("verify conv2d_fsq --target ios", "not_ready", 13),
    ("verify conv2d_fsq --target hailo", "not_ready", 13),
    ("compare conv2d_fsq conv", "not_found", 6),
];

#[test]
fn every_bad_input_has_its_kind_and_exit_code() {
    let scene = Scene::with_onnx();
    scene.run(PACK).expect_code(0);
    std::fs::create_dir(scene.path("folder")).unwrap();
    scene.write("empty", "");
    scene.write(
        "twice.json",
        r#"{"model_type": "mlp", "model_type": "mlp"}"#,
    );
    scene.write("unknown.json", r#"{"model_type": "perceiver"}"#);
    scene.write(
        "heads.json",
        r#"{"method": "temperature_scaling", "temperature": {"x": 1.0}}"#,
    );
    scene.write("gap.json", r#"{"0": "a", "2": "b"}"#);
    scene.write(
        "mlp.json",
        r#"{"model_type": "mlp", "d_in": 4, "hidden_sizes": [4], "heads": {"a": 2}}"#,
    );
    scene
        .run(&["archive", "conv2d_fsq", "--output", "whole.zip"])
        .expect_code(0);
    for (whole, cut) in [
        ("model.pt", "cut.pt"),
        ("model.onnx", "cut.onnx"),
        ("whole.zip", "cut.zip"),
        ("windows.npy", "cut.npy"),
    ] {
        let bytes = std::fs::read(scene.path(whole)).unwrap();
        scene.write(cut, &bytes[..bytes.len() / 2]);
    }
    std::fs::copy(scene.path("model.pt"), scene.path("weights.onnx.data")).unwrap();
    let packed = scene.run(&["inspect", "conv2d_fsq", "--json"]).json();
    let bundle = scene.path(packed["path"].as_str().unwrap());
    std::os::unix::fs::symlink(bundle, scene.path("sealed")).unwrap();
    let before = scene.files();
    amphora_testing::each(ROWS, |(line, kind, code)| {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.push("--json");
        let answer = scene.run(&words);
        if answer.code != Some(*code) {
            return Err(format!("{answer:#?}"));
        }
        let value = answer.json();
        // A verification that ends with no carries its verdict in its own report.
        let carried = value["passed"] == serde_json::Value::Bool(false);
        if carried || value["error"]["kind"] == *kind {
            Ok(())
        } else {
            Err(format!("{answer:#?}"))
        }
    });
    assert_eq!(
        before,
        scene.files(),
        "a refused command left something behind"
    );
}
