//! Small packages, and what the facade makes of them.

use std::path::Path;

use amphora::{
    Answer, Engines, InputValue, Inspection, PackageInspection, RunRequest, Store, Subject, inspect,
};
use amphora_onnx::build::GraphBuilder;
use amphora_onnx::{Dim, Dtype, write};
use amphora_runtime::{EngineChoice, OrtLocation};

pub(crate) const HEAD: &str = "\
apiVersion: axon.mlos.io/v1
kind: Model
metadata:
  name: tiny-bert
  namespace: hf
  version: latest
  description: adds token ids
  license: Apache-2.0
";
pub(crate) const SPEC: &str = "\
spec:
  framework: {name: PyTorch, version: 2.0.0}
  format:
    type: pytorch
    execution_format: onnx
    files:
      - {path: model.onnx, size: 0, sha256: \"\"}
";
pub(crate) const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

/// A package in a scratch directory.
pub(crate) struct Scene {
    root: tempfile::TempDir,
}

impl Scene {
    /// `io` stands under `spec`, indented by four spaces; no `spec.io` when it is empty.
    pub(crate) fn new(io: &str) -> Self {
        let io = match io {
            "" => String::new(),
            io => format!("  io:\n{io}"),
        };
        Self::with_manifest(&format!("{HEAD}{SPEC}{io}"))
    }

    pub(crate) fn with_manifest(manifest: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let scene = Self { root };
        scene.write("manifest.yaml", manifest);
        scene
    }

    /// The same with a graph that adds its inputs, the first once, the second ten times, and so on up to the eighth,
    /// after which it begins anew.
    pub(crate) fn with_graph(self, inputs: &[(&str, Dtype, &[Dim])], output: &[Dim]) -> Self {
        self.write("model.onnx", adder(inputs, output));
        self
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.root.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn subject(&self) -> amphora::Result<Subject> {
        let store = Store::open(self.path().join("artifacts"))?;
        Subject::resolve(&store, self.path().to_str().unwrap())
    }

    pub(crate) fn inspect(&self) -> amphora::Result<PackageInspection> {
        match inspect(&self.subject()?, false)? {
            Inspection::Package(package) => Ok(*package),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn run(
        &self,
        inputs: &[(&str, &str)],
        choice: EngineChoice,
    ) -> amphora::Result<Answer> {
        self.run_subject(self.subject()?, inputs, choice)
    }

    /// Runs the package itself as `change` says.
    pub(crate) fn ask(&self, change: impl FnOnce(&mut RunRequest)) -> amphora::Result<Answer> {
        let mut request = RunRequest::new(self.subject()?);
        change(&mut request);
        amphora::run(request)
    }

    pub(crate) fn run_subject(
        &self,
        subject: Subject,
        inputs: &[(&str, &str)],
        choice: EngineChoice,
    ) -> amphora::Result<Answer> {
        let inputs = inputs.iter();
        amphora::run(RunRequest {
            inputs: inputs
                .map(|(name, value)| ((*name).to_owned(), InputValue::Json((*value).to_owned())))
                .collect(),
            engines: Engines {
                choice,
                ort: ort_location().unwrap_or_default(),
                walls: None,
            },
            ..RunRequest::new(subject)
        })
    }
}

pub(crate) fn ort_location() -> Option<OrtLocation> {
    let peer = amphora_testing::peer("onnxruntime", None)?;
    Some(OrtLocation {
        python: vec![peer.onnxruntime_packages()],
        ..OrtLocation::default()
    })
}

pub(crate) fn adder(inputs: &[(&str, Dtype, &[Dim])], output: &[Dim]) -> Vec<u8> {
    let mut graph = GraphBuilder::new("adder", 14).unwrap();
    let mut sum = None;
    for (index, (name, dtype, shape)) in inputs.iter().enumerate() {
        let input = graph.input(name, *dtype, shape);
        let input = graph.cast(&input, Dtype::Float32);
        let weight = graph.scalar(10_f32.powi(index as i32 % 8));
        let term = graph.binary("Mul", &input, &weight);
        sum = Some(match sum {
            None => term,
            Some(sum) => graph.binary("Add", &sum, &term),
        });
    }
    graph.output(&sum.unwrap(), "logits", Dtype::Float32, output);
    write::to_bytes(&graph.finish())
}

pub(crate) fn open(name: &str) -> Dim {
    Dim::Symbol(name.to_owned())
}

pub(crate) fn ids() -> [Dim; 2] {
    [open("batch"), open("time")]
}

/// A package whose graph takes BERT's three inputs.
pub(crate) fn bert(io: &str) -> Scene {
    let shape = ids();
    Scene::new(io).with_graph(&INPUTS.map(|name| (name, Dtype::Int64, &shape[..])), &shape)
}

/// `spec.io` with these inputs, each a line of YAML, and the output.
pub(crate) fn io(inputs: &[String]) -> String {
    let inputs: String = inputs
        .iter()
        .map(|line| format!("      - {line}\n"))
        .collect();
    format!(
        "    inputs:\n{inputs}    outputs:\n      - {{name: logits, dtype: float32, shape: [-1, -1]}}\n"
    )
}

pub(crate) fn stated(shape: &str, further: &str) -> String {
    let line = |name: &&str| format!("{{name: {name}, dtype: int64, shape: {shape}{further}}}");
    io(&INPUTS.iter().map(line).collect::<Vec<_>>())
}

pub(crate) const THREE: [(&str, &str); 3] = [
    ("input_ids", "[[1, 2]]"),
    ("attention_mask", "[[1, 1]]"),
    ("token_type_ids", "[[0, 1]]"),
];

pub(crate) fn logits(answer: &Answer) -> Vec<f32> {
    let logits = answer.outputs.get("logits").unwrap();
    logits.as_slice::<f32>().unwrap().to_vec()
}
