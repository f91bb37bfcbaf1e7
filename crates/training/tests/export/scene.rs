//! Checkpoints of every kind with weights that nobody trained, and a dataset that they could have
//! been trained on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amphora_bundle::Timestamp;
use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Dtype, Safetensors, Tensor};
use amphora_files::json;
use amphora_planner::action_space::{ActionSpace, Head};
use amphora_planner::contracts::{
    ActionVersion, DatasetMeta, DatasetRow, PlannerAction, PlannerInput, Split, SplitCounts,
};
use amphora_planner::encode::{FeatureSchema, TokenizerConfig, Vocabulary};
use amphora_runtime::{Engine, EngineChoice, OrtLocation, engine};
use amphora_training::dataset::Dataset;
use amphora_training::export::{ExportRequest, Exported, export};
use serde_json::{Value, json};

/// Steps through numbers that look random, the same at every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    fn weight(&mut self) -> f32 {
        (self.next() % 20_001) as f32 / 10_000.0 - 1.0
    }
}

pub(crate) struct Scene {
    pub(crate) scratch: tempfile::TempDir,
    pub(crate) space: ActionSpace,
    pub(crate) dataset: Dataset,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let space = ActionSpace::default();
        Self {
            scratch: tempfile::tempdir().unwrap(),
            dataset: dataset(&space),
            space,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A checkpoint in the directory `name`, as training writes it.
    pub(crate) fn checkpoint(&self, name: &str, model: Model) -> PathBuf {
        let directory = self.path(name);
        fs_err::create_dir_all(&directory).unwrap();
        let schema = FeatureSchema::new(&self.space, 8);
        let vocabulary = Vocabulary::new(&self.space, ["u1"]);
        let heads: Value = Head::ALL
            .into_iter()
            .map(|h| {
                (
                    h.onnx_name().to_owned(),
                    json!({"n_classes": self.space.width(h)}),
                )
            })
            .collect();
        let mut config = match model {
            Model::Mlp => json!({
                "model_type": "mlp", "d_in": schema.width(), "d_hidden": 512, "n_layers": 3,
            }),
            Model::SmallMlp => json!({
                "model_type": "mlp", "d_in": schema.width(), "d_hidden": 32, "n_layers": 2,
            }),
            Model::Transformer => json!({
                "model_type": "transformer", "vocab_size": vocabulary.len(), "d_model": 16,
                "n_layers": 2, "n_heads": 2, "d_ff": 24, "max_len": 128,
            }),
            Model::Urm => json!({
                "model_type": "urm", "vocab_size": vocabulary.len(), "d_model": 16, "n_heads": 2,
                "d_inner": 24, "loops": 3, "max_len": 128,
            }),
            Model::ConvUrm => json!({
                "model_type": "urm", "vocab_size": vocabulary.len(), "d_model": 16, "n_heads": 2,
                "d_inner": 24, "loops": 3, "max_len": 128, "mlp": "conv_swiglu", "conv_kernel": 2,
            }),
        };
        config["heads"] = heads;
        let architecture = Architecture::from_config(&config).unwrap();
        let mut config = architecture.to_config_json(14);
        config["action_space"] = serde_json::to_value(&self.space).unwrap();
        config["training"] = json!({"model": architecture.model_type(), "decoding": "multi-head"});
        if model.reads_tokens() {
            let tokenizer = TokenizerConfig {
                max_len: 128,
                ..TokenizerConfig::new(&schema)
            };
            config["tokenizer"] = serde_json::to_value(tokenizer).unwrap();
            fs_err::write(directory.join("vocab.json"), vocabulary.to_json().unwrap()).unwrap();
        }
        write_json(&directory.join("config.json"), &config);
        let report = json!({"members": [{"curve": {"epochs": [{}, {}, {}], "best_epoch": 2}}]});
        write_json(&directory.join("training_report.json"), &report);
        fs_err::write(directory.join("model.safetensors"), weights(&architecture)).unwrap();
        directory
    }

    pub(crate) fn request<'a>(
        &'a self,
        checkpoint: &'a Path,
        out: &'a Path,
        engines: &'a [Arc<dyn Engine>],
        created: &'a Timestamp,
    ) -> ExportRequest<'a> {
        ExportRequest {
            checkpoint,
            dataset: &self.dataset,
            out,
            config: None,
            calibration: None,
            threshold: None,
            version: "1.0.0",
            git_sha: Some("0123456789abcdef"),
            keep_checkpoint: false,
            toolchains: None,
            created,
            engines,
        }
    }

    /// Exports a checkpoint to the directory `bundle`.
    pub(crate) fn export(&self, model: Model, bundle: &str) -> (PathBuf, Exported) {
        let checkpoint = self.checkpoint(&format!("{bundle}-checkpoint"), model);
        let out = self.path(bundle);
        let (engines, created) = (engines(), date(0));
        let exported = export(
            &self.request(&checkpoint, &out, &engines, &created),
            &|_| (),
        )
        .unwrap();
        (out, exported)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Model {
    /// The default of document 000, as large as it is.
    Mlp,
    SmallMlp,
    Transformer,
    Urm,
    /// The same with a convolution in its feed-forward part.
    ConvUrm,
}

impl Model {
    pub(crate) fn reads_tokens(self) -> bool {
        matches!(self, Self::Transformer | Self::Urm | Self::ConvUrm)
    }
}

pub(crate) fn date(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000 + seconds).unwrap()
}

