//! The exported files in Python, on the oldest and the newest ONNX Runtime.

use amphora::{ExportRequest, export};
use amphora_testing::{each, fixture, peer};

/// Reads the prompt, goes on greedily, compares with what PyTorch recorded; prints the version and the
/// largest difference as a part of the largest number.
const REPLAY: &str = r##"
import sys, numpy, onnxruntime
from safetensors.numpy import load_file
graphs, vectors, ids, logits, count = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.log_severity_level = 3
load = lambda role: onnxruntime.InferenceSession(
    f"{graphs}/{role}.onnx", options, providers=["CPUExecutionProvider"])
prefill, decode = load("prefill"), load("decode")
vectors = load_file(vectors)
names = [value.name for value in prefill.get_outputs()]
prompt = vectors[ids][None]
far = lambda found, expected: float(abs(found.astype("float64") - expected).max() / abs(expected).max())
outputs = dict(zip(names, prefill.run(None, {"input_ids": prompt, "attention_mask": numpy.ones_like(prompt)})))
worst = far(outputs["logits"][0], vectors[logits])
for name in vectors:
    if name.startswith("present_"):
        worst = max(worst, far(outputs[name][0], vectors[name]))
tokens, total = [], prompt.shape[1]
while len(tokens) < int(count):
    step = outputs["logits"][0, -1]
    if "greedy_step_logits" in vectors:
        worst = max(worst, far(step, vectors["greedy_step_logits"][len(tokens)]))
    tokens.append(int(step.argmax()))
    total += 1
    feeds = {"input_ids": numpy.array([[tokens[-1]]]), "attention_mask": numpy.ones((1, total), "int64")}
    feeds.update({name.replace("present", "past"): value for name, value in outputs.items() if name != "logits"})
    outputs = dict(zip(names, decode.run(None, feeds)))
assert tokens == vectors["greedy_tokens"].tolist(), tokens
if "padded_input_ids" in vectors:
    padded = prefill.run(["logits"], {
        "input_ids": vectors["padded_input_ids"], "attention_mask": vectors["padded_attention_mask"]})[0]
    worst = max(worst, far(padded[:, -1], vectors["padded_logits_last"]))
print(onnxruntime.__version__, worst)
"##;

/// The same for hidden states.
const REPLAY_HIDDEN: &str = r##"
import sys, onnxruntime
from safetensors.numpy import load_file
graph, vectors = sys.argv[1:]
vectors = load_file(vectors)
session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
hidden, = session.run(None, {name: vectors[name] for name in ["input_ids", "attention_mask"]})
expected = vectors["last_token_hidden"]
print(onnxruntime.__version__, float(abs(hidden[:, -1] - expected).max() / abs(expected).max()))
"##;

#[test]
fn the_oldest_and_the_newest_onnx_runtime_compute_what_pytorch_did() {
    let peers = [
        peer("onnxruntime", Some("1.16.3")),
        peer("onnxruntime", None),
    ];
    let scratch = tempfile::tempdir().unwrap();
    let models = [
        ("gpt2_tiny", "input_ids", "logits", "32", false),
        ("llama_tiny", "input_ids", "logits", "32", false),
        ("qwen3_tiny", "prompt_ids", "prefill_logits", "64", false),
        // With the weights where they lie.
        ("qwen3_tiny", "prompt_ids", "prefill_logits", "64", true),
        ("llama_tiny", "input_ids", "logits", "32", true),
        ("qwen3_embedding_tiny", "", "", "", false),
    ];
    let mut rows = Vec::new();
    for (place, model) in models.iter().enumerate() {
        let (name, .., link) = *model;
        let Some(folder) = fixture(name) else {
            continue;
        };
        let output = scratch.path().join(place.to_string());
        let mut request = ExportRequest {
            checkpoint: folder.clone(),
            config: None,
            output: output.clone(),
            opset: None,
            link,
            external_data: false,
        };
        if link {
            fs_err::create_dir(&output).unwrap();
            for file in ["config.json", "model.safetensors"] {
                fs_err::copy(folder.join(file), output.join(file)).unwrap();
            }
            request.checkpoint = output;
        }
        let exported = export(&request).unwrap();
        let vectors = folder.join("vectors.safetensors");
        for peer in peers.iter().flatten() {
            rows.push((*model, exported.clone(), vectors.clone(), peer));
        }
    }
    each(
        &rows,
        |((_, ids, logits, count, _), exported, vectors, peer)| {
            let path = exported.graphs[0].path.as_path();
            let vectors = vectors.to_str().unwrap();
            let printed = match exported.graphs.len() {
                1 => peer.run(REPLAY_HIDDEN, &[path.to_str().unwrap(), vectors]),
                _ => {
                    let folder = path.parent().unwrap().to_str().unwrap();
                    peer.run(REPLAY, &[folder, vectors, ids, logits, count])
                }
            };
            let worst: f64 = printed.split_whitespace().nth(1).unwrap().parse().unwrap();
            if worst < 1e-5 { Ok(()) } else { Err(printed) }
        },
    );
}
