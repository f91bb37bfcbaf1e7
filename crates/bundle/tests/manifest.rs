//! Manifests: what is read, what is refused and where, and that writing and reading agree.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::BTreeMap;

use amphora_bundle::manifest::{
    AudioLayout, FormatEntry, Generation, IoSpec, Pooling, Postprocessing, Preprocessing,
    Requirements, Sampling, Tolerance,
};
use amphora_bundle::{Manifest, ManifestFields};
use amphora_error::ErrorKind;
use amphora_onnx::Dim;
use support::{healthy_manifest as healthy, path};

fn fields() -> ManifestFields {
    Manifest::parse(healthy().as_bytes()).unwrap().into_fields()
}

#[test]
fn what_is_written_is_read_back_and_written_the_same() {
    let manifest = Manifest::parse(healthy().as_bytes()).unwrap();
    assert_eq!(manifest.to_yaml().unwrap(), healthy());
    assert_eq!(manifest.computed_id().unwrap(), manifest.identity.id);
    let short = healthy().replace("axon.mlos.io/v1", "v1");
    assert_eq!(*Manifest::parse(short.as_bytes()).unwrap(), *manifest);
}

#[test]
fn strings_stay_strings() {
    for word in [
        "no",
        "010",
        "1.10",
        "0x10",
        "~x",
        "2024-01-01",
        "1e3",
        "Yes",
    ] {
        let text = healthy().replacen("\"adds a constant\"", word, 1);
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        assert_eq!(manifest.metadata.description, word);
        let again = manifest.to_yaml().unwrap();
        let again = Manifest::parse(again.as_bytes()).unwrap();
        assert_eq!(again.metadata.description, word);
    }
    let text = healthy().replacen("version: \"1.0.0\"", "version: 1.0", 1);
    assert_eq!(
        Manifest::parse(text.as_bytes()).unwrap_err().kind(),
        ErrorKind::Malformed
    );
}

