//! What can be shown of a package, and the bundle that is made of it.

use amphora::{
    Engines, ErrorKind, ImportRequest, Imported, Level, Package, Packed, Store, Subject, Target,
    Timestamp, VerifyRequest,
};
use amphora_bundle::ImportLimits;
use amphora_onnx::Dtype;
use amphora_runtime::EngineChoice;
use amphora_testing::each;

use crate::scene::{HEAD, INPUTS, SPEC, Scene, THREE, adder, bert, ids, stated};

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
fn what_a_publisher_leaves_out_does_not_hide_what_is_wrong_with_the_graph() {
    let scene = bert(&stated("[-1, -1]", "").replace("attention_mask", "mask"));
    let report = verify(&scene, true);
    let errors = report.errors.join("\n");
    for fault in ["min_cores", "input 'mask' is not in the graph"] {
        assert!(errors.contains(fault), "{fault}: {errors}");
    }
    assert!(report.checks_run.iter().any(|check| check == "model_check"));
    let skipped = report.skipped.iter();
    assert!(
        skipped.clone().all(|skipped| skipped.check != "contract"),
        "{report:?}"
    );
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

pub(crate) fn import(scene: &Scene, source: &std::path::Path) -> amphora::Result<Packed> {
    let store = Store::open(scene.path().join("artifacts"))?;
    let request = ImportRequest {
        store,
        source: source.to_owned(),
        limits: ImportLimits::default(),
        created: Timestamp::from_unix_seconds(0)?,
        engines: Engines::default(),
        golden_cases: 5,
    };
    match amphora::import(&request, &|_| {})? {
        Imported::Upgraded(packed) => Ok(*packed),
        Imported::Bundle(published) => panic!("{published:?}"),
    }
}

/// A package with a tokenizer, labels, needs, a weights file and a file in a folder of bundles.
fn whole() -> Scene {
    let hints = ", description: made from text, preprocessing: {type: tokenization, tokenizer: tokenizer.json, \
                 tokenizer_type: bert}";
    let io = stated("[-1, 2]", hints);
    let needs =
        "  requirements:\n    compute:\n      cpu: {min_cores: 2}\n      memory: {min_gb: 0.5}\n";
    let spec = SPEC.replace("{path: model.onnx, size: 0, sha256: \"\"}", "{path: model.onnx, size: 0, sha256: \"\"}\n      - {path: model.safetensors}\n      - {path: docs/card.md}\n      - {path: notes.txt}");
    let scene = Scene::with_manifest(&format!("{HEAD}{spec}  io:\n{io}{needs}"));
    let shape = ids();
    let inputs = INPUTS.map(|name| (name, Dtype::Int64, &shape[..]));
    let scene = scene.with_graph(&inputs, &shape);
    scene.write("tokenizer.json", "{}");
    scene.write(
        "config.json",
        r#"{"model_type": "bert", "id2label": {"0": "no", "1": "yes"}}"#,
    );
    scene.write("model.safetensors", "weights");
    scene.write("docs/card.md", "card");
    scene.write("notes.txt", "notes");
    scene
}

#[test]
fn a_package_becomes_a_bundle_that_says_as_much_and_proves_itself() {
    let scene = whole();
    let packed = import(&scene, scene.path()).unwrap();
    assert_eq!(
        (packed.name.as_str(), packed.version.as_str()),
        ("hf/tiny-bert", "latest")
    );
    assert!(
        packed
            .warnings
            .iter()
            .any(|note| note.contains("model.safetensors was left out")),
        "{packed:?}"
    );
    let bundle = amphora::open(&packed.path).unwrap();
    let manifest = bundle.manifest();
    assert_eq!(manifest.metadata.license.as_deref(), Some("Apache-2.0"));
    assert_eq!(manifest.spec.framework.name, "PyTorch");
    assert_eq!(manifest.spec.format.r#type, "pytorch");
    let input = &manifest.spec.io.inputs[0];
    assert_eq!(
        (input.name.as_str(), input.shape.as_deref()),
        ("input_ids", Some(&[-1, 2][..]))
    );
    assert_eq!(input.description.as_deref(), Some("made from text"));
    assert_eq!(
        input
            .preprocessing
            .as_ref()
            .unwrap()
            .tokenizer_type
            .as_deref(),
        Some("bert")
    );
    let needs = manifest.spec.requirements.as_ref().unwrap();
    assert_eq!(
        needs
            .compute
            .as_ref()
            .unwrap()
            .cpu
            .as_ref()
            .unwrap()
            .min_cores,
        2
    );
    assert_eq!(manifest.provenance.source.as_ref().unwrap().format, "axon");
    let paths: Vec<&str> = manifest
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    for file in [
        "tokenizer.json",
        "config.json",
        "label_map.json",
        "notes.txt",
        "package/docs/card.md",
    ] {
        assert!(paths.contains(&file), "{file}: {paths:?}");
    }
    let request = VerifyRequest {
        target: Target::Onnx,
        engines: Engines::default(),
        strict: false,
        validated_at: Timestamp::from_unix_seconds(0).unwrap(),
    };
    let report = amphora::verify(bundle, &request).unwrap();
    assert!(
        report.passed && report.numeric_equivalence.is_some(),
        "{report:?}"
    );
    // The same package gives the same bundle, and what it fixed stays fixed.
    assert!(import(&scene, scene.path()).unwrap().existed);
    let subject = || {
        Subject::resolve(
            &Store::open(scene.path().join("artifacts")).unwrap(),
            "hf/tiny-bert",
        )
        .unwrap()
    };
    assert!(
        scene
            .run_subject(subject(), &THREE, EngineChoice::Rten)
            .is_ok()
    );
    let longer = INPUTS.map(|name| (name, "[[1, 2, 3]]"));
    let error = scene
        .run_subject(subject(), &longer, EngineChoice::Rten)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("'input_ids' has 3 in dimension 1, expected 2"),
        "{error}"
    );
}

#[test]
fn a_package_in_one_file_is_the_same_package() {
    let scene = whole();
    let python = amphora_testing::peer("tarfile", None).unwrap();
    let archive = scene.path().join("tiny.axon");
    let program = "import sys, tarfile\nwith tarfile.open(sys.argv[2], 'w:gz') as archive:\n    \
                   for name in sys.argv[3:]: archive.add(sys.argv[1] + '/' + name, name)";
    let files = [
        "manifest.yaml",
        "model.onnx",
        "tokenizer.json",
        "config.json",
        "model.safetensors",
        "docs/card.md",
        "notes.txt",
    ];
    let (folder, target) = (scene.path().to_str().unwrap(), archive.to_str().unwrap());
    python.run(program, &[&[folder, target], &files[..]].concat());
    let packed = import(&scene, &archive).unwrap();
    assert_eq!(packed.id, import(&scene, scene.path()).unwrap().id);
    // So are several graphs, whose hints are what the manifest says, not what else lies there.
    let encoders = several(&["text_model.onnx", "vision_model.onnx"]);
    encoders.write("vocab.txt", "[PAD]\n[UNK]\n");
    encoders.write(
        "modules.json",
        r#"[{"type": "sentence_transformers.models.Dense"}]"#,
    );
    let both = encoders.path().join("both.axon");
    let files = [
        "manifest.yaml",
        "text_model.onnx",
        "vision_model.onnx",
        "vocab.txt",
        "modules.json",
    ];
    let (from, to) = (encoders.path().to_str().unwrap(), both.to_str().unwrap());
    python.run(program, &[&[from, to], &files[..]].concat());
    assert_eq!(
        import(&encoders, &both).unwrap().id,
        import(&encoders, encoders.path()).unwrap().id
    );
    // Nothing stays behind, and without a manifest there is nothing to go by.
    let left = fs_err::read_dir(scene.path().join("artifacts")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().contains("tmp")),
        "{left:?}"
    );
    python.run(program, &[folder, target, "model.onnx"]);
    assert_eq!(
        import(&scene, &archive).unwrap_err().rule(),
        "package-manifest-missing"
    );
}

