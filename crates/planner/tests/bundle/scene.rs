//! A small planner, written as files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use amphora_bundle::manifest::{Framework, Golden, GoldenKind, Metadata, Tolerance};
use amphora_bundle::{Details, MAIN_GRAPH, Name, Store, Version};
use amphora_checkpoint::{Dtype as Stored, Safetensors, Tensor as StoredTensor};
use amphora_files::RelativePath;
use amphora_onnx::build::{GraphBuilder, Value};
use amphora_onnx::{Dim, Dtype, Limits, Model, write};
use amphora_planner::action_space::{ActionSpace, Head};
use amphora_planner::contracts::PlannerInput;
use amphora_planner::encode::{FeatureSchema, TokenizerConfig};
use serde_json::{Value as Json, json};

/// What the tests change.
pub(crate) struct Scene {
    pub(crate) space: ActionSpace,
    pub(crate) history_slots: usize,
    /// The heads in the order in which the graph has them.
    pub(crate) order: [Head; 4],
    /// Whether the hidden layer has a ReLU, without which it is no planner MLP.
    pub(crate) relu: bool,
    /// What is added to every golden reference.
    pub(crate) golden_shift: f64,
    /// JSON documents by name; `None` takes one away.
    pub(crate) documents: BTreeMap<&'static str, Option<Json>>,
}

const HIDDEN: usize = 16;

impl Scene {
    pub(crate) fn new() -> Self {
        let mut scene = Self {
            space: ActionSpace::default(),
            history_slots: 2,
            order: Head::ALL,
            relu: true,
            golden_shift: 0.0,
            documents: BTreeMap::new(),
        };
        scene.write_documents();
        scene
    }

    /// The documents that belong to action space and history.
    pub(crate) fn write_documents(&mut self) {
        let schema = self.schema();
        let heads: Json = Head::ALL
            .into_iter()
            .map(|head| {
                let n = self.space.width(head);
                (head.onnx_name().to_owned(), json!({"n_classes": n}))
            })
            .collect();
        let tokenizer = TokenizerConfig::new(&schema);
        self.documents = BTreeMap::from([
            (
                "config.json",
                Some(json!({"model_type": "mlp", "heads": heads})),
            ),
            (
                "action_space.json",
                Some(serde_json::to_value(&self.space).unwrap()),
            ),
            (
                "calibration.json",
                Some(json!({"method": "temperature_scaling", "temperature": {"minutes": 2.0}})),
            ),
            (
                "tokenizer_config.json",
                Some(serde_json::to_value(tokenizer).unwrap()),
            ),
            (
                "metadata.json",
                Some(json!({
                    "model_version": "1.2.3",
                    "provenance": {"git_sha": "abcdef0"},
                    "digests": {
                        "feature_schema": schema.digest().unwrap(),
                        "action_space": self.space.digest().unwrap(),
                    },
                })),
            ),
        ]);
    }

