//! Sections 2, 3, 6 and 7 of document 000.

use std::collections::BTreeMap;

use amphora_bundle::Bundle;
use amphora_onnx::{Limits, Model as Onnx};
use amphora_planner::action_space::Head;
use amphora_planner::bundle::PlannerBundle;
use amphora_runtime::{Session, SessionOptions, Tensor};
use amphora_training::export::export;
use amphora_verify::{VerifyOptions, verify};
use serde_json::{Value, json};

use crate::scene::{Model, Numbers, Scene, date, engines, read_json, write_json};

const EVERY: [Model; 4] = [
    Model::SmallMlp,
    Model::Transformer,
    Model::Urm,
    Model::ConvUrm,
];
const HEADS: [&str; 4] = ["swarm", "candidates", "minutes", "iterations"];

/// Section 7.1: "Bundle contains all required artifacts"; section 3 for their content.
#[test]
fn the_bundle_holds_every_artifact_with_the_documents_keys() {
    let scene = Scene::new();
    let (path, exported) = scene.export(Model::SmallMlp, "v1");
    assert_eq!(
        (exported.path.as_path(), exported.existed),
        (path.as_path(), false)
    );
    let config = read_json(&path.join("config.json"));
    assert_eq!(config["model_type"], "mlp");
    assert_eq!(config["d_in"], 3779);
    assert_eq!(config["hidden_sizes"], json!([32, 16]));
    assert_eq!(config["dropout"], 0.0);
    let widths = json!({"swarm": {"n_classes": 2}, "candidates": {"n_classes": 4},
        "minutes": {"n_classes": 6}, "iterations": {"n_classes": 5}});
    assert_eq!(config["heads"], widths);
    assert_eq!(config["onnx"]["opset_version"], 14);
    assert_eq!(config["onnx"]["input_names"], json!(["input"]));
    assert_eq!(config["onnx"]["output_names"], json!(HEADS));
    for name in HEADS.iter().chain(&["input"]) {
        assert_eq!(
            config["onnx"]["dynamic_axes"][name],
            json!({"0": "batch_size"})
        );
    }
    let space = read_json(&path.join("action_space.json"));
    assert_eq!(config["action_space"], space);
    assert_eq!(space["validity_rules"].as_array().unwrap().len(), 3);
    let calibration = read_json(&path.join("calibration.json"));
    assert_eq!(calibration["method"], "temperature_scaling");
    for head in HEADS {
        let temperature = calibration["temperature"][head].as_f64().unwrap();
        assert!(
            (0.05..=20.0).contains(&temperature),
            "{head}: {temperature}"
        );
    }
    // `code` leaves one class of iterations: there is nothing to fit.
    assert_eq!(calibration["temperature"]["iterations"], 1.0);
    assert!((0.0..=1.0).contains(&calibration["validation_ece"].as_f64().unwrap()));
    let tokenizer = read_json(&path.join("tokenizer_config.json"));
    assert_eq!(
        (&tokenizer["n_history_slots"], &tokenizer["n_tag_buckets"]),
        (&json!(8), &json!(1024))
    );
    assert_eq!(tokenizer["d_in"], 3779);
    let metadata = read_json(&path.join("metadata.json"));
    assert_eq!(metadata["schema_version"], "cyntra.model_bundle.v1");
    assert_eq!(metadata["model_name"], "planner_mlp_1_0_0");
    let training = &metadata["training"];
    assert_eq!(training["dataset_hash"], scene.dataset.meta.dataset_hash);
    assert_eq!(
        (&training["example_count"], &training["epochs"]),
        (&json!(65), &json!(3))
    );
    assert!((0.0..=1.0).contains(&training["best_val_accuracy"].as_f64().unwrap()));
    assert_eq!(training["labels"], "executed");
    for head in HEADS {
        let accuracy = &training["test_metrics"]["per_head_accuracy"][head];
        assert!((0.0..=1.0).contains(&accuracy.as_f64().unwrap()));
    }
    assert_eq!(metadata["provenance"]["git_sha"], "0123456789abcdef");
    let config_hash = amphora_files::sha256(&fs_err::read(path.join("config.json")).unwrap());
    assert_eq!(
        metadata["provenance"]["config_hash"],
        config_hash.to_string()
    );
    assert_eq!(
        metadata["compatibility"],
        json!({"cyntra_kernel_min_version": "0.5.0", "onnxruntime_min_version": "1.16.0", "required_opset": 14})
    );
    let report = read_json(&path.join("validation/validation_report.json"));
    assert_eq!(report["schema_version"], "cyntra.onnx_validation.v1");
    assert_eq!(report["onnx_check"], json!({"passed": true, "errors": []}));
    assert!(!path.join("vocab.json").exists());
    assert!(!path.join("checkpoint.safetensors").exists());
    amphora_bundle::check_integrity(&Bundle::open(&path).unwrap())
        .unwrap()
        .into_result()
        .unwrap();
}

