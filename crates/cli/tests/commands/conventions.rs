//! What every command keeps.

use crate::scene::{PACK, Scene};

/// Every command that succeeds on the example, one after the other.
const LINES: &[&str] = &[
    "export model.pt --config config.json -o model.onnx",
    "inspect model.onnx --graph",
    "contract model.onnx",
    "run model.onnx --input imu_input=windows.npy",
    "pack --model model.pt --config config.json --labels labels.json --metrics metrics.json --golden-cases 10",
    "inspect conv2d_fsq",
    "verify conv2d_fsq",
    "verify conv2d_fsq --target onnx",
    "verify --all",
    "run conv2d_fsq --input imu_input=windows.npy --verify --top-k 1",
    "list",
    "compare conv2d_fsq conv2d_fsq",
    "archive conv2d_fsq --format tar.gz --output b.tar.gz",
    "import b.tar.gz --store other",
    "clean --dry-run",
    "remove conv2d_fsq",
    "doctor",
    "completions zsh",
    "schema",
    "schema manifest",
    "quickstart --dir try --example model",
];

#[test]
fn json_is_one_object_with_the_documented_keys_and_words_keep_to_their_stream() {
    let scene = Scene::new();
    amphora_testing::each(LINES, |line| {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.push("--json");
        let answer = scene.run(&words);
        if answer.code != Some(0) {
            return Err(format!("{answer:#?}"));
        }
        let one_line = answer.stdout.ends_with('\n') && answer.stdout.lines().count() == 1;
        answer.json();
        if one_line {
            Ok(())
        } else {
            Err(format!("{answer:#?}"))
        }
    });
}

#[test]
fn the_documented_keys_are_there() {
    let scene = Scene::with_onnx();
    let rows: [(&str, &[&str]); 4] = [
        (
            "pack --model model.pt --config config.json --golden-cases 10",
            &[
                "id",
                "exp_hash",
                "path",
                "name",
                "version",
                "existed",
                "formats",
                "files",
                "validation",
            ],
        ),
        (
            "verify conv2d_fsq --target onnx",
            &[
                "passed",
                "target",
                "checks_run",
                "skipped",
                "errors",
                "warnings",
                "onnx_check",
                "numeric_equivalence",
                "inference_time",
            ],
        ),
        ("run model.onnx --input imu_input=windows.npy", &["outputs"]),
        ("inspect nothing.onnx", &["error"]),
    ];
    amphora_testing::each(&rows, |(line, keys)| {
        let mut words: Vec<&str> = line.split(' ').collect();
        words.push("--json");
        let value = scene.run(&words).json();
        let missing: Vec<_> = keys
            .iter()
            .filter(|key| value.get(**key).is_none())
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{missing:?} missing in {value}"))
        }
    });
}

#[test]
fn answers_keep_to_their_published_schemas() {
    let scene = Scene::with_onnx();
    scene.run(PACK).expect_code(0);
    let rows = [
        ("error", "inspect nothing.onnx"),
        ("contract", "contract model.onnx"),
        ("verify-report", "verify conv2d_fsq --target onnx"),
        (
            "pack-result",
            "pack --model model.pt --config config.json --golden-cases 10",
        ),
    ];
    amphora_testing::each(&rows, |(name, line)| {
        let schema = scene.run(&["schema", name, "--json"]).json();
        let mut words: Vec<&str> = line.split(' ').collect();
        words.push("--json");
        let value = scene.run(&words).json();
        let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
        match validator.iter_errors(&value).next() {
            None => Ok(()),
            Some(error) => Err(format!("{error} at {}", error.instance_path())),
        }
    });
}

#[test]
fn every_flag_is_also_an_environment_variable() {
    let scene = Scene::new();
    let mut command = scene.command(&["pack", "--model", "model.pt"]);
    command
        .env("AMPHORA_CONFIG", "config.json")
        .env("AMPHORA_NAME", "from-environment")
        .env("AMPHORA_VERSION", "1.2.3")
        .env("AMPHORA_GOLDEN_CASES", "5")
        .env("AMPHORA_KEEP_CHECKPOINT", "1")
        .env("AMPHORA_STORE", "elsewhere")
        .env("AMPHORA_JSON", "true");
    let answer = scene.answer(command);
    answer.expect_code(0);
    let value = answer.json();
    assert_eq!(
        (&value["name"], &value["version"]),
        (&"from-environment".into(), &"1.2.3".into())
    );
    assert!(
        value["path"].as_str().unwrap().starts_with("elsewhere/"),
        "{value}"
    );
    let files = value["files"].to_string();
    assert!(files.contains("checkpoint.pt"), "{files}");
    // What is typed wins.
    let mut command = scene.command(&["list", "--store", "artifacts"]);
    command.env("AMPHORA_STORE", "elsewhere");
    assert_eq!(scene.answer(command).stdout, "No bundles found\n");
    // A wrong value in the environment is wrong usage, in JSON too when the environment asks for it.
    let mut command = scene.command(&["clean"]);
    command.env("AMPHORA_KEEP", "many").env("AMPHORA_JSON", "1");
    let answer = scene.answer(command);
    answer.expect_code(2);
    assert_eq!(answer.error_kind(), "usage");
}

#[test]
fn hostile_names_reach_no_stream_raw() {
    let scene = Scene::new();
    let name = "a\u{1b}[2J\u{9b}31m\u{202e}b";
    for arguments in [
        vec!["inspect", name],
        vec!["inspect", name, "--json"],
        vec!["export", name, "-o", "x.onnx"],
        vec!["verify", name],
        vec![name],
        vec!["run", "model.onnx", "--input", name],
    ] {
        let answer = scene.run(&arguments);
        let raw = format!("{}{}", answer.stdout, answer.stderr);
        let control = raw
            .chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}');
        assert!(!control, "{arguments:?}: {raw:?}");
        assert_ne!(answer.code, Some(0));
    }
}