    pub(crate) fn set(mut self, name: &'static str, key: &str, value: Json) -> Self {
        let document = self.documents.get_mut(name).unwrap().as_mut().unwrap();
        document[key] = value;
        self
    }

    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.documents.insert(name, None);
        self
    }

    pub(crate) fn schema(&self) -> FeatureSchema {
        FeatureSchema::new(&self.space, self.history_slots)
    }

    pub(crate) fn graph(&self) -> Model {
        let width = self.schema().width();
        let mut graph = GraphBuilder::new("planner", 14).unwrap();
        let mut state = 7_u64;
        let mut weight = |graph: &mut GraphBuilder, name: String, shape: &[usize]| -> Value {
            let data = (0..shape.iter().product()).flat_map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                ((state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5).to_le_bytes()
            });
            let data: Vec<u8> = data.collect();
            let shape: Vec<u64> = shape.iter().map(|n| *n as u64).collect();
            graph.initializer(&name, Dtype::Float32, &shape, data.into())
        };
        let batch = || Dim::Symbol("batch_size".into());
        let shape = [batch(), Dim::Fixed(width as u64)];
        let input = graph.input("input", Dtype::Float32, &shape);
        let w = weight(&mut graph, "w".into(), &[HIDDEN, width]);
        let b = weight(&mut graph, "b".into(), &[HIDDEN]);
        let x = graph.linear(&input, &w, &b);
        let scale = weight(&mut graph, "scale".into(), &[HIDDEN]);
        let shift = weight(&mut graph, "shift".into(), &[HIDDEN]);
        let mut x = graph.layer_norm(&x, &scale, &shift, 1e-5);
        if self.relu {
            x = graph.unary("Relu", &x);
        }
        for head in self.order {
            let name = head.onnx_name();
            let n = self.space.width(head);
            let w = weight(&mut graph, format!("{name}.w"), &[n, HIDDEN]);
            let b = weight(&mut graph, format!("{name}.b"), &[n]);
            let logits = graph.linear(&x, &w, &b);
            let shape = [batch(), Dim::Fixed(n as u64)];
            graph.output(&logits, name, Dtype::Float32, &shape);
        }
        Model::from_proto(graph.finish(), &Limits::default()).unwrap()
    }

    /// A sealed bundle in a new store beneath `scratch`.
    pub(crate) fn seal(&self, scratch: &Path) -> PathBuf {
        let store = Store::open(scratch.join("store")).unwrap();
        let mut draft = store.draft().unwrap();
        let model = self.graph();
        let bytes = write::to_bytes(model.proto());
        let contract = model.contract().unwrap();
        draft
            .add_graph(MAIN_GRAPH, "single", &bytes, &BTreeMap::new(), &contract)
            .unwrap();
        let close = Tolerance::close(1e-5, 0.0);
        let golden = Golden {
            file: RelativePath::parse("golden/vectors.safetensors").unwrap(),
            kind: GoldenKind::Equivalence,
            producer: "a test".to_owned(),
            cases: 3,
            tolerance: Head::ALL
                .map(|h| (h.onnx_name().to_owned(), close.clone()))
                .into(),
        };
        draft
            .add_golden(MAIN_GRAPH, &self.golden(&model), golden)
            .unwrap();
        for (name, document) in &self.documents {
            if let Some(document) = document {
                let path = RelativePath::parse(name).unwrap();
                draft
                    .add_bytes(&path, document.to_string().as_bytes())
                    .unwrap();
            }
        }
        let metadata = Metadata::new(
            &Name::parse("planner").unwrap(),
            Version::parse("1.0.0").unwrap(),
        );
        let framework = Framework {
            name: "amphora".to_owned(),
            version: None,
        };
        let sealed = draft
            .seal(Details::new(metadata, framework, "safetensors"))
            .unwrap();
        sealed.publish().unwrap().path
    }

    /// Document 000's flat directory.
    pub(crate) fn lay_out(&self, scratch: &Path) -> PathBuf {
        let folder = scratch.join("v1");
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::write(
            folder.join("model.onnx"),
            write::to_bytes(self.graph().proto()),
        )
        .unwrap();
        for (name, document) in &self.documents {
            if let Some(document) = document {
                fs_err::write(folder.join(name), document.to_string()).unwrap();
            }
        }
        folder
    }

    /// Three rows with what an engine answers.
    fn golden(&self, model: &Model) -> Vec<u8> {
        let width = self.schema().width();
        let mut dense = vec![0.0_f32; 3 * width];
        dense[width + 5] = 1.0;
        dense[2 * width..]
            .iter_mut()
            .step_by(9)
            .for_each(|value| *value = 0.5);
        let outputs = by_engine(model, &dense, width);
        let mut file = Safetensors::default();
        let floats: Vec<u8> = dense.iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = StoredTensor::new(Stored::F32, vec![3, width as u64], floats.into());
        file.tensors.insert("input".to_owned(), tensor.unwrap());
        for (name, values) in outputs {
            let shape = vec![3, values.len() as u64 / 3];
            let doubles: Vec<u8> = values
                .iter()
                .flat_map(|v| (f64::from(*v) + self.golden_shift).to_le_bytes())
                .collect();
            let tensor = StoredTensor::new(Stored::F64, shape, doubles.into());
            file.tensors.insert(name, tensor.unwrap());
        }
        let entries = [
            ("format", "amphora.golden.v1"),
            ("kind", "equivalence"),
            ("producer", "a test"),
            ("cases", "3"),
            ("stacked", "3"),
        ];
        for (key, value) in entries {
            file.metadata.insert(key.to_owned(), value.to_owned());
        }
        file.to_bytes().unwrap()
    }
}

/// What rten answers, by output.
pub(crate) fn by_engine(model: &Model, dense: &[f32], width: usize) -> BTreeMap<String, Vec<f32>> {
    use amphora_runtime::{EngineChoice, OrtLocation, Session, SessionOptions, Tensor, engine};
    let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
    let mut session = Session::new(model, rten, &SessionOptions::default(), None).unwrap();
    let input = Tensor::new([dense.len() / width, width], dense.to_vec()).unwrap();
    let outputs = session
        .run(&BTreeMap::from([("input".to_owned(), input)]))
        .unwrap();
    let named = outputs.into_iter();
    named
        .map(|(name, tensor)| (name, tensor.into_vec().unwrap()))
        .collect()
}

pub(crate) fn input(space: &ActionSpace) -> PlannerInput {
    let document = json!({
        "schema_version": "cyntra.planner_input.v1", "created_at": "2026-02-03T09:00:00Z",
        "universe_id": "u1", "job_type": "code", "universe_defaults": {},
        "issue": {"issue_id": "42", "dk_priority": "P1", "dk_risk": "low", "dk_size": "S",
            "dk_tool_hint": null, "dk_attempts": 1, "tags": ["kernel", "cache"]},
        "history": {"last_n_similar_runs": []},
        "action_space": serde_json::to_value(space).unwrap(),
    });
    let mut document = document;
    // An input's rules are words.
    document["action_space"]["validity_rules"] = json!([]);
    PlannerInput::from_json(document.to_string().as_bytes()).unwrap()
}