/// Sections 6.1 and 7.1: "Numeric equivalence within 1e-5 tolerance", for all three models, against
/// the reference in double precision on every engine that is there.
#[test]
fn every_model_is_numerically_equivalent_on_every_engine() {
    let scene = Scene::new();
    for model in EVERY {
        let (path, exported) = scene.export(model, &format!("{model:?}"));
        assert_eq!(exported.max_abs_diff.len(), engines().len());
        assert!(
            exported.max_abs_diff.values().all(|diff| *diff < 1e-5),
            "{exported:?}"
        );
        let report = read_json(&path.join("validation/validation_report.json"));
        let numeric = &report["numeric_equivalence"];
        assert_eq!(numeric["n_test_cases"], 100);
        assert_eq!(numeric["tolerance"], 1e-5);
        assert_eq!(numeric["all_within_tolerance"], true);
        assert!(numeric["max_abs_diff"].as_f64().unwrap() < 1e-5);
        let time = &report["inference_time"];
        assert!(time["onnx_mean_ms"].as_f64().unwrap() > 0.0);
        assert!(time["reference_mean_ms"].as_f64().unwrap() > 0.0);
        let tokens = model.reads_tokens();
        assert_eq!(path.join("vocab.json").exists(), tokens);
        let opened = PlannerBundle::open(&path).unwrap();
        assert_eq!(opened.is_sparse(), !tokens);
        assert_eq!(opened.name(), exported.exp_hash);
    }
}

/// What the bundle answers is what the graph answers, through the encoder of the bundle.
#[test]
fn the_bundle_answers_inputs_as_its_graph_does() {
    let scene = Scene::new();
    for model in [Model::SmallMlp, Model::Transformer] {
        let (path, _) = scene.export(model, &format!("{model:?}"));
        let bundle = PlannerBundle::open(&path).unwrap();
        let rten = engines().remove(0);
        let ort = engines().pop().unwrap();
        let on_other = PlannerBundle::open_on(&path, ort).unwrap();
        let on_rten = PlannerBundle::open_on(&path, rten).unwrap();
        for row in &scene.dataset.rows[..20] {
            let found = bundle.logits(&row.planner_input).unwrap();
            for other in [&on_rten, &on_other] {
                let expected = other.logits(&row.planner_input).unwrap();
                let pairs = found.iter().flatten().zip(expected.iter().flatten());
                assert!(pairs.clone().count() == 17);
                for (found, expected) in pairs {
                    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
                }
            }
        }
    }
}

/// Section 6.1 `test_export_supports_dynamic_batch`, section 7.1.
#[test]
fn the_batch_size_is_dynamic_from_1_to_1024() {
    let scene = Scene::new();
    let (path, _) = scene.export(Model::SmallMlp, "batches");
    let model = Onnx::open(&path.join("models/model.onnx"), &Limits::default()).unwrap();
    for engine in engines() {
        let mut session = Session::new(&model, engine, &SessionOptions::default(), None).unwrap();
        for batch in [1_usize, 4, 16, 32, 1024] {
            let mut numbers = Numbers(batch as u64);
            let dense: Vec<f32> = (0..batch * 3779)
                .map(|_| f32::from(u8::from(numbers.next().is_multiple_of(60))))
                .collect();
            let input = Tensor::new([batch, 3779], dense).unwrap();
            let inputs = BTreeMap::from([("input".to_owned(), input)]);
            let outputs = session.run(&inputs).unwrap();
            for (head, width) in HEADS.iter().zip([2, 4, 6, 5]) {
                assert_eq!(outputs.get(head).unwrap().shape(), [batch, width]);
            }
        }
    }
}

