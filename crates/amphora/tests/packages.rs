//! Directories with an older kind of manifest: what they take, who says so, and what is refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amphora::{
    Answer, Engines, Error, ErrorKind, InputValue, Inspection, IoSource, Level, Package,
    PackageInspection, RunRequest, Store, Subject, Target, Timestamp, VerifyRequest, inspect,
};
use amphora_onnx::build::GraphBuilder;
use amphora_onnx::{Dim, Dtype, Limits, Model, write};
use amphora_runtime::{
    Engine, EngineChoice, Executable, OrtLocation, Session, SessionOptions, Tensor,
    UnsupportedOperator, engine,
};
use amphora_testing::each;

const HEAD: &str = "\
apiVersion: axon.mlos.io/v1
kind: Model
metadata:
  name: tiny-bert
  namespace: hf
  version: latest
  description: adds token ids
  license: Apache-2.0
";
const SPEC: &str = "\
spec:
  framework: {name: PyTorch, version: 2.0.0}
  format:
    type: pytorch
    execution_format: onnx
    files:
      - {path: model.onnx, size: 0, sha256: \"\"}
";
const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

/// A package in a scratch directory.
struct Scene {
    root: tempfile::TempDir,
}

impl Scene {
    /// `io` stands under `spec`, indented by four spaces; no `spec.io` when it is empty.
    fn new(io: &str) -> Self {
        let io = match io {
            "" => String::new(),
            io => format!("  io:\n{io}"),
        };
        Self::with_manifest(&format!("{HEAD}{SPEC}{io}"))
    }

    fn with_manifest(manifest: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let scene = Self { root };
        scene.write("manifest.yaml", manifest);
        scene
    }

    /// The same with a graph that adds its inputs, the first once, the second ten times, and so on up to the eighth,
    /// after which it begins anew.
    fn with_graph(self, inputs: &[(&str, Dtype, &[Dim])], output: &[Dim]) -> Self {
        self.write("model.onnx", adder(inputs, output));
        self
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.root.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    fn subject(&self) -> amphora::Result<Subject> {
        let store = Store::open(self.path().join("artifacts"))?;
        Subject::resolve(&store, self.path().to_str().unwrap())
    }

    fn inspect(&self) -> amphora::Result<PackageInspection> {
        match inspect(&self.subject()?, false)? {
            Inspection::Package(package) => Ok(*package),
            other => panic!("{other:?}"),
        }
    }

    fn run(&self, inputs: &[(&str, &str)], choice: EngineChoice) -> amphora::Result<Answer> {
        let inputs = inputs.iter();
        amphora::run(RunRequest {
            subject: self.subject()?,
            inputs: inputs
                .map(|(name, value)| ((*name).to_owned(), InputValue::Json((*value).to_owned())))
                .collect(),
            engines: Engines {
                choice,
                ort: ort_location().unwrap_or_default(),
                walls: None,
            },
            top_k: 1,
            verify: false,
        })
    }
}

fn ort_location() -> Option<OrtLocation> {
    let peer = amphora_testing::peer("onnxruntime", None)?;
    let program =
        "import onnxruntime, pathlib; print(pathlib.Path(onnxruntime.__file__).parent.parent)";
    Some(OrtLocation {
        python: vec![PathBuf::from(peer.run(program, &[]).trim())],
        ..OrtLocation::default()
    })
}

fn adder(inputs: &[(&str, Dtype, &[Dim])], output: &[Dim]) -> Vec<u8> {
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

fn open(name: &str) -> Dim {
    Dim::Symbol(name.to_owned())
}

fn ids() -> [Dim; 2] {
    [open("batch"), open("time")]
}

/// A package whose graph takes BERT's three inputs.
fn bert(io: &str) -> Scene {
    let shape = ids();
    Scene::new(io).with_graph(&INPUTS.map(|name| (name, Dtype::Int64, &shape[..])), &shape)
}

/// `spec.io` with these inputs, each a line of YAML, and the output.
fn io(inputs: &[String]) -> String {
    let inputs: String = inputs
        .iter()
        .map(|line| format!("      - {line}\n"))
        .collect();
    format!(
        "    inputs:\n{inputs}    outputs:\n      - {{name: logits, dtype: float32, shape: [-1, -1]}}\n"
    )
}

fn stated(shape: &str, further: &str) -> String {
    let line = |name: &&str| format!("{{name: {name}, dtype: int64, shape: {shape}{further}}}");
    io(&INPUTS.iter().map(line).collect::<Vec<_>>())
}

const THREE: [(&str, &str); 3] = [
    ("input_ids", "[[1, 2]]"),
    ("attention_mask", "[[1, 1]]"),
    ("token_type_ids", "[[0, 1]]"),
];

fn logits(answer: &Answer) -> Vec<f32> {
    let logits = answer.outputs.get("logits").unwrap();
    logits.as_slice::<f32>().unwrap().to_vec()
}

#[test]
fn the_manifest_the_graph_or_what_names_give_away_say_what_goes_in() {
    let hints =
        ", preprocessing: {type: tokenization, tokenizer: tokenizer.json, tokenizer_type: bert}";
    let rows = [
        ("without spec.io", String::new(), IoSource::Graph, 3, None),
        (
            "empty spec.io",
            "    inputs: []\n    outputs: []\n".to_owned(),
            IoSource::Graph,
            3,
            None,
        ),
        (
            "without hints",
            stated("[-1, -1]", ""),
            IoSource::Manifest,
            3,
            None,
        ),
        (
            "with hints",
            stated("[-1, -1]", hints),
            IoSource::Manifest,
            0,
            Some("bert"),
        ),
    ];
    each(&rows, |(_, io, source, detected, family)| {
        let scene = bert(io);
        scene.write("tokenizer.json", "{}");
        let seen = scene.inspect().map_err(|error| error.to_string())?;
        let made: Vec<_> = seen
            .io
            .io
            .inputs
            .iter()
            .map(|input| {
                let how = input.preprocessing.as_ref().unwrap();
                let file = how.tokenizer.as_ref().unwrap().as_str();
                (
                    input.name.as_str(),
                    how.r#type.as_str(),
                    file,
                    how.tokenizer_type.as_deref(),
                )
            })
            .collect();
        let wanted = INPUTS.map(|name| (name, "tokenization", "tokenizer.json", *family));
        if seen.io.source != *source || seen.io.detected.len() != *detected || made != wanted {
            return Err(format!("{:?}", seen.io));
        }
        let answer = scene
            .run(&THREE, EngineChoice::Rten)
            .map_err(|error| error.to_string())?;
        match logits(&answer) == [11.0, 112.0] && answer.warnings.is_empty() {
            true => Ok(()),
            false => Err(format!("{answer:?}")),
        }
    });
}

#[test]
fn open_dimensions_take_any_size_and_fixed_ones_only_theirs() {
    let graph_fixed = || {
        let shape = [open("batch"), Dim::Fixed(2)];
        let inputs = INPUTS.map(|name| (name, Dtype::Int64, &shape[..]));
        Scene::new(&stated("[-1, -1]", "")).with_graph(&inputs, &shape)
    };
    let rows: [(&str, Scene, &str, bool); 6] = [
        (
            "all open, one",
            bert(&stated("[-1, -1]", "")),
            "[[1]]",
            true,
        ),
        (
            "all open, three",
            bert(&stated("[-1, -1]", "")),
            "[[1, 2, 3]]",
            true,
        ),
        (
            "fixed by the manifest",
            bert(&stated("[-1, 2]", "")),
            "[[1, 2]]",
            true,
        ),
        (
            "not as the manifest fixes",
            bert(&stated("[-1, 2]", "")),
            "[[1, 2, 3]]",
            false,
        ),
        ("fixed by the graph", graph_fixed(), "[[1, 2]]", true),
        (
            "not as the graph fixes",
            graph_fixed(),
            "[[1, 2, 3]]",
            false,
        ),
    ];
    for (name, scene, value, passes) in rows {
        let inputs = INPUTS.map(|input| (input, value));
        match scene.run(&inputs, EngineChoice::Rten) {
            Ok(_) => assert!(passes, "{name}"),
            Err(error) => {
                assert!(!passes, "{name}: {error}");
                assert_eq!(error.rule(), "inputs", "{name}: {error}");
                // One fault for each input, all at once.
                assert_eq!(error.fault_list().len(), 3, "{name}: {error}");
            }
        }
    }
}

#[test]
fn a_size_fixed_for_one_input_holds_for_every_dimension_of_that_symbol() {
    let shape = ids();
    let scene = Scene::new(&io(&[
        "{name: input_ids, dtype: int64, shape: [1, -1]}".to_owned(),
        "{name: attention_mask, dtype: int64, shape: [-1, -1]}".to_owned(),
    ]));
    let inputs = ["input_ids", "attention_mask"].map(|name| (name, Dtype::Int64, &shape[..]));
    let scene = scene.with_graph(&inputs, &shape);
    let two = [
        ("input_ids", "[[1, 2]]"),
        ("attention_mask", "[[1, 2], [3, 4]]"),
    ];
    let error = scene.run(&two, EngineChoice::Rten).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("'attention_mask' has 2 in dimension 0, expected 1"),
        "{error}"
    );
}

#[test]
fn a_manifest_that_contradicts_its_graph_is_refused_or_warned_of() {
    let line = |name: &str, dtype: &str, shape: &str| {
        format!("{{name: {name}, dtype: {dtype}, shape: {shape}}}")
    };
    let with = |index: usize, changed: String| {
        let mut lines = INPUTS.map(|name| line(name, "int64", "[-1, -1]"));
        lines[index] = changed;
        io(&lines)
    };
    let fewer = io(&INPUTS[..2]
        .iter()
        .map(|name| line(name, "int64", "[-1, -1]"))
        .collect::<Vec<_>>());
    let more = io(&INPUTS
        .iter()
        .chain(&["position_ids"])
        .map(|name| line(name, "int64", "[-1, -1]"))
        .collect::<Vec<_>>());
    let rows: [(&str, String, &str, bool); 5] = [
        (
            "another type",
            with(0, line("input_ids", "int32", "[-1, -1]")),
            "input 'input_ids': the manifest says int32, the graph int64",
            true,
        ),
        (
            "another rank",
            with(1, line("attention_mask", "int64", "[-1]")),
            "input 'attention_mask': the manifest says [?], the graph [batch, time]",
            true,
        ),
        (
            "a name that the graph lacks",
            more,
            "the manifest's input 'position_ids' is not in the graph",
            false,
        ),
        (
            "a name that the manifest lacks",
            fewer,
            "the graph's input 'token_type_ids' is not in the manifest",
            false,
        ),
        (
            "one symbol, two sizes",
            with(1, line("attention_mask", "int64", "[-1, 4]")).replacen("[-1, -1]", "[-1, 3]", 1),
            "the manifest fixes 'time' at 4, and elsewhere at 3",
            false,
        ),
    ];
    each(&rows, |(_, io, fault, runs)| {
        let scene = bert(io);
        let run = scene.run(&THREE, EngineChoice::Rten);
        match (&run, runs) {
            (Ok(answer), true) if answer.warnings == [*fault] => {}
            (Err(error), false)
                if error.rule() == "io-conflict" && error.to_string().contains(fault) => {}
            _ => return Err(format!("{run:?}")),
        }
        // Where nothing may be doubtful, all of them are errors.
        let package = Package::open(scene.path(), Level::Install).unwrap();
        let entry = package.graphs().unwrap().remove(0);
        let graph = package.model(&entry, &Limits::default()).unwrap();
        match package.effective_io(&graph.contract().unwrap(), true) {
            Err(error)
                if error.kind() == ErrorKind::Incompatible && error.to_string().contains(fault) =>
            {
                Ok(())
            }
            other => Err(format!("strict: {other:?}")),
        }
    });
}

#[test]
fn pictures_are_known_by_name_or_by_their_three_channels() {
    let batch = open("batch");
    let size = |n| Dim::Fixed(n);
    let rows: [(&str, Dtype, Vec<Dim>, Option<&str>); 6] = [
        (
            "pixel_values",
            Dtype::Float32,
            vec![batch.clone(), Dim::Unknown, Dim::Unknown, Dim::Unknown],
            Some("image"),
        ),
        (
            "data",
            Dtype::Float32,
            vec![batch.clone(), size(3), size(224), size(224)],
            Some("image"),
        ),
        (
            "data",
            Dtype::Float32,
            vec![batch.clone(), size(224), size(224), size(3)],
            Some("image"),
        ),
        (
            "data",
            Dtype::Float32,
            vec![batch.clone(), size(4), size(224), size(224)],
            None,
        ),
        (
            "data",
            Dtype::Int64,
            vec![batch.clone(), size(3), size(224), size(224)],
            None,
        ),
        (
            "input_ids",
            Dtype::Float32,
            vec![batch.clone(), size(3)],
            None,
        ),
    ];
    each(&rows, |(name, dtype, shape, kind)| {
        let scene = Scene::new("").with_graph(&[(name, *dtype, shape)], shape);
        let seen = scene.inspect().map_err(|error| error.to_string())?;
        let found = seen.io.io.inputs[0]
            .preprocessing
            .as_ref()
            .map(|how| how.r#type.as_str());
        match found == *kind {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
}

#[test]
fn without_a_graph_the_schema_is_the_next_best_and_nothing_runs() {
    let rows: [(&str, &str, &str, IoSource, &[&str]); 5] = [
        (
            "the manifest's",
            &stated("[-1, -1]", ""),
            "",
            IoSource::Manifest,
            &INPUTS,
        ),
        (
            "by model_type",
            "",
            r#"{"model_type": "albert"}"#,
            IoSource::ModelType,
            &INPUTS,
        ),
        (
            "by model_type",
            "",
            r#"{"model_type": "swin"}"#,
            IoSource::ModelType,
            &["pixel_values"],
        ),
        (
            "an unknown model_type",
            "",
            r#"{"model_type": "mamba"}"#,
            IoSource::Legacy,
            &["input"],
        ),
        ("nothing", "", "", IoSource::Legacy, &["input"]),
    ];
    each(&rows, |(_, io, config, source, names)| {
        let scene = Scene::new(io);
        let manifest = fs_err::read_to_string(scene.path().join("manifest.yaml")).unwrap();
        let manifest = manifest.replace("execution_format: onnx", "execution_format: tensorflow");
        scene.write(
            "manifest.yaml",
            manifest.replace("model.onnx", "saved_model.pb"),
        );
        if !config.is_empty() {
            scene.write("config.json", config);
        }
        let seen = scene.inspect().map_err(|error| error.to_string())?;
        let found: Vec<&str> = seen
            .io
            .io
            .inputs
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        let unverified = *source != IoSource::Manifest;
        if seen.io.source != *source || found != *names || seen.unverified != unverified {
            return Err(format!("{seen:?}"));
        }
        let error = scene.run(&[], EngineChoice::Rten).unwrap_err();
        let hint = error.hint_text().unwrap_or_default();
        match error.rule() == "package-not-runnable"
            && hint.contains("tf2onnx")
            && seen.not_runnable.is_some()
        {
            true => Ok(()),
            false => Err(format!("{error:?}")),
        }
    });
}

/// Adds like [`adder`], without looking at the graph: another engine behind the same manifest.
#[derive(Debug)]
struct ByHand;

impl Engine for ByHand {
    fn name(&self) -> &'static str {
        "by-hand"
    }
    fn version(&self) -> String {
        "1".to_owned()
    }
    fn unsupported(&self, _: &Model) -> Vec<UnsupportedOperator> {
        Vec::new()
    }
    fn load(&self, _: &Model, _: &SessionOptions) -> amphora::Result<Box<dyn Executable>> {
        Ok(Box::new(Self))
    }
}

impl Executable for ByHand {
    fn run(&mut self, inputs: &[(&str, &Tensor)], _: &[&str]) -> amphora::Result<Vec<Tensor>> {
        let mut sum = vec![0.0; inputs[0].1.len()];
        for (index, (_, tensor)) in inputs.iter().enumerate() {
            let values = tensor
                .as_slice::<i64>()
                .ok_or_else(|| Error::internal("dtype", "not int64"))?;
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += *value as f32 * 10_f32.powi(index as i32);
            }
        }
        Ok(vec![Tensor::new(inputs[0].1.shape(), sum)?])
    }
}

#[test]
fn one_manifest_drives_every_engine() {
    let rten = engine(EngineChoice::Rten, &OrtLocation::default()).unwrap();
    let ort = ort_location().map(|at| engine(EngineChoice::Ort, &at).unwrap());
    let by_hand: Arc<dyn Engine> = Arc::new(ByHand);
    let engines: Vec<Arc<dyn Engine>> = [Some(rten), ort, Some(by_hand)]
        .into_iter()
        .flatten()
        .collect();
    let scene = bert(&stated("[-1, 2]", ""));
    let package = Package::open(scene.path(), Level::Install).unwrap();
    let model = package
        .model(&package.graphs().unwrap()[0], &Limits::default())
        .unwrap();
    let contract = model.contract().unwrap();
    let known = package.effective_io(&contract, true).unwrap();
    each(&engines, |engine| {
        // Nothing below depends on the engine.
        let session = Session::new(&model, engine.clone(), &SessionOptions::default(), None);
        let mut session = session
            .and_then(|session| session.narrowed(known.narrow(&contract)))
            .map_err(|e| e.to_string())?;
        let inputs = known.io.inputs.iter().zip([[1_i64, 2], [1, 1], [0, 1]]);
        let inputs = inputs
            .map(|(spec, values)| {
                assert_eq!(spec.dtype, Dtype::Int64);
                (
                    spec.name.clone(),
                    Tensor::new([1, 2], values.to_vec()).unwrap(),
                )
            })
            .collect();
        let outputs = session.run(&inputs).map_err(|e| e.to_string())?;
        let found = outputs
            .get(&known.io.outputs[0].name)
            .unwrap()
            .as_slice::<f32>()
            .unwrap()
            .to_vec();
        match found == [11.0, 112.0] {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
}

#[test]
fn seventeen_and_forty_inputs_are_taken_as_any_other_number() {
    for count in [17, 40] {
        let names: Vec<String> = (0..count).map(|index| format!("x{index}")).collect();
        let shape = [open("batch")];
        let inputs: Vec<(&str, Dtype, &[Dim])> = names
            .iter()
            .map(|name| (name.as_str(), Dtype::Int64, &shape[..]))
            .collect();
        let lines: Vec<String> = names
            .iter()
            .map(|name| format!("{{name: {name}, dtype: int64, shape: [-1]}}"))
            .collect();
        let manifest = io(&lines).replace("shape: [-1, -1]", "shape: [-1]");
        let scene = Scene::new(&manifest).with_graph(&inputs, &shape);
        let mut values: Vec<(&str, &str)> =
            names.iter().map(|name| (name.as_str(), "[0]")).collect();
        values[3].1 = "[2]";
        for choice in [EngineChoice::Rten, EngineChoice::Auto] {
            assert_eq!(logits(&scene.run(&values, choice).unwrap()), [2000.0]);
        }
        let error = scene.run(&values[1..], EngineChoice::Rten).unwrap_err();
        assert!(error.to_string().contains("'x0' is missing"), "{error}");
    }
}

fn verify(scene: &Scene, strict: bool) -> amphora::Report {
    let package = Package::open(scene.path(), Level::Install).unwrap();
    let request = VerifyRequest {
        target: Target::General,
        engines: Engines::default(),
        strict,
        validated_at: Timestamp::from_unix_seconds(0).unwrap(),
    };
    amphora::verify_package(&package, &request).unwrap()
}

#[test]
fn verification_says_what_a_package_cannot_show() {
    let scene = bert(&stated("[-1, -1]", ""));
    let report = verify(&scene, false);
    assert!(report.passed, "{report:?}");
    let skipped: Vec<&str> = report
        .skipped
        .iter()
        .map(|skipped| skipped.check.as_str())
        .collect();
    assert_eq!(skipped, ["seal", "integrity", "numeric_equivalence"]);
    // What a publisher must say is missing in many ways, all named at once.
    let report = verify(&scene, true);
    assert!(!report.passed);
    let errors = report.errors.join("\n");
    for missing in ["distribution", "min_cores", "has no size or no digest"] {
        assert!(errors.contains(missing), "{missing}: {errors}");
    }
}

#[test]
fn a_file_that_is_not_the_listed_one_is_neither_verified_nor_run() {
    let shape = ids();
    let graph = adder(&INPUTS.map(|name| (name, Dtype::Int64, &shape[..])), &shape);
    let digest = amphora_files::sha256(&graph);
    let listed = |size: usize, digest: &str| {
        let file = format!("{{path: model.onnx, size: {size}, sha256: \"{digest}\"}}");
        let spec = SPEC.replace("{path: model.onnx, size: 0, sha256: \"\"}", &file);
        let scene = Scene::with_manifest(&format!("{HEAD}{spec}"));
        scene.write("model.onnx", &graph);
        scene
    };
    let rows = [
        (graph.len(), digest.to_string(), true),
        (0, digest.to_string(), true),
        (graph.len() + 1, digest.to_string(), false),
        (graph.len(), "0".repeat(64), false),
    ];
    each(&rows, |(size, digest, passes)| {
        let scene = listed(*size, digest);
        let report = verify(&scene, false);
        let run = scene.run(&THREE, EngineChoice::Rten);
        let refused = matches!(&run, Err(error) if error.kind() == ErrorKind::Untrusted);
        match report.passed == *passes && refused != *passes {
            true => Ok(()),
            false => Err(format!("{report:?} {run:?}")),
        }
    });
    // A bundle that lost its seal does not become a package.
    let scene = listed(graph.len(), &digest.to_string());
    let manifest = fs_err::read_to_string(scene.path().join("manifest.yaml")).unwrap();
    scene.write("manifest.yaml", format!("{manifest}identity: {{id: 0}}\n"));
    assert_eq!(scene.subject().unwrap_err().kind(), ErrorKind::Untrusted);
}
