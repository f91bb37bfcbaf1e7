//! Token models of PyTorch that decide, on every engine that is here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amphora_checkpoint::{Limits, Safetensors};
use amphora_planner::action_space::{ActionSpace, Head, masks};
use amphora_planner::bundle::PlannerBundle;
use amphora_planner::contracts::PlannerInput;
use amphora_planner::decide::{Baseline, Planner, Policy, Settings};
use amphora_planner::decode::{Distribution, Temperatures};
use amphora_planner::encode::{FeatureSchema, TokenizerConfig, Vocabulary};
use amphora_runtime::{Engine, EngineChoice, OrtLocation, engine};
use serde_json::{Value, json};

use crate::scene::input;

const MODELS: [&str; 3] = ["planner_transformer", "planner_urm", "planner_urm_conv"];
const TEMPERATURES: [f64; 4] = [1.0, 1.5, 2.0, 1.0];

fn engines() -> Vec<Arc<dyn Engine>> {
    let mut engines = vec![engine(EngineChoice::Rten, &OrtLocation::default()).unwrap()];
    if let Some(peer) = amphora_testing::peer("onnxruntime", None) {
        let program = "import onnxruntime, glob, os; \
            print(glob.glob(os.path.dirname(onnxruntime.__file__) + '/capi/libonnxruntime.so*')[0])";
        let location = OrtLocation::library(peer.run(program, &[]).trim());
        match engine(EngineChoice::Ort, &location) {
            Ok(ort) => engines.push(ort),
            Err(error) => amphora_testing::skip(&error.to_string()),
        }
    }
    engines
}

/// A recorded row: the token numbers, and the reference in double precision of every head.
struct Row {
    ids: Vec<u32>,
    logits: [Vec<f64>; 4],
}

/// The rows of these lengths that begin with numbers of tokens that can be told apart.
fn rows(fixture: &Path, lengths: &[f64]) -> Vec<Row> {
    let vectors = fs_err::read(fixture.join("vectors.safetensors")).unwrap();
    let file = Safetensors::from_bytes(&vectors.into(), &Limits::default()).unwrap();
    let read = |name: &str| file.tensors[name].to_f64().unwrap();
    let (ids, sizes) = (read("input_ids"), read("lengths"));
    let width = ids.len() / sizes.len();
    let heads = Head::ALL.map(|head| read(&format!("{}_f64", head.onnx_name())));
    let wanted = (0..sizes.len()).filter(|row| lengths.contains(&sizes[*row]));
    wanted
        .map(|row| Row {
            ids: ids[row * width..][..sizes[row] as usize]
                .iter()
                .map(|id| *id as u32)
                .collect(),
            logits: std::array::from_fn(|head| {
                let classes = heads[head].len() / sizes.len();
                heads[head][row * classes..][..classes].to_vec()
            }),
        })
        .collect()
}