#[test]
fn every_rule_beyond_the_grammar_is_refused_by_its_name() {
    type Break = fn(&mut ManifestFields);
    let rows: [(&str, Break); 41] = [
        ("manifest-file-order", |f| f.files.swap(0, 1)),
        ("manifest-file-order", |f| {
            let twice = f.files[0].clone();
            f.files.insert(0, twice);
        }),
        ("manifest-lists-itself", |f| {
            f.files[0].path = path("Manifest.yaml")
        }),
        ("manifest-file-twins", |f| {
            let mut twin = f.files[0].clone();
            twin.path = path("CONFIG.json");
            f.files.insert(0, twin);
        }),
        ("manifest-file-and-folder", |f| {
            let mut below = f.files[0].clone();
            below.path = path("config.json/x");
            f.files.insert(1, below);
        }),
        ("manifest-file-size", |f| f.files[0].size = u64::MAX),
        ("manifest-entry", |f| f.spec.entry = "absent".to_owned()),
        ("manifest-entry-io", |f| {
            f.spec.io.inputs[0].name = "z".to_owned()
        }),
        ("manifest-graph-name", |f| {
            let graph = f.spec.graphs["model"].clone();
            f.spec.graphs.insert("../x".to_owned(), graph);
        }),
        ("manifest-graph-role", |f| {
            set_graph(f, |g| g.role = "Two Words".to_owned())
        }),
        ("manifest-path-unlisted", |f| {
            set_graph(f, |g| g.file = path("models/other.onnx"))
        }),
        ("manifest-graph-data", |f| {
            set_graph(f, |g| g.data = vec![path("config.json")])
        }),
        ("manifest-io-empty", |f| {
            set_graph(f, |g| g.io.outputs.clear())
        }),
        ("manifest-io-name", |f| {
            set_graph(f, |g| g.io.inputs.push(g.io.inputs[0].clone()));
        }),
        ("manifest-io-name", |f| {
            set_graph(f, |g| g.io.inputs[0].name.clear())
        }),
        ("manifest-io-shape", |f| {
            set_input(f, |i| i.shape = Some(vec![-2]))
        }),
        ("manifest-io-shape", |f| {
            set_input(f, |i| i.shape = Some(vec![-1]))
        }),
        ("manifest-io-shape", |f| {
            set_input(f, |i| {
                i.dims = Some(vec![Dim::Symbol("b".to_owned()), Dim::Fixed(4)])
            });
        }),
        ("manifest-path-unlisted", |f| {
            set_input(f, |i| {
                i.preprocessing = Some(Preprocessing {
                    r#type: "tokenization".to_owned(),
                    tokenizer: Some(path("tokenizer.json")),
                    tokenizer_type: None,
                    config: None,
                });
            });
        }),
        ("manifest-generation-graph", |f| {
            f.spec.generation = Some(generation("absent"));
        }),
        ("manifest-path-unlisted", |f| {
            f.spec.generation = Some(Generation {
                chat_template: Some(path("chat_template.jinja")),
                ..generation("model")
            });
        }),
        ("manifest-sampling", |f| {
            f.spec.generation = Some(Generation {
                sampling: Some(Sampling {
                    top_p: Some(1.5),
                    ..Sampling::default()
                }),
                ..generation("model")
            });
        }),
        ("manifest-postprocessing", |f| {
            set_steps(f, &[Postprocessing::Argmax, Postprocessing::Normalize]);
        }),
        ("manifest-postprocessing", |f| {
            set_steps(
                f,
                &[Postprocessing::Softmax {
                    temperature: Some(0.0),
                }],
            );
        }),
        ("manifest-postprocessing", |f| {
            set_steps(f, &[Postprocessing::Labels { top_k: None }]);
        }),
        ("manifest-postprocessing", |f| {
            set_steps(f, &[Postprocessing::Pooling { mode: Pooling::Cls }]);
        }),
        ("manifest-format-files", |f| f.spec.format.files.clear()),
        ("manifest-format-files", |f| {
            f.spec.format.files[0].size += 1
        }),
        ("manifest-format-entry", |f| {
            f.formats
                .insert("coreml".to_owned(), FormatEntry::default());
        }),
        ("manifest-path-unlisted", |f| {
            f.assets.labels = Some(path("label_map.json"))
        }),
        ("manifest-golden-graph", |f| {
            let golden = f.golden["model"].clone();
            f.golden.insert("other".to_owned(), golden);
        }),
        ("manifest-golden-output", |f| {
            set_tolerance(f, "absent", Tolerance::exact());
        }),
        ("manifest-tolerance", |f| {
            set_tolerance(f, "y", Tolerance::default())
        }),
        ("manifest-tolerance", |f| {
            set_tolerance(f, "y", Tolerance::close(-1.0, 0.0))
        }),
        ("manifest-file-count", |f| {
            let one = f.files[0].clone();
            f.files = (0..4097)
                .map(|i| amphora_bundle::manifest::FileEntry {
                    path: path(&format!("f{i:05}")),
                    ..one.clone()
                })
                .collect();
        }),
        ("manifest-format-name", |f| {
            let onnx = f.formats["onnx"].clone();
            f.formats.insert("../onnx".to_owned(), onnx);
        }),
        ("manifest-golden-place", |f| {
            f.golden.get_mut("model").unwrap().file = path("config.json");
        }),
        ("manifest-golden-empty", |f| {
            f.golden.get_mut("model").unwrap().cases = 0;
        }),
        ("manifest-performance", |f| {
            let mut performance = amphora_bundle::manifest::Performance::default();
            performance.accuracy.insert("a".to_owned(), f64::NAN);
            f.spec.performance = Some(performance);
        }),
        ("manifest-text", |f| {
            f.metadata.description = "x".repeat((64 << 10) + 1);
        }),
        ("manifest-control", |f| {
            f.metadata.description = "a\u{0}b".to_owned()
        }),
    ];
    amphora_testing::each(&rows, |(rule, break_it)| {
        let mut fields = fields();
        break_it(&mut fields);
        match Manifest::new(fields) {
            Err(error) if error.rule() == *rule && error.kind() == ErrorKind::Malformed => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    });
    let mut many = fields();
    many.spec.entry = "absent".to_owned();
    many.assets.labels = Some(path("label_map.json"));
    assert_eq!(Manifest::new(many).unwrap_err().fault_list().len(), 2);
    let json = serde_json::to_value(fields()).unwrap();
    serde_json::from_value::<Manifest>(json.clone()).unwrap();
    let mut broken = json;
    broken["spec"]["entry"] = "absent".into();
    assert!(serde_json::from_value::<Manifest>(broken).is_err());
}

#[test]
fn steps_have_one_order_and_each_stands_once() {
    let softmax = |temperature| Postprocessing::Softmax { temperature };
    let labels = |top_k| Postprocessing::Labels { top_k };
    let (normalize, argmax) = (Postprocessing::Normalize, Postprocessing::Argmax);
    let pooling = Postprocessing::Pooling {
        mode: Pooling::Mean,
    };
    let audio = |sample_rate, channels, layout| Postprocessing::Audio {
        sample_rate,
        channels,
        layout,
    };
    let stereo = audio(8000, 2, AudioLayout::Ntc);
    assert_eq!(Postprocessing::fault(&[stereo]), None);
    let all = [
        pooling.clone(),
        normalize.clone(),
        softmax(Some(0.5)),
        labels(Some(1)),
        argmax.clone(),
    ];
    // Whatever is left out of the whole list, the rest keeps its order.
    for left_out in 0..1_usize << all.len() {
        let steps: Vec<Postprocessing> = (0..all.len())
            .filter(|index| left_out & 1 << index == 0)
            .map(|index| all[index].clone())
            .collect();
        assert_eq!(Postprocessing::fault(&steps), None, "{steps:?}");
    }
    let rows = [
        (
            vec![normalize.clone(), pooling.clone()],
            "pooling cannot follow normalize",
        ),
        (
            vec![softmax(None), softmax(None)],
            "softmax cannot follow softmax",
        ),
        (
            vec![labels(None), softmax(None)],
            "softmax cannot follow labels",
        ),
        (
            vec![softmax(None), pooling],
            "pooling cannot follow softmax",
        ),
        (vec![argmax, labels(None)], "labels cannot follow argmax"),
        (
            vec![softmax(None), normalize],
            "normalize cannot follow softmax",
        ),
        (vec![softmax(Some(-1.0))], "temperature -1 is not positive"),
        (
            vec![softmax(Some(f64::INFINITY))],
            "temperature inf is not positive",
        ),
        (vec![labels(Some(0))], "top_k is 0"),
        (
            vec![softmax(None), audio(8000, 1, AudioLayout::Nct)],
            "audio cannot stand beside another step",
        ),
        (vec![audio(0, 1, AudioLayout::Nct)], "`sample_rate` is 0"),
        (vec![audio(8000, 3, AudioLayout::Ntc)], "`channels`"),
        (vec![audio(8000, 2, AudioLayout::Nt)], "two channels"),
    ];
    amphora_testing::each(&rows, |(steps, fault)| match Postprocessing::fault(steps) {
        Some(found) if found.contains(fault) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn how_a_model_writes_is_part_of_its_identity() {
    let id = |change: fn(&mut Generation)| {
        let mut fields = fields();
        let mut generation = generation("model");
        change(&mut generation);
        fields.spec.generation = Some(generation);
        Manifest::new(fields).unwrap().computed_id().unwrap()
    };
    let plain = Manifest::new(fields()).unwrap().computed_id().unwrap();
    let writes = id(|_| ());
    let stops = id(|generation| generation.stop_token_ids = vec![7]);
    assert!(plain != writes && writes != stops);
}

fn generation(graph: &str) -> Generation {
    Generation {
        prefill: graph.to_owned(),
        decode: graph.to_owned(),
        context_length: None,
        positions_per_call: None,
        stop_token_ids: Vec::new(),
        pad_token_id: None,
        chat_template: None,
        sampling: None,
    }
}

fn set_graph(fields: &mut ManifestFields, change: fn(&mut amphora_bundle::manifest::Graph)) {
    let graph = fields.spec.graphs.get_mut("model").unwrap();
    change(graph);
    fields.spec.io = graph.io.clone();
}

fn set_input(fields: &mut ManifestFields, change: fn(&mut IoSpec)) {
    let graph = fields.spec.graphs.get_mut("model").unwrap();
    change(&mut graph.io.inputs[0]);
    fields.spec.io = graph.io.clone();
}

/// The output of the graph has the shape `[batch, 2]`.
fn set_steps(fields: &mut ManifestFields, steps: &[Postprocessing]) {
    let graph = fields.spec.graphs.get_mut("model").unwrap();
    graph.io.outputs[0].postprocessing = steps.to_vec();
    fields.spec.io = graph.io.clone();
}

fn set_tolerance(fields: &mut ManifestFields, output: &str, tolerance: Tolerance) {
    let golden = fields.golden.get_mut("model").unwrap();
    golden.tolerance = BTreeMap::from([(output.to_owned(), tolerance)]);
}

#[test]
fn a_manifest_for_a_newer_amphora_is_unsupported_whatever_else_it_says() {
    let newer = healthy().replacen(
        "amphora_min_version: \"0.1.0\"",
        "amphora_min_version: 9.0.0",
        1,
    );
    assert_ne!(newer, healthy());
    for text in [
        newer.clone(),
        newer.replacen("kind: Model", "kind: Model\nfuture: 1", 1),
    ] {
        let error = Manifest::parse(text.as_bytes()).unwrap_err();
        assert_eq!(
            (error.kind(), error.rule()),
            (ErrorKind::Unsupported, "manifest-version")
        );
    }
}

#[test]
fn every_key_of_document_004_is_understood() {
    let extra = "
  homepage: https://example.org
  tags: [audio, imu]
  authors:
    - name: A. Author
      email: a@example.org
      organization: Example";
    let spec = "
  requirements:
    compute:
      cpu: {min_cores: 1, recommended_cores: 2}
      memory: {min_gb: 0.5, recommended_gb: 2}
      gpu: {required: false, recommended: true, min_vram_gb: 4.0, cuda_version: \"12\"}
    storage: {min_gb: 1.0}
  performance:
    inference_time: {cpu: 3 ms}
    throughput: {cpu: 300 per s}
    accuracy: {top1: 0.78}
    dataset: dogs
  dependencies:
    models: [hf/encoder]
    packages:
      - {name: torch, version: 2.1.0}
distribution:
  package:
    url: https://example.org/demo.axon
    size: 10
    sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
    mirrors: [https://mirror.example.org/demo.axon]
  registry: {url: https://example.org, namespace: demo}
identity:";
    let text = healthy()
        .replacen("\n  description:", &format!("{extra}\n  description:"), 1)
        .replacen("\nidentity:", spec, 1);
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    assert_eq!(manifest.metadata.authors[0].name, "A. Author");
    assert_eq!(manifest.distribution.as_ref().unwrap().package.size, 10);
    let again = Manifest::parse(manifest.to_yaml().unwrap().as_bytes()).unwrap();
    assert_eq!(*again, *manifest);
    let mut fields = manifest.into_fields();
    fields.spec.requirements = Some(Requirements {
        compute: None,
        storage: Some(amphora_bundle::manifest::Memory {
            min_gb: Some(-1.0),
            recommended_gb: None,
        }),
    });
    assert_eq!(
        Manifest::new(fields).unwrap_err().rule(),
        "manifest-requirements"
    );
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 64,
        failure_persistence: None,
        ..Default::default()
    })]
    #[test]
    fn any_text_and_number_survive_writing_and_reading(
        text in "[\\PC\n\t]{0,40}",
        absolute in 0.0..f64::MAX,
        opset in proptest::prelude::any::<u64>(),
    ) {
        let mut fields = fields();
        fields.metadata.description = text.clone();
        fields.metadata.tags = vec![text.clone(), "plain".to_owned()];
        fields.spec.graphs.get_mut("model").unwrap().opset = opset;
        set_tolerance(&mut fields, "y", Tolerance::close(absolute, 0.0));
        let manifest = Manifest::new(fields).unwrap();
        let yaml = manifest.to_yaml().unwrap();
        let read = Manifest::parse(yaml.as_bytes());
        proptest::prop_assert_eq!(read.map(|m| m == manifest).map_err(|e| format!("{e:?}\n{yaml}")), Ok(true));
    }
}