/// The same for models of tokens; what a row answers does not depend on the rows beside it.
#[test]
fn the_batch_size_of_token_models_is_dynamic_from_1_to_1024() {
    let scene = Scene::new();
    for model in [Model::Transformer, Model::Urm, Model::ConvUrm] {
        let (path, _) = scene.export(model, &format!("{model:?}-batches"));
        let graph = Onnx::open(&path.join("models/model.onnx"), &Limits::default()).unwrap();
        for engine in engines() {
            let name = engine.name().to_owned();
            let mut session =
                Session::new(&graph, engine, &SessionOptions::default(), None).unwrap();
            let mut run = |batch: usize| {
                // Row `n` is the same in every batch; every third is shorter than the others.
                let length = 9;
                let ids = |n: usize| 1 + (n * 7 % 40) as i64;
                let row = |n: usize| (0..length).map(move |t| ids(n + t));
                let kept =
                    |n: usize| (0..length).map(move |t| i64::from(!n.is_multiple_of(3) || t < 6));
                let tensor = |values: Vec<i64>| Tensor::new([batch, length], values).unwrap();
                let inputs = BTreeMap::from([
                    (
                        "input_ids".to_owned(),
                        tensor((0..batch).flat_map(row).collect()),
                    ),
                    (
                        "attention_mask".to_owned(),
                        tensor((0..batch).flat_map(kept).collect()),
                    ),
                ]);
                let outputs = session.run(&inputs).unwrap();
                HEADS.map(|head| {
                    let found = outputs.get(head).unwrap();
                    assert_eq!(found.shape()[0], batch, "{name}");
                    found.as_slice::<f32>().unwrap().to_vec()
                })
            };
            let alone = run(1);
            for batch in [7, 1024] {
                for (found, alone) in run(batch).iter().zip(&alone) {
                    assert_eq!(found.len(), batch * alone.len());
                    for (found, alone) in found.iter().zip(alone) {
                        assert!(
                            (found - alone).abs() < 1e-5,
                            "{name} {batch}: {found} {alone}"
                        );
                    }
                }
            }
        }
    }
}

/// Sections 6.2 and 7.1: "Calibration applied correctly".
#[test]
fn calibration_divides_the_logits_of_its_head_and_no_other() {
    let scene = Scene::new();
    let checkpoint = scene.checkpoint("calibrated-checkpoint", Model::SmallMlp);
    let file = scene.path("calibration.json");
    let supplied = json!({"method": "temperature_scaling", "temperature": {"swarm": 2.0},
        "validation_ece": 0.04, "calibration_date": "2026-02-03T10:00:00Z"});
    write_json(&file, &supplied);
    let (out, engines, created) = (scene.path("calibrated"), engines(), date(0));
    let mut request = scene.request(&checkpoint, &out, &engines, &created);
    request.calibration = Some(&file);
    let exported = export(&request, &|_| ()).unwrap();
    assert_eq!(exported.temperature["swarm"], 2.0);
    assert_eq!(read_json(&out.join("calibration.json")), supplied);
    let bundle = PlannerBundle::open(&out).unwrap();
    assert_eq!(bundle.temperatures(), [2.0, 1.0, 1.0, 1.0]);

    let options = VerifyOptions {
        engine: Some(engines[0].clone()),
        ..VerifyOptions::default()
    };
    let verified = verify(Bundle::open(&out).unwrap(), &options)
        .unwrap()
        .into_bundle()
        .unwrap();
    let mut calibrated = verified
        .session(engines[0].clone(), &SessionOptions::default())
        .unwrap();
    let model = verified.model("model").unwrap();
    let mut raw =
        Session::new(model, engines[0].clone(), &SessionOptions::default(), None).unwrap();
    let mut dense = vec![0.0_f32; 3779];
    dense.iter_mut().step_by(50).for_each(|value| *value = 1.0);
    let inputs = BTreeMap::from([("input".to_owned(), Tensor::new([1, 3779], dense).unwrap())]);
    let (calibrated, raw) = (calibrated.run(&inputs).unwrap(), raw.run(&inputs).unwrap());
    for head in Head::ALL {
        let temperature = if head == Head::Swarm { 2.0 } else { 1.0 };
        let values = |outputs: &amphora_runtime::Outputs| {
            outputs
                .get(head.onnx_name())
                .unwrap()
                .as_slice::<f32>()
                .unwrap()
                .to_vec()
        };
        let expected: Vec<f32> = values(&raw).iter().map(|v| v / temperature).collect();
        assert_eq!(values(&calibrated), expected, "{head}");
    }
}

