//! Old manifests, SavedModels and checkpoint directories, as somebody at a terminal meets them.

use std::os::unix::fs::PermissionsExt as _;

use amphora::{Sound, WavFormat};
use amphora_onnx::build::GraphBuilder;
use amphora_onnx::{Dim, Dtype, write};
use serde_json::json;

use crate::scene::{Answer, Scene};

const MANIFEST: &str = "\
apiVersion: axon.mlos.io/v1
kind: Model
metadata: {name: Gait, namespace: hf, version: main}
spec:
  framework: {name: PyTorch}
  format: {type: pytorch, execution_format: onnx, files: [{path: model.onnx}]}
";
const RUN: [&str; 4] = ["run", "old", "--input", "imu_input=windows.npy"];

/// The example in the folder `old`, with a manifest that has no schema.
fn package(manifest: &str) -> Scene {
    let scene = Scene::with_onnx();
    scene.write("old/manifest.yaml", manifest);
    std::fs::copy(scene.path("model.onnx"), scene.path("old/model.onnx")).unwrap();
    scene
}

/// Fails the test unless the words are somewhere in what was said.
fn expect_words(answer: &Answer, words: &[&str]) {
    let said = format!("{}{}", answer.stdout, answer.stderr);
    for word in words {
        assert!(said.contains(word), "{word}: {answer:#?}");
    }
}

#[test]
fn a_package_runs_as_it_is_and_becomes_a_bundle() {
    let scene = package(MANIFEST);
    let before = scene.run(&RUN);
    before.expect_code(0);
    let seen = scene.run(&["inspect", "old"]);
    seen.expect_code(0);
    expect_words(
        &seen,
        &[
            "hf/Gait:main",
            "the graph",
            "imu_input",
            "[batch_size, 9, 2, 100]",
            "no digest",
        ],
    );
    let verified = scene.run(&["verify", "old"]);
    verified.expect_code(0);
    expect_words(
        &verified,
        &[
            "Validation passed",
            "seal:",
            "numeric_equivalence: a package has no golden vectors",
        ],
    );
    let strict = scene.run(&["verify", "old", "--strict"]);
    strict.expect_code(3);
    expect_words(
        &strict,
        &["metadata.version", "metadata.license", "distribution"],
    );
    let contract = scene.run(&["contract", "old"]);
    contract.expect_code(0);
    assert_eq!(contract.json()["source"], "graph");
    assert_eq!(contract.json()["inputs"][0]["name"], "imu_input");
    assert!(
        !scene.path("old/manifest.json").exists(),
        "a package is not written into"
    );

    for (subject, hint) in [
        ("old", "amphora import old"),
        ("model.onnx", "amphora pack --model model.onnx"),
    ] {
        let answer = scene.run(&[
            "run",
            subject,
            "--input",
            "imu_input=windows.npy",
            "--verify",
        ]);
        answer.expect_code(2);
        expect_words(&answer, &["no golden vectors", hint]);
    }

    let imported = scene.run(&["import", "old", "--golden-cases", "5"]);
    imported.expect_code(0);
    expect_words(
        &imported,
        &[
            "hf/gait:latest",
            "the version 'main' is no semantic version",
        ],
    );
    scene.run(&["verify", "hf/gait"]).expect_code(0);
    let after = scene.run(&["run", "hf/gait", "--input", "imu_input=windows.npy"]);
    assert_eq!(before.stdout, after.stdout);
    assert_eq!(
        scene
            .run(&["import", "old", "--golden-cases", "5", "--json"])
            .json()["existed"],
        true
    );
}

