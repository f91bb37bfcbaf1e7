//! Each command, succeeding and failing. `INSTA_UPDATE=always` writes the snapshots anew.

use crate::scene::{PACK, Scene};

/// Asserts that what the user sees is what it was; digests, times and versions are replaced.
macro_rules! assert_seen {
    ($name:literal, $scene:expr, $arguments:expr) => {{
        let scene: &Scene = &$scene;
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        let root = scene
            .path("")
            .to_string_lossy()
            .trim_end_matches('/')
            .to_owned();
        settings.add_filter(&regex_escape(&root), "[SCRATCH]");
        settings.add_filter(r"\b[0-9a-f]{64}\b", "[DIGEST]");
        settings.add_filter(r"\b[0-9a-f]{12}\b", "[HASH]");
        settings.add_filter(r"\b\d+\.\d{3} s\b", "[TIME]");
        settings.add_filter(r"\d\.\de-?\d+", "[SMALL]");
        settings.add_filter(r"\b0\.\d+\.\d+\b", "[VERSION]");
        settings.add_filter(r"\d+\.\d+ [kKM]B\b", "[SIZE]");
        settings.add_filter(r"x86_64-linux|aarch64-linux|aarch64-macos", "[PLATFORM]");
        settings.bind(|| insta::assert_snapshot!($name, scene.snapshot($arguments)));
    }};
}

fn regex_escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c.is_ascii_alphanumeric() || c == '/' {
            true => vec![c],
            false => vec!['\\', c],
        })
        .collect()
}

#[test]
fn help() {
    let scene = Scene::new();
    assert_seen!("help", scene, &["--help"]);
    assert_seen!("help_pack", scene, &["pack", "--help"]);
    let typed = scene.run(&["help", "pack"]);
    assert_eq!(typed.stdout, scene.run(&["pack", "--help"]).stdout);
    assert_seen!("no_command", scene, &[] as &[&str]);
    assert_seen!("unknown_command", scene, &["pakc"]);
    assert_seen!("unknown_flag", scene, &["pack", "--modle", "x"]);
}

#[test]
fn export() {
    let scene = Scene::new();
    let ok = [
        "export",
        "model.pt",
        "--config",
        "config.json",
        "-o",
        "model.onnx",
    ];
    assert_seen!("export", scene, &ok);
    let missing = [
        "export",
        "nothing.pt",
        "--config",
        "config.json",
        "-o",
        "x.onnx",
    ];
    assert_seen!("export_missing", scene, &missing);
    assert_seen!(
        "export_no_config",
        scene,
        &["export", "model.pt", "-o", "x.onnx"]
    );
}

#[test]
fn export_of_a_language_model() {
    let Some(folder) = amphora_testing::fixture("gpt2_tiny") else {
        return;
    };
    let scene = Scene::new();
    fs_err::create_dir(scene.path("gpt2")).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs_err::copy(folder.join(name), scene.path("gpt2").join(name)).unwrap();
    }
    let ok = ["export", "gpt2", "-o", "graphs", "--external-data"];
    assert_seen!("export_language_model", scene, &ok);
    let file = ["export", "gpt2", "-o", "model.onnx"];
    assert_seen!("export_language_model_to_a_file", scene, &file);
    let answer = scene.run(&["export", "gpt2", "-o", "gpt2", "--link", "--json"]);
    answer.expect_code(0);
    let graphs = answer.json()["graphs"].as_array().unwrap().clone();
    let roles: Vec<_> = graphs.iter().map(|graph| &graph["role"]).collect();
    assert_eq!(roles, ["prefill", "decode"]);
    for graph in graphs {
        assert_eq!(
            graph["external_files"],
            serde_json::json!(["model.safetensors"])
        );
    }
}

#[test]
fn pack_inspect_verify_run_list_remove() {
    let scene = Scene::new();
    assert_seen!("pack", scene, PACK);
    assert_seen!("pack_again", scene, PACK);
    assert_seen!("inspect", scene, &["inspect", "conv2d_fsq"]);
    assert_seen!(
        "verify",
        scene,
        &["verify", "conv2d_fsq", "--target", "onnx"]
    );
    assert_seen!("verify_all", scene, &["verify", "--all"]);
    let run = [
        "run",
        "conv2d_fsq:0.1.0",
        "--input",
        "imu_input=windows.npy",
    ];
    assert_seen!("run", scene, &run);
    assert_seen!("list", scene, &["list"]);
    assert_seen!("list_verbose", scene, &["list", "--verbose"]);
    assert_seen!(
        "archive",
        scene,
        &["archive", "conv2d_fsq", "--output", "b.zip"]
    );
    assert_seen!("import", scene, &["import", "b.zip", "--store", "other"]);
    assert_seen!(
        "compare_same",
        scene,
        &["compare", "conv2d_fsq", "conv2d_fsq"]
    );
    assert_seen!("clean", scene, &["clean", "--keep", "0", "--dry-run"]);
    assert_seen!("remove", scene, &["remove", "conv2d_fsq"]);
    assert_seen!("list_empty", scene, &["list"]);
}

