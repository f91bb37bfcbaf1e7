//! The models inside our bundles, run in Python on the oldest and the newest ONNX Runtime.

use amphora::{PackRequest, Store, Timestamp};

/// Compares a bundle's model with its golden vectors; prints the version and the largest difference.
const REPLAY: &str = r##"
import sys, numpy, onnxruntime
from safetensors.numpy import load_file
bundle = sys.argv[1]
vectors = load_file(bundle + "/golden/vectors.safetensors")
session = onnxruntime.InferenceSession(bundle + "/models/model.onnx", providers=["CPUExecutionProvider"])
inputs = [value.name for value in session.get_inputs()]
groups = {}
for name, value in vectors.items():
    group, _, plain = name.rpartition("/")
    groups.setdefault(group, {})[plain] = value
worst = 0.0
for group in groups.values():
    answers = session.run(None, {name: group[name] for name in inputs})
    for output, answer in zip(session.get_outputs(), answers):
        reference = group[output.name]
        assert answer.shape == reference.shape, (output.name, answer.shape, reference.shape)
        worst = max(worst, float(abs(answer.astype("float64") - reference.astype("float64")).max()))
print(onnxruntime.__version__, worst)
"##;

/// Runs a bundle's model on the token ids that PyTorch was given; prints the version and the largest
/// difference from its logits, as a share of the largest of them.
const RECORDED_IDS: &str = r##"
import sys, onnxruntime
from safetensors.numpy import load_file
bundle, vectors = sys.argv[1], load_file(sys.argv[2])
session = onnxruntime.InferenceSession(bundle + "/models/model.onnx", providers=["CPUExecutionProvider"])
[answer] = session.run(["logits"], {value.name: vectors[value.name] for value in session.get_inputs()})
logits = vectors["logits"]
assert answer.shape == logits.shape
print(onnxruntime.__version__, float(abs(answer.astype("float64") - logits).max() / abs(logits).max()))
"##;

/// Runs a bundle's model on the pixels that PyTorch was given; prints the version and the largest
/// difference from its logits, as a share of the largest of them.
const RECORDED_PIXELS: &str = r##"
import sys, numpy, onnxruntime
from safetensors.numpy import load_file
bundle, vectors = sys.argv[1], load_file(sys.argv[2])
session = onnxruntime.InferenceSession(bundle + "/models/model.onnx", providers=["CPUExecutionProvider"])
names = [name.removeprefix("preprocessed_") for name in vectors if name.startswith("preprocessed_")]
assert names
pixels = numpy.stack([vectors["preprocessed_" + name] for name in names])
logits = numpy.stack([vectors["logits_" + name] for name in names])
[answer] = session.run(["logits"], {"pixel_values": pixels})
worst = abs(answer.astype("float64") - logits).max() / abs(logits).max()
print(onnxruntime.__version__, float(worst))
"##;

/// Runs a text encoder on the token ids that PyTorch was given; prints the version and the largest
/// difference from its hidden states, as a share of the largest of them.
const HIDDEN: &str = r##"
import sys, numpy, onnxruntime
from safetensors.numpy import load_file
bundle, vectors = sys.argv[1], load_file(sys.argv[2])
session = onnxruntime.InferenceSession(bundle + "/models/model.onnx", providers=["CPUExecutionProvider"])
worst = 0.0
for text in range(24):
    ids = vectors[f"ids_{text:02}"][None]
    inputs = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
    [answer] = session.run(["last_hidden_state"], inputs)
    expected = vectors[f"last_hidden_state_{text:02}"]
    difference = abs(answer[0].astype("float64") - expected).max() / max(1.0, abs(expected).max())
    worst = max(worst, float(difference))
print(onnxruntime.__version__, worst)
"##;

#[test]
fn minilm_computes_what_pytorch_did_on_both() {
    let Some(folder) = amphora_testing::minilm() else {
        return;
    };
    let peers = [Some("1.16.3"), None];
    let peers = peers.map(|version| amphora_testing::peer("onnxruntime", version));
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(scratch.path().join("store")).unwrap();
    let created = Timestamp::from_unix_seconds(0).unwrap();
    let request = PackRequest {
        golden_cases: 5,
        ..PackRequest::new(store, &folder, created)
    };
    let packed = amphora::pack(&request, &|_| {}).unwrap();
    let vectors = folder.join("vectors.safetensors");
    let places = [&packed.path, &vectors].map(|path| path.to_string_lossy().into_owned());
    let rows: Vec<_> = peers.iter().flatten().collect();
    amphora_testing::each(&rows, |peer| {
        let printed = peer.run(HIDDEN, &[&places[0], &places[1]]);
        let worst: f64 = printed.split_whitespace().nth(1).unwrap().parse().unwrap();
        if worst < 1e-5 { Ok(()) } else { Err(printed) }
    });
}

#[test]
fn the_oldest_and_the_newest_onnx_runtime_run_our_models_in_python() {
    let peers = [
        amphora_testing::peer("onnxruntime", Some("1.16.3")),
        amphora_testing::peer("onnxruntime", None),
    ];
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(scratch.path().join("store")).unwrap();
    let mut rows = Vec::new();
    for fixture in [
        "planner_mlp",
        "planner_transformer",
        "planner_urm",
        "planner_urm_conv",
        "conv2d_fsq",
        "bert_tiny",
        "resnet_tiny",
    ] {
        let Some(folder) = amphora_testing::fixture(fixture) else {
            continue;
        };
        let created = Timestamp::from_unix_seconds(0).unwrap();
        let request = PackRequest {
            config: Some(folder.join("config.json")),
            name: Some(fixture.to_owned()),
            golden_cases: 20,
            ..PackRequest::new(store.clone(), folder.join("model.safetensors"), created)
        };
        let packed = amphora::pack(&request, &|_| {}).unwrap();
        let peers = peers.iter().flatten();
        rows.extend(peers.map(|peer| (fixture, packed.path.clone(), peer)));
    }
    amphora_testing::each(&rows, |(fixture, bundle, peer)| {
        let worst = |program: &str, arguments: &[&str]| -> Result<(), String> {
            let printed = peer.run(program, arguments);
            let worst: f64 = printed.split_whitespace().nth(1).unwrap().parse().unwrap();
            if worst < 1e-5 { Ok(()) } else { Err(printed) }
        };
        let bundle = bundle.to_str().unwrap();
        worst(REPLAY, &[bundle])?;
        let recorded = match *fixture {
            "resnet_tiny" => RECORDED_PIXELS,
            "bert_tiny" => RECORDED_IDS,
            _ => return Ok(()),
        };
        let vectors = format!("{fixture}/vectors.safetensors");
        let vectors = amphora_testing::fixture(&vectors).unwrap();
        worst(recorded, &[bundle, vectors.to_str().unwrap()])
    });
}