pub(crate) fn write_json(path: &Path, value: &Value) {
    fs_err::write(path, json::to_pretty_bytes(value).unwrap()).unwrap();
}

pub(crate) fn read_json(path: &Path) -> Value {
    json::parse(&fs_err::read(path).unwrap()).unwrap()
}

/// rten, and ONNX Runtime where a Python peer has it.
pub(crate) fn engines() -> Vec<Arc<dyn Engine>> {
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

/// Weights like those of a fresh PyTorch model.
fn weights(architecture: &Architecture) -> Vec<u8> {
    let mut numbers = Numbers(11);
    let mut file = Safetensors::default();
    for parameter in architecture.parameters() {
        let inputs = parameter.shape.last().copied().unwrap_or(1) as f32;
        let count: u64 = parameter.shape.iter().product();
        let is_norm = parameter.shape.len() == 1 && parameter.name.ends_with("weight");
        let data: Vec<u8> = (0..count)
            .flat_map(|_| {
                let value = match is_norm {
                    true => 1.0 + 0.1 * numbers.weight(),
                    false => numbers.weight() / inputs.sqrt(),
                };
                value.to_le_bytes()
            })
            .collect();
        let tensor = Tensor::new(Dtype::F32, parameter.shape.clone(), data.into()).unwrap();
        file.tensors.insert(parameter.name.clone(), tensor);
    }
    file.to_bytes().unwrap()
}

fn dataset(space: &ActionSpace) -> Dataset {
    let mut numbers = Numbers(5);
    let valid = space.valid_actions("code");
    let splits = [(Split::Train, 5), (Split::Val, 40), (Split::Test, 20)];
    let splits = splits
        .into_iter()
        .flat_map(|(split, n)| std::iter::repeat_n(split, n));
    let rows: Vec<DatasetRow> = splits
        .enumerate()
        .map(|(number, split)| {
            let mut pick = |words: &[&str]| words[numbers.next() as usize % words.len()].to_owned();
            let input = json!({
                "schema_version": "cyntra.planner_input.v1", "created_at": "2026-02-03T09:00:00Z",
                "universe_id": "u1", "job_type": "code", "universe_defaults": {},
                "issue": {"issue_id": number.to_string(), "dk_priority": pick(&["P0", "P1", "P2"]),
                    "dk_risk": pick(&["low", "medium", "high"]), "dk_size": pick(&["S", "M", "L"]),
                    "dk_tool_hint": null, "dk_attempts": 1,
                    "tags": [pick(&["kernel", "cache", "docs"]), pick(&["ui", "api"])]},
                "history": {"last_n_similar_runs": []},
                "action_space": serde_json::to_value(space).unwrap(),
            });
            let action = valid[numbers.next() as usize % valid.len()];
            let named = space.named(action).unwrap();
            DatasetRow {
                run_id: format!("run-{number:03}"),
                started_ms: 1_700_000_000_000 + number as u64,
                split,
                planner_input: PlannerInput::from_value(&input).unwrap(),
                tokens: Vec::new(),
                label_action: PlannerAction {
                    schema_version: ActionVersion,
                    created_at: "2026-02-03T09:00:00Z".to_owned(),
                    budgets: named.budgets(),
                    swarm_id: named.swarm_id,
                    probs: None,
                    confidence: None,
                    abstain_to_default: false,
                    reason: None,
                    model: None,
                    input_hash: None,
                },
            }
        })
        .collect();
    let meta = json!({
        "schema_version": "cyntra.planner_dataset.v1",
        "dataset_hash": "ab".repeat(32), "example_count": rows.len(),
        "split_counts": {"train": 5, "val": 40, "test": 20},
        "include_world": false, "n_similar_runs": 8, "universe_id": "u1",
    });
    let counts = SplitCounts {
        train: 5,
        val: 40,
        test: 20,
    };
    let meta: DatasetMeta = serde_json::from_value(meta).unwrap();
    assert_eq!(meta.split_counts, counts);
    Dataset { rows, meta }
}