#[test]
fn a_package_that_contradicts_its_graph_is_described_and_refused() {
    let io = "  io:\n    inputs:\n      - {name: imu_input, dtype: float64, shape: [-1, 9, 2, 100]}\n    outputs:\n      - \
              {name: logits, dtype: float32, shape: [-1, 4]}\n";
    let scene = package(&format!("{MANIFEST}{io}"));
    let answer = scene.run(&RUN);
    answer.expect_code(0);
    expect_words(
        &answer,
        &["warning: input 'imu_input': the manifest says float64, the graph float32"],
    );
    scene.write(
        "old/manifest.yaml",
        format!("{MANIFEST}{}", io.replace("imu_input", "imu")),
    );
    for command in [
        vec!["inspect", "old"],
        RUN.to_vec(),
        vec!["import", "old"],
        vec!["verify", "old"],
        vec!["contract", "old"],
    ] {
        let answer = scene.run(&command);
        answer.expect_code(12);
        expect_words(&answer, &["the manifest's input 'imu' is not in the graph"]);
    }
    scene.write(
        "old/manifest.yaml",
        MANIFEST.replace("{path: model.onnx}", "model.onnx"),
    );
    let answer = scene.run(&["inspect", "old"]);
    answer.expect_code(3);
    expect_words(
        &answer,
        &[
            "line 6",
            "hint: write every file of spec.format.files as a mapping",
        ],
    );
}

#[test]
fn all_faults_of_the_inputs_are_one_error() {
    let scene = package(MANIFEST);
    let ragged = "imu_input=[[1, 2], [3]]";
    // One fault keeps its own words.
    let answer = scene.run(&["run", "old", "--input", ragged]);
    answer.expect_code(2);
    expect_words(
        &answer,
        &["input 'imu_input'", "the arrays have different lengths"],
    );
    scene.write("broken.npy", "no array");
    for value in [ragged, "imu_input=broken.npy", "imu_input=nonsense"] {
        let answer = scene.run(&["run", "old", "--input", value, "--input", "imu=1", "--json"]);
        answer.expect_code(2);
        let message = answer.json()["error"]["message"].to_string();
        for fault in ["- 'imu_input': ", "- 'imu' is not an input of the graph"] {
            assert!(message.contains(fault), "{fault}: {message}");
        }
    }
}