#[test]
fn compare_different() {
    let scene = Scene::new();
    scene.run(PACK).expect_code(0);
    scene
        .run(&[PACK, &["--version", "0.2.0"]].concat())
        .expect_code(0);
    let arguments = ["compare", "conv2d_fsq:0.1.0", "conv2d_fsq:0.2.0"];
    assert_seen!("compare_different", scene, &arguments);
}

#[test]
fn failures() {
    let scene = Scene::with_onnx();
    assert_seen!(
        "pack_target_ios",
        scene,
        &["pack", "--model", "model.onnx", "--target", "ios"]
    );
    assert_seen!(
        "pack_wrong_config",
        scene,
        &["pack", "--model", "model.pt", "--config", "labels.json"]
    );
    assert_seen!("inspect_missing", scene, &["inspect", "nothing.onnx"]);
    assert_seen!("verify_unknown", scene, &["verify", "nothing"]);
    assert_seen!(
        "run_inputs",
        scene,
        &["run", "model.onnx", "--input", "imu=[1]"]
    );
    assert_seen!("contract_missing", scene, &["contract", "nothing.onnx"]);
    assert_seen!("archive_unknown", scene, &["archive", "nothing"]);
    assert_seen!("import_not_an_archive", scene, &["import", "config.json"]);
    assert_seen!("remove_unknown", scene, &["remove", "nothing"]);
    assert_seen!("schema_unknown", scene, &["schema", "nothing"]);
    assert_seen!("json_error", scene, &["inspect", "nothing.onnx", "--json"]);
    assert_seen!("clean_keep", scene, &["clean", "--keep", "-1"]);
}

#[test]
fn contract() {
    let scene = Scene::with_onnx();
    assert_seen!("contract", scene, &["contract", "model.onnx"]);
    std::fs::create_dir(scene.path("graphs")).unwrap();
    std::fs::rename(scene.path("model.onnx"), scene.path("graphs/core.onnx")).unwrap();
    assert_seen!("contract_directory", scene, &["contract", "graphs"]);
    assert_seen!(
        "contract_check",
        scene,
        &["contract", "graphs", "--check", "graphs"]
    );
    scene.write(
        "graphs/io_contract_core.json",
        r#"{"inputs": {"core": ["x"]}, "outputs": {}}"#,
    );
    assert_seen!(
        "contract_differs",
        scene,
        &["contract", "graphs", "--check", "graphs"]
    );
}

#[test]
fn doctor_schema_completions() {
    let scene = Scene::new();
    assert_seen!("doctor", scene, &["doctor"]);
    assert_seen!("schema_names", scene, &["schema"]);
    let script = scene.run(&["completions", "bash"]);
    script.expect_code(0);
    assert!(script.stdout.contains("_amphora"), "{}", script.stdout);
}

#[test]
fn quickstart() {
    let scene = Scene::new();
    assert_seen!(
        "quickstart",
        scene,
        &["quickstart", "--dir", "try", "--example", "model"]
    );
    scene
        .run(&["verify", "--all", "--store", "try/artifacts"])
        .expect_code(0);
}

#[test]
fn generate() {
    let Some(scene) = crate::generate::with_language_model() else {
        return;
    };
    let chosen = |rest: &[&'static str]| {
        let words = ["generate", "lm", "--regex", "(yes|no), (red|green)\nend"];
        [&words[..], rest].concat()
    };
    assert_seen!("generate", scene, &chosen(&["--prompt", "Well?"]));
    let both = chosen(&["--prompt", "Well?", "--prompt", "Is it?"]);
    assert_seen!("generate_batch", scene, &both);
    let json = chosen(&["--prompt", "Well?", "--max-new-tokens", "0"]);
    assert_seen!("generate_nothing", scene, &json);
    assert_seen!("generate_no_prompt", scene, &["generate", "lm"]);
    let example = ["generate", "model.onnx", "--prompt", "x"];
    scene.write("model.onnx", "");
    assert_seen!("generate_no_language_model", scene, &example);
}