/// Section 7.2: "Model file size < 10MB for MLP".
#[test]
fn the_default_mlp_is_smaller_than_10_megabytes() {
    let scene = Scene::new();
    let (path, exported) = scene.export(Model::Mlp, "default");
    let size = fs_err::metadata(path.join("models/model.onnx"))
        .unwrap()
        .len();
    assert_eq!(size, exported.model_bytes as u64);
    assert!((8_400_000..10_000_000).contains(&size), "{size}");
    assert!(exported.warnings.is_empty(), "{:?}", exported.warnings);
    assert!(PlannerBundle::open(&path).unwrap().is_sparse());
}

/// Sections 6.1 and 7.1: "Export produces valid ONNX model (passes onnx.checker)".
#[test]
fn the_graph_passes_the_onnx_checker() {
    let Some(peer) = amphora_testing::peer("onnx", None) else {
        return;
    };
    let program = "
import onnx, sys, json
m = onnx.load(sys.argv[1])
onnx.checker.check_model(m, full_check=True)
print(json.dumps([m.opset_import[0].version, [i.name for i in m.graph.input],
    [o.name for o in m.graph.output], m.graph.input[0].type.tensor_type.shape.dim[0].dim_param]))
";
    let scene = Scene::new();
    for model in EVERY {
        let (path, _) = scene.export(model, &format!("{model:?}"));
        let file = path.join("models/model.onnx");
        let printed = peer.run(program, &[&file.to_string_lossy()]);
        let printed: Value = serde_json::from_str(printed.trim()).unwrap();
        let inputs = match model {
            Model::SmallMlp => json!(["input"]),
            _ => json!(["input_ids", "attention_mask"]),
        };
        assert_eq!(printed, json!([14, inputs, HEADS, "batch_size"]));
    }
}

/// Section 7.3: "Works with onnxruntime >= 1.16.0", CPU only, at several batch sizes; section 6.2
/// through the very names that document 000's `predict` uses.
#[test]
fn the_bundle_runs_in_the_oldest_onnxruntime_and_reproduces_its_golden_vectors() {
    let Some(peer) = amphora_testing::peer("onnxruntime", Some("1.16.3")) else {
        return;
    };
    let program = "
import onnxruntime as ort, numpy as np, struct, json, sys, os
bundle = sys.argv[1]
session = ort.InferenceSession(os.path.join(bundle, 'models/model.onnx'), providers=['CPUExecutionProvider'])
data = open(os.path.join(bundle, 'golden/vectors.safetensors'), 'rb').read()
n = struct.unpack('<Q', data[:8])[0]
header = json.loads(data[8:8 + n])
types = {'F32': '<f4', 'F64': '<f8', 'I64': '<i8'}
def tensor(name):
    entry = header[name]
    start, end = entry['data_offsets']
    return np.frombuffer(data[8 + n + start:8 + n + end], types[entry['dtype']]).reshape(entry['shape'])
inputs = [i.name for i in session.get_inputs()]
heads = ['swarm', 'candidates', 'minutes', 'iterations']
prefixes = sorted({k.split('/')[0] + '/' for k in header if '/' in k}) or ['']
worst = 0.0
for prefix in prefixes:
    feeds = {i: tensor(prefix + i) for i in inputs}
    for batch in [1, 7, len(next(iter(feeds.values())))]:
        outputs = session.run(heads, {i: v[:batch] for i, v in feeds.items()})
        for head, output in zip(heads, outputs):
            worst = max(worst, float(np.abs(output - tensor(prefix + head)[:batch]).max()))
print(worst)
";
    let scene = Scene::new();
    for model in EVERY {
        let (path, _) = scene.export(model, &format!("{model:?}"));
        let printed = peer.run(program, &[&path.to_string_lossy()]);
        let worst: f64 = printed.trim().parse().unwrap();
        assert!(worst < 1e-5, "{model:?}: {worst:e}");
    }
}