fn field(number: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = vec![(number << 3 | 2) as u8];
    let mut length = content.len();
    while length > 0x7f {
        bytes.push((length & 0x7f | 0x80) as u8);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

fn entry(number: u64, key: &str, value: Vec<u8>) -> Vec<u8> {
    field(number, [field(1, key), field(2, value)].concat())
}

/// A tensor of element type `dtype` with a first dimension that varies.
fn tensor(number: u64, name: &str, dtype: u8, sizes: &[u8]) -> Vec<u8> {
    let varies = [vec![0x08], vec![0xff; 9], vec![0x01]].concat();
    let fixed = sizes.iter().map(|size| field(2, [0x08, *size]));
    let shape = fixed.fold(field(2, varies), |all, dim| [all, dim].concat());
    entry(
        number,
        name,
        [
            field(1, format!("{name}:0")),
            vec![0x10, dtype],
            field(3, shape),
        ]
        .concat(),
    )
}

/// A SavedModel with the example's signature.
fn saved_model(input: &str) -> Vec<u8> {
    let signature = [
        tensor(1, input, 1, &[9, 2, 100]),
        tensor(2, "behavioral_codes", 9, &[]),
        tensor(2, "confidence", 1, &[]),
        tensor(2, "logits", 1, &[4]),
    ];
    let graph = [
        field(1, field(4, "serve")),
        entry(5, "serving_default", signature.concat()),
    ];
    field(2, graph.concat())
}

#[test]
fn a_saved_model_says_what_it_takes_and_is_converted_where_that_is_possible() {
    let scene = Scene::with_onnx();
    scene.write("saved/saved_model.pb", saved_model("imu_input"));
    let contract = scene.run(&["contract", "saved"]);
    contract.expect_code(0);
    let value = contract.json();
    assert_eq!(
        (&value["signature"], &value["unverified"]),
        (&json!("serving_default"), &json!(false))
    );
    assert_eq!(
        value["inputs"],
        json!([{"name": "imu_input", "dtype": "float32", "shape": [-1, 9, 2, 100]}])
    );
    let seen = scene.run(&["inspect", "saved"]);
    seen.expect_code(0);
    expect_words(&seen, &["serving_default", "its signature", "imu_input"]);
    scene
        .run(&["contract", "saved", "--signature", "other"])
        .expect_code(6);
    scene
        .run(&["contract", "model.onnx", "--signature", "other"])
        .expect_code(2);

    // Without the converter nothing is sealed, and the manifest that can be had says so.
    let answer = scene.run(&["pack", "--model", "saved"]);
    answer.expect_code(10);
    expect_words(&answer, &["tf2onnx", "hint: pip install"]);
    scene.run(&["run", "saved"]).expect_code(10);
    scene
        .run(&["contract", "saved", "--out", "saved"])
        .expect_code(0);
    for command in [["run", "saved"], ["import", "saved"], ["verify", "saved"]] {
        let answer = scene.run(&command);
        answer.expect_code(10);
        expect_words(&answer, &["the execution format 'tensorflow'"]);
    }
    std::fs::remove_file(scene.path("saved/manifest.yaml")).unwrap();

    let script = "#!/bin/sh\nwhile [ \"$1\" != --output ]; do shift; done\nexec /bin/cp \"${0%/*}/../model.onnx\" \"$2\"\n";
    scene.write("tools/tf2onnx", script);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(scene.path("tools/tf2onnx"), executable).unwrap();
    let pack = |folder: &str| {
        let mut command =
            scene.command(&["pack", "--model", folder, "--golden-cases", "5", "--json"]);
        command.env("PATH", scene.path("tools"));
        scene.answer(command)
    };
    let packed = pack("saved");
    packed.expect_code(0);
    let manifest = std::fs::read_to_string(
        scene
            .path(packed.json()["path"].as_str().unwrap())
            .join("manifest.yaml"),
    )
    .unwrap();
    assert!(
        manifest.contains("name: tensorflow") && manifest.contains("format: saved_model"),
        "{manifest}"
    );
    // A graph that has other names than the signature is not what was asked for.
    scene.write("other/saved_model.pb", saved_model("imu"));
    let answer = pack("other");
    answer.expect_code(12);
    expect_words(&answer, &["the manifest's input 'imu' is not in the graph"]);
    scene.write(
        "tools/tf2onnx",
        "#!/bin/sh\necho 'no TensorFlow here' >&2\nexit 1\n",
    );
    std::fs::set_permissions(
        scene.path("tools/tf2onnx"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let answer = pack("saved");
    answer.expect_code(10);
    expect_words(&answer, &["no TensorFlow here"]);
    let left: Vec<_> = scene
        .files()
        .into_iter()
        .filter(|(path, _)| path.ends_with("model.log"))
        .collect();
    assert_eq!(left, []);
}

#[test]
fn a_checkpoint_says_what_it_takes_by_its_architecture_or_by_what_is_usual() {
    let scene = Scene::new();
    let bert = json!({
        "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8, "num_attention_heads": 2,
        "num_hidden_layers": 1, "intermediate_size": 16, "vocab_size": 32, "max_position_embeddings": 16,
        "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
    });
    let rows = [
        (bert, "architecture", false, 3),
        (json!({"model_type": "albert"}), "model_type", true, 3),
        (json!({"model_type": "t5"}), "model_type", true, 2),
        (json!({"model_type": "deit"}), "model_type", true, 1),
        (json!({"model_type": "mamba"}), "legacy", true, 1),
        (json!({}), "legacy", true, 1),
    ];
    for (config, source, unverified, inputs) in rows {
        scene.write("hf/config.json", config.to_string());
        scene.write("hf/model.safetensors", "weights");
        let answer = scene.run(&["contract", "hf"]);
        answer.expect_code(0);
        let value = answer.json();
        assert_eq!(
            (&value["source"], &value["unverified"]),
            (&json!(source), &json!(unverified)),
            "{value}"
        );
        assert_eq!(value["inputs"].as_array().unwrap().len(), inputs, "{value}");
        scene.run(&["inspect", "hf"]).expect_code(0);
        let answer = scene.run(&["run", "hf"]);
        answer.expect_code(10);
        expect_words(&answer, &["amphora pack --model hf"]);
    }
    // Of pictures the model's own file knows more than the table.
    let own = json!({"do_resize": false, "do_center_crop": false, "image_mean": [0.5, 0.5, 0.5]});
    for (file, mean) in [(None, 0.485), (Some(own), 0.5)] {
        scene.write("hf/config.json", r#"{"model_type": "deit"}"#);
        if let Some(own) = file {
            scene.write("hf/preprocessor_config.json", own.to_string());
        }
        let value = scene.run(&["contract", "hf"]).json();
        let config = &value["inputs"][0]["preprocessing"]["config"];
        assert_eq!(config["mean"][0], json!(mean), "{value}");
    }
}

#[test]
fn a_package_in_one_file_is_taken_in_and_not_run() {
    let scene = package(MANIFEST);
    scene.write("old.axon", [0x1f, 0x8b, 8, 0]);
    for command in ["run", "inspect", "verify"] {
        let answer = scene.run(&[command, "old.axon"]);
        assert_ne!(answer.code, Some(0), "{answer:#?}");
        expect_words(&answer, &["amphora import"]);
    }
}

/// Halves a sound of two channels at 8000 Hz.
const SOUND: &str = "\
apiVersion: axon.mlos.io/v1
kind: Model
metadata: {name: Quiet, namespace: hf, version: main}
spec:
  framework: {name: PyTorch}
  format: {type: onnx, execution_format: onnx, files: [{path: model.onnx}]}
  io:
    inputs:
      - name: waveform
        dtype: float32
        shape: [1, 2, -1]
        preprocessing: {type: audio, config: {sample_rate: 8000, channels: 2}}
    outputs:
      - name: quiet
        dtype: float32
        shape: [1, 2, -1]
";
const AUDIO: &str = "        postprocessing: [{type: audio, sample_rate: 8000, channels: 2}]\n";

#[test]
fn sound_goes_in_and_comes_out() {
    let scene = Scene::new();
    let mut graph = GraphBuilder::new("quiet", 14).unwrap();
    let shape = [Dim::Fixed(1), Dim::Fixed(2), Dim::Symbol("samples".into())];
    let input = graph.input("waveform", Dtype::Float32, &shape);
    let half = graph.scalar(0.5_f32);
    let product = graph.binary("Mul", &input, &half);
    graph.output(&product, "quiet", Dtype::Float32, &shape);
    let model = write::to_bytes(&graph.finish());
    for (name, manifest) in [
        ("sound", format!("{SOUND}{AUDIO}")),
        ("mute", SOUND.into()),
        ("rateless", SOUND.replace("sample_rate: 8000, ", "")),
    ] {
        scene.write(&format!("{name}/manifest.yaml"), manifest);
        scene.write(&format!("{name}/model.onnx"), &model);
    }
    let wav = |rate| {
        let sound = Sound::new(rate, 2, vec![0.5, -0.5, 0.25, 1.0, -1.0, 0.0]).unwrap();
        sound.to_wav(WavFormat::Int16).unwrap()
    };
    scene.write("in.wav", wav(8000));
    scene.write("fast.wav", wav(44_100));

    let run = |model, input, output: &'static str| {
        scene.run(&[
            "run",
            model,
            "--audio",
            input,
            "--audio-out",
            output,
            "--json",
        ])
    };
    let answer = run("sound", "in.wav", "out.wav");
    answer.expect_code(0);
    let described = json!({"quiet": {"sample_rate": 8000, "channels": 2, "layout": "NCT"}});
    assert_eq!(answer.json()["sounds"], described);
    let file = fs_err::read(scene.path("out.wav")).unwrap();
    // Code 3 (float), two channels, 8000 Hz, 64,000 bytes each second, 8 bytes a frame, 32 bits.
    let header = [
        &[3, 0, 2, 0][..],
        &[0x40, 0x1f, 0, 0],
        &[0, 0xfa, 0, 0],
        &[8, 0, 32, 0],
    ]
    .concat();
    assert_eq!(file[20..36], header);
    let samples: Vec<f32> = file[44..]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    let half_step = 32_767.0 / 65_536.0;
    assert_eq!(samples, [0.25, -0.25, 0.125, half_step, -0.5, 0.0]);

    let answer = run("mute", "in.wav", "mute.wav");
    answer.expect_code(2);
    expect_words(&answer, &["not one output that is a sound", "sample_rate"]);
    let answer = run("sound", "fast.wav", "mute.wav");
    answer.expect_code(12);
    expect_words(&answer, &["fast.wav", "8000 Hz", "44100 Hz", "ffmpeg"]);
    // The manifest is at fault, not the file.
    let answer = run("rateless", "in.wav", "mute.wav");
    answer.expect_code(3);
    expect_words(&answer, &["sample_rate", "waveform", "rateless"]);
    assert!(!answer.stdout.contains("in.wav"), "{answer:#?}");
    assert!(!scene.path("mute.wav").exists());
}