/// Graphs of several files, listed one by one.
fn several(files: &[&str]) -> Scene {
    let listed: String = files
        .iter()
        .map(|file| format!("      - {{path: {file}}}\n"))
        .collect();
    let spec = SPEC.replace(
        "      - {path: model.onnx, size: 0, sha256: \"\"}\n",
        &listed,
    );
    let scene = Scene::with_manifest(&format!("{HEAD}{spec}"));
    let shape = ids();
    for file in files {
        let inputs = [("input_ids", Dtype::Int64, &shape[..])];
        scene.write(file, adder(&inputs, &shape));
    }
    scene
}

#[test]
fn graphs_of_one_name_in_several_folders_are_told_apart() {
    let rows: [(&[&str], &[&str]); 3] = [
        (
            &["text/model.onnx", "vision/model.onnx"],
            &["text-model", "vision-model"],
        ),
        (
            &["a/graph.onnx", "b/graph.onnx", "c/other.onnx"],
            &["a-graph", "b-graph", "other"],
        ),
        (
            &["a/encoder_model.onnx", "decoder_model.onnx"],
            &["decoder_model", "encoder_model"],
        ),
    ];
    each(&rows, |(files, names)| {
        let scene = several(files);
        let packed = import(&scene, scene.path()).map_err(|error| error.to_string())?;
        let bundle = amphora::open(&packed.path).unwrap();
        let found: Vec<&String> = bundle.manifest().spec.graphs.keys().collect();
        match found == *names {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
}

#[test]
fn what_installers_write_where_they_know_nothing_is_left_out_of_the_bundle() {
    let scene = bert(&stated("[-1, -1]", ""));
    let unknown = "  requirements:\n    compute:\n      cpu: {min_cores: 0, recommended_cores: 0}\n      \
                   memory: {min_gb: 0, recommended_gb: 4}\n      gpu: null\n    storage: {min_gb: 0.0, \
                   recommended_gb: 0}\n  performance: {inference_time: {}, throughput: {}, accuracy: {}, dataset: \
                   \"\"}\n  dependencies: {models: [], packages: []}\n";
    let manifest = fs_err::read_to_string(scene.path().join("manifest.yaml")).unwrap();
    let manifest = manifest.replace(
        "    type: pytorch\n",
        "    type: pytorch\n    multi_encoder: clip\n",
    );
    scene.write("manifest.yaml", format!("{manifest}{unknown}"));
    let packed = import(&scene, scene.path()).unwrap();
    let bundle = amphora::open(&packed.path).unwrap();
    let spec = &bundle.manifest().spec;
    let compute = spec.requirements.clone().unwrap().compute.unwrap();
    assert_eq!(compute.cpu, None);
    let memory = compute.memory.unwrap();
    assert_eq!((memory.min_gb, memory.recommended_gb), (None, Some(4.0)));
    assert_eq!(spec.format.multi_encoder.as_deref(), Some("clip"));
}

#[test]
fn a_package_that_cannot_run_or_contradicts_itself_does_not_become_a_bundle() {
    let scene = Scene::new("");
    assert_eq!(
        import(&scene, scene.path()).unwrap_err().kind(),
        ErrorKind::Untrusted
    );
    let unlisted = Scene::with_manifest(&format!(
        "{HEAD}{}",
        SPEC.replace("model.onnx", "notes.txt")
    ));
    unlisted.write("notes.txt", "notes");
    assert_eq!(
        import(&unlisted, unlisted.path()).unwrap_err().rule(),
        "package-not-runnable"
    );
    let scene = bert(&stated("[-1, -1]", "").replace("attention_mask", "mask"));
    let error = import(&scene, scene.path()).unwrap_err();
    assert_eq!(
        (error.rule(), error.fault_list().len()),
        ("io-conflict", 2),
        "{error}"
    );
    assert!(!scene.path().join("artifacts/manifest.yaml").exists());
}
