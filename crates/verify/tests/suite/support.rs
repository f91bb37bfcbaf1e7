//! Building a bundle from a fixture's PyTorch-exported graph and its checkpoint.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use amphora_bundle::manifest::{self, Framework, Metadata};
use amphora_bundle::{Bundle, Details, MAIN_GRAPH, Name, Sealed, Store, Version};
use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_files::{RelativePath, json};
use amphora_onnx::{Contract, Model};
use amphora_runtime::{Engine, EngineChoice, OrtLocation, engine};
use amphora_testing::fixture;
use amphora_verify::{Golden, Verification, VerifyOptions, verify};
use serde_json::Value;

/// Weights up to this size stay in the graph file.
const INLINE: u64 = 4 << 20;

pub(crate) fn path(text: &str) -> RelativePath {
    RelativePath::parse(text).unwrap()
}

pub(crate) fn rten() -> Arc<dyn Engine> {
    engine(EngineChoice::Rten, &OrtLocation::default()).unwrap()
}

pub(crate) fn options() -> VerifyOptions {
    VerifyOptions {
        engine: Some(rten()),
        ..VerifyOptions::default()
    }
}

/// A fixture: its graph, its checkpoint, and the architecture that its configuration describes.
pub(crate) struct Source {
    pub(crate) folder: PathBuf,
    pub(crate) config: Value,
    pub(crate) architecture: Architecture,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) model: Model,
}

impl Source {
    pub(crate) fn open(name: &str) -> Option<Self> {
        let folder = fixture(name)?;
        let config = json::read(folder.join("config.json")).unwrap();
        let model = Model::open(&folder.join("model.onnx"), &Default::default()).unwrap();
        let checkpoint = folder.join("model.safetensors");
        Some(Self {
            architecture: Architecture::from_config(&config).unwrap(),
            checkpoint: Checkpoint::open(checkpoint, &Limits::default()).unwrap(),
            model,
            config,
            folder,
        })
    }

    /// The same with the graph's only input called `name`.
    pub(crate) fn with_input(mut self, name: &str) -> Self {
        let mut proto = self.model.proto().clone();
        let graph = proto.graph.as_mut().unwrap();
        let before = graph.input[0].name.replace(name.to_owned()).unwrap();
        let inputs = graph.node.iter_mut().flat_map(|node| &mut node.input);
        for input in inputs.filter(|input| **input == before) {
            *input = name.to_owned();
        }
        self.model = Model::from_proto(proto, &Default::default()).unwrap();
        self
    }

    pub(crate) fn contract(&self) -> Contract {
        self.model.contract().unwrap()
    }

    pub(crate) fn golden(&self, cases: usize) -> Golden {
        Golden::of_checkpoint(&self.architecture, &self.checkpoint, cases)
            .unwrap()
            .0
    }

    pub(crate) fn parts(&self, cases: usize) -> Parts {
        let golden = self.golden(cases);
        let contract = self.contract();
        Parts {
            entry: golden.manifest_entry(path("golden/model.safetensors"), &contract),
            golden: golden.to_bytes().unwrap(),
            declared: contract,
            model: self.model.clone(),
            files: BTreeMap::from([("config.json", json::to_pretty_bytes(&self.config).unwrap())]),
            details: Box::new(|_| {}),
        }
    }
}

/// What goes into a bundle; tests change one thing before they seal it.
pub(crate) struct Parts {
    pub(crate) model: Model,
    /// What the manifest will say of the graph.
    pub(crate) declared: Contract,
    pub(crate) golden: Vec<u8>,
    pub(crate) entry: manifest::Golden,
    pub(crate) files: BTreeMap<&'static str, Vec<u8>>,
    pub(crate) details: Box<dyn FnOnce(&mut Details)>,
}

/// A bundle in a store that lives as long as this value.
pub(crate) struct Packed {
    _scratch: tempfile::TempDir,
    pub(crate) folder: PathBuf,
}

impl Parts {
    pub(crate) fn publish(self) -> Packed {
        let scratch = tempfile::tempdir().unwrap();
        let sealed = self.seal(&Store::open(scratch.path().join("artifacts")).unwrap());
        let folder = sealed.publish().unwrap().path;
        Packed {
            _scratch: scratch,
            folder,
        }
    }

    fn seal(self, store: &Store) -> Sealed {
        const DATA: &str = "model.onnx.data";
        let mut draft = store.draft().unwrap();
        let parts = amphora_onnx::write::self_contained(&self.model, DATA, INLINE).unwrap();
        let data = parts
            .data
            .iter()
            .map(|data| (DATA.to_owned(), data.to_bytes()))
            .collect();
        draft
            .add_graph(MAIN_GRAPH, "single", &parts.graph, &data, &self.declared)
            .unwrap();
        draft
            .add_golden(MAIN_GRAPH, &self.golden, self.entry)
            .unwrap();
        let metadata = Metadata::new(
            &Name::parse("demo").unwrap(),
            Version::parse("1.0.0").unwrap(),
        );
        let framework = Framework {
            name: "pytorch".to_owned(),
            version: None,
        };
        let mut details = Details::new(metadata, framework, "pytorch");
        for (name, bytes) in &self.files {
            draft.add_bytes(&path(name), bytes).unwrap();
            let asset = Some(path(name));
            match *name {
                "config.json" => details.assets.config = asset,
                "label_map.json" => details.assets.labels = asset,
                "metrics.json" => details.assets.metrics = asset,
                "calibration.json" => details.assets.calibration = asset,
                other => panic!("no asset is called {other}"),
            }
        }
        (self.details)(&mut details);
        draft.seal(details).unwrap()
    }
}

impl Packed {
    pub(crate) fn verify(&self, options: &VerifyOptions) -> Verification {
        verify(Bundle::open(&self.folder).unwrap(), options).unwrap()
    }
}