/// Document 000's flat directory around a recorded graph, whose tokens are `tokens`.
fn lay_out(folder: &Path, fixture: &Path, tokens: &[String], max_len: usize) -> PathBuf {
    fs_err::create_dir_all(folder).unwrap();
    let space = ActionSpace::default();
    let config = fs_err::read(fixture.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let tokenizer = TokenizerConfig {
        max_len,
        ..TokenizerConfig::new(&FeatureSchema::new(&space, 8))
    };
    let temperature: Value = Head::ALL
        .into_iter()
        .zip(TEMPERATURES)
        .map(|(head, t)| (head.onnx_name().to_owned(), json!(t)))
        .collect();
    let documents = [
        ("config.json", config),
        ("action_space.json", serde_json::to_value(&space).unwrap()),
        (
            "calibration.json",
            json!({"method": "temperature_scaling", "temperature": temperature}),
        ),
        ("metadata.json", json!({"model_version": "1.0.0"})),
        (
            "tokenizer_config.json",
            serde_json::to_value(tokenizer).unwrap(),
        ),
        (
            "vocab.json",
            json!({"schema_version": "cyntra.vocab.v1", "tokens": tokens, "pad_id": 0, "unk_id": 1}),
        ),
    ];
    for (name, document) in documents {
        fs_err::write(folder.join(name), document.to_string()).unwrap();
    }
    fs_err::copy(fixture.join("model.onnx"), folder.join("model.onnx")).unwrap();
    folder.to_owned()
}

/// Our tokens, as many as the model knows.
fn our_tokens(fixture: &Path) -> Vec<String> {
    let config = fs_err::read(fixture.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let size = config["vocab_size"].as_u64().unwrap() as usize;
    let ours = Vocabulary::new(&ActionSpace::default(), ["u1"]);
    let more = (0..).map(|place| format!("[MORE_{place}]"));
    ours.tokens()
        .iter()
        .cloned()
        .chain(more)
        .take(size)
        .collect()
}

/// Our tokens, with `named` at the places `ids`.
fn placed(fixture: &Path, ids: &[u32], named: &[&str]) -> Vec<String> {
    let mut tokens = our_tokens(fixture);
    for (id, name) in ids.iter().zip(named) {
        let here = tokens.iter().position(|token| token == name).unwrap_or(1);
        match here {
            // Not among the tokens that the model knows.
            1 => tokens[*id as usize] = (*name).to_owned(),
            here => tokens.swap(here, *id as usize),
        }
    }
    tokens
}

fn decides(bundle: PlannerBundle, input: &PlannerInput, expected: &[Vec<f64>; 4]) {
    let settings = Settings {
        deadline: Some(std::time::Duration::from_secs(600)),
        ..Settings::default()
    };
    let baseline = Baseline {
        timeout_seconds: 7200,
        ..Baseline::default()
    };
    let planner = Planner::new(Policy::bundle(bundle).unwrap(), settings).unwrap();
    let decision = planner.decide(input, &baseline);
    assert_eq!(decision.reason, None, "{decision:#?}");
    let space = ActionSpace::default();
    let valid = space.valid_actions("code");
    let logits = expected
        .clone()
        .map(|head| head.iter().map(|l| *l as f32).collect());
    let distribution = Distribution::new(
        &logits,
        &masks(space.widths(), &valid),
        &Temperatures::new(TEMPERATURES).unwrap(),
    );
    let best = distribution.unwrap().best(&valid).unwrap();
    assert_eq!(decision.trace.executed, space.named(best.action).unwrap());
    let confidence = decision.action.confidence.unwrap();
    assert!((confidence - best.confidence).abs() < 1e-5);
}

fn close(what: &str, found: &[Vec<f32>; 4], expected: &[Vec<f64>; 4]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (found, expected) in found.iter().zip(expected) {
            let far = (f64::from(*found) - expected).abs();
            assert!(far < 1e-5, "{what}: {found} {expected}");
        }
    }
}

#[test]
fn token_models_decide_as_their_reference_in_double_precision() {
    let names = ["[BOS]", "[KEY:UNIVERSE_ID]", "[EOS]"];
    let scratch = tempfile::tempdir().unwrap();
    let input = input(&ActionSpace::default());
    for model in MODELS {
        let Some(fixture) = amphora_testing::fixture(model) else {
            return;
        };
        let rows = rows(&fixture, &[2.0, 3.0]);
        assert!(!rows.is_empty());
        for (number, row) in rows.iter().enumerate() {
            // A sequence of two is begin and end, one of three has the first key between them.
            let named: &[&str] = match row.ids.len() {
                2 => &[names[0], names[2]],
                _ => &names,
            };
            let mut distinct = row.ids.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert!(distinct.len() == row.ids.len() && distinct[0] > 1);
            let tokens = placed(&fixture, &row.ids, named);
            let folder = scratch.path().join(format!("{model}-{number}"));
            let folder = lay_out(&folder, &fixture, &tokens, row.ids.len());
            for engine in engines() {
                let bundle = PlannerBundle::open_on(&folder, engine).unwrap();
                assert!(!bundle.is_sparse());
                let what = format!("{model} on {}", bundle.runs_on());
                close(&what, &bundle.logits(&input).unwrap(), &row.logits);
                decides(bundle, &input, &row.logits);
            }
        }
    }
}

#[test]
fn engines_agree_on_a_whole_sequence() {
    let scratch = tempfile::tempdir().unwrap();
    let mut input = input(&ActionSpace::default());
    input.issue.title = Some("Comments are cut off at the end of a line".to_owned());
    input
        .issue
        .tags
        .extend((0..20).map(|tag| format!("tag{tag}")));
    for model in MODELS {
        let Some(fixture) = amphora_testing::fixture(model) else {
            return;
        };
        let folder = scratch.path().join(model);
        let folder = lay_out(&folder, &fixture, &our_tokens(&fixture), 512);
        let answers: Vec<[Vec<f32>; 4]> = engines()
            .into_iter()
            .map(|engine| {
                let bundle = PlannerBundle::open_on(&folder, engine).unwrap();
                bundle.logits(&input).unwrap()
            })
            .collect();
        let first = answers[0]
            .clone()
            .map(|head| head.into_iter().map(f64::from).collect());
        for other in &answers {
            close(model, other, &first);
        }
        let bundle = PlannerBundle::open(&folder).unwrap();
        decides(bundle, &input, &first);
    }
}
