//! Manifests of packages: what is read at which level, and what is refused where.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_bundle::manifest::{IoSpec, MODEL_TYPES, io_of_model_type};
use amphora_bundle::package::{Level, PackageManifest};
use amphora_bundle::{ManifestFields, Package};
use amphora_error::ErrorKind;
use amphora_onnx::Dtype;
use amphora_testing::each;

/// Everything that document 004 asks of a published package.
const WHOLE: &str = "\
apiVersion: axon.mlos.io/v1
kind: Model
metadata:
  name: resnet50
  namespace: vision
  version: 1.2.0
  description: classifies pictures
  license: BSD-3-Clause
  authors:
    - {name: A, email: a@example.org}
  tags: [vision]
  created: 2024-01-15T10:30:45Z
spec:
  framework: {name: PyTorch, version: 2.0.0}
  format:
    type: pytorch
    execution_format: onnx
    files:
      - path: model.onnx
        size: 12
        sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    execution_files:
      - {path: model.onnx, format: onnx, type: single}
  io:
    inputs:
      - name: pixel_values
        dtype: float32
        shape: [-1, 3, 224, 224]
        preprocessing: {type: normalization, config: {mean: [0.5, 0.5, 0.5], resize: 224}}
    outputs:
      - {name: logits, dtype: float32, shape: [-1, 1000]}
  requirements:
    compute:
      cpu: {min_cores: 2, recommended_cores: 4}
      memory: {min_gb: 1.5, recommended_gb: 4.0}
      gpu: {required: false, recommended: true, min_vram_gb: 2.0}
    storage: {min_gb: 0.2, recommended_gb: 1.0}
  performance:
    accuracy: {top1: 0.76}
  dependencies:
    packages: [{name: torch, version: 2.0.0}]
distribution:
  package:
    url: https://example.org/resnet50.axon
    size: 100
    sha256: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    mirrors: [https://example.net/resnet50.axon]
  registry: {url: https://example.org, namespace: vision}
";

fn parse(text: &str, level: Level) -> amphora_error::Result<PackageManifest> {
    PackageManifest::parse(text.as_bytes(), level)
}

#[test]
fn a_whole_manifest_is_read_at_both_levels_and_written_back() {
    for text in [WHOLE.to_owned(), WHOLE.replace("axon.mlos.io/v1", "v1")] {
        let manifest = parse(&text, Level::Publish).unwrap();
        assert_eq!(manifest, parse(&text, Level::Install).unwrap());
        assert_eq!(manifest.bundle_name().unwrap().as_str(), "vision/resnet50");
        assert_eq!(manifest.bundle_version().unwrap().as_str(), "1.2.0");
        let again = manifest.to_yaml().unwrap();
        assert_eq!(parse(&again, Level::Publish).unwrap(), manifest);
    }
    // A bundle's manifest says more, and is not taken for one of these.
    let bundle = format!("{WHOLE}identity: {{id: x}}\n");
    assert!(parse(&bundle, Level::Install).is_err());
    assert!(serde_json::from_str::<ManifestFields>("{}").is_err());
}

#[test]
fn installers_may_leave_open_what_publishers_may_not() {
    let rows = [
        (
            "a name in other letters",
            "name: resnet50",
            "name: Resnet50",
            "metadata.name",
        ),
        (
            "no namespace",
            "  namespace: vision\n",
            "",
            "metadata.namespace",
        ),
        (
            "no semantic version",
            "version: 1.2.0",
            "version: main",
            "metadata.version",
        ),
        (
            "no description",
            "  description: classifies pictures\n",
            "",
            "metadata.description",
        ),
        (
            "no licence",
            "  license: BSD-3-Clause\n",
            "",
            "metadata.license",
        ),
        (
            "an unknown framework",
            "name: PyTorch",
            "name: caffe",
            "spec.framework.name",
        ),
        (
            "no framework version",
            ", version: 2.0.0}\n  format",
            "}\n  format",
            "spec.framework.version",
        ),
        (
            "no execution format",
            "    execution_format: onnx\n",
            "",
            "spec.format.execution_format",
        ),
        ("size 0", "size: 12", "size: 0", "model.onnx has no size"),
        (
            "an empty digest",
            &"a".repeat(64),
            "\"\"",
            "model.onnx has no size or no digest",
        ),
        (
            "another type of file",
            "type: single",
            "type: middle",
            "execution_files model.onnx: type",
        ),
        ("no cores", "min_cores: 2", "min_cores: 0", "min_cores"),
        ("no memory", "min_gb: 1.5", "min_gb: 0.0", "min_gb"),
        (
            "no registry",
            "  registry: {url: https://example.org, namespace: vision}\n",
            "",
            "distribution.registry",
        ),
        (
            "no package size",
            "size: 100",
            "size: 0",
            "distribution.package",
        ),
    ];
    each(&rows, |(_, from, to, place)| {
        let text = WHOLE.replacen(from, to, 1);
        if text == WHOLE {
            return Err("the row changes nothing".to_owned());
        }
        parse(&text, Level::Install).map_err(|error| format!("install: {error}"))?;
        match parse(&text, Level::Publish) {
            Err(error)
                if error.rule() == "package-manifest" && error.to_string().contains(place) =>
            {
                Ok(())
            }
            other => Err(format!("publish: {other:?}")),
        }
    });
    let all = rows
        .iter()
        .fold(WHOLE.to_owned(), |text, (_, from, to, _)| {
            text.replacen(from, to, 1)
        });
    let faults = parse(&all, Level::Publish).unwrap_err().fault_list().len();
    assert!(faults >= rows.len() - 1, "{faults}");
}

#[test]
fn other_shapes_are_refused_with_their_line() {
    let whole_file = "      - path: model.onnx\n        size: 12\n        sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n";
    let rows = [
        (
            "files as names",
            whole_file,
            "      - model.onnx\n",
            "line 19",
            "path, size and sha256",
        ),
        (
            "resources",
            "  requirements:\n",
            "  resources:\n",
            "line 32",
            "spec.requirements",
        ),
        (
            "an unknown key",
            "  tags: [vision]\n",
            "  tag: vision\n",
            "line 11",
            "",
        ),
        (
            "a path that leads out",
            "path: model.onnx\n",
            "path: ../model.onnx\n",
            "line 19",
            "",
        ),
        (
            "an absolute path",
            "path: model.onnx\n",
            "path: /model.onnx\n",
            "line 19",
            "",
        ),
        ("another kind", "kind: Model", "kind: Dataset", "line 2", ""),
        (
            "another version of the format",
            "axon.mlos.io/v1",
            "axon.mlos.io/v2",
            "line 1",
            "",
        ),
        (
            "no element type",
            "dtype: float32\n",
            "dtype: float\n",
            "line 27",
            "",
        ),
        ("half a digest", &"a".repeat(64), "abc", "line 21", ""),
        (
            "an anchor",
            "kind: Model",
            "kind: &kind Model",
            "line 2",
            "",
        ),
        (
            "a key twice",
            "kind: Model",
            "kind: Model\nkind: Model",
            "line 3",
            "",
        ),
    ];
    each(&rows, |(_, from, to, line, hint)| {
        match parse(&WHOLE.replacen(from, to, 1), Level::Install) {
            Err(error)
                if error.kind() == ErrorKind::Malformed && error.to_string().contains(line) =>
            {
                match error.hint_text().unwrap_or_default().contains(hint) {
                    true => Ok(()),
                    false => Err(format!("{error:?}")),
                }
            }
            other => Err(format!("{other:?}")),
        }
    });
    let rows = [
        (
            "an input twice",
            "    outputs:\n",
            "      - {name: pixel_values, dtype: int64, shape: [1]}\n    outputs:\n",
            "occurs twice",
        ),
        (
            "a negative size",
            "shape: [-1, 3, 224, 224]",
            "shape: [-2]",
            "the shape",
        ),
        (
            "no output",
            "      - {name: logits, dtype: float32, shape: [-1, 1000]}\n",
            "      []\n",
            "spec.io.outputs",
        ),
        (
            "steps in no order",
            "shape: [-1, 1000]}",
            "shape: [-1, 1000], postprocessing: [{type: argmax}, {type: softmax}]}",
            "spec.io.outputs 'logits'.postprocessing: softmax cannot follow argmax",
        ),
    ];
    each(&rows, |(_, from, to, fault)| {
        match parse(&WHOLE.replacen(from, to, 1), Level::Install) {
            Err(error) if error.to_string().contains(fault) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn names_and_versions_of_bundles_are_made_of_those_of_packages() {
    let rows = [
        ("namespace: vision", "namespace: HF", "hf/resnet50", "1.2.0"),
        (
            "name: resnet50",
            "name: Qwen/Qwen3 0.6B",
            "vision/qwen/qwen3-0.6b",
            "1.2.0",
        ),
        (
            "name: resnet50",
            "name: _private",
            "vision/private",
            "1.2.0",
        ),
        (
            "version: 1.2.0",
            "version: \"1.2\"",
            "vision/resnet50",
            "1.2.0",
        ),
        ("version: 1.2.0", "version: v3", "vision/resnet50", "3.0.0"),
        (
            "version: 1.2.0",
            "version: latest",
            "vision/resnet50",
            "latest",
        ),
        (
            "version: 1.2.0",
            "version: main",
            "vision/resnet50",
            "latest",
        ),
    ];
    each(&rows, |(from, to, name, version)| {
        let manifest = parse(&WHOLE.replacen(from, to, 1), Level::Install)
            .map_err(|error| error.to_string())?;
        let found = (
            manifest.bundle_name().unwrap(),
            manifest.bundle_version().unwrap(),
        );
        match (found.0.as_str(), found.1.as_str()) == (*name, *version) {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
    let nothing = WHOLE
        .replace("name: resnet50", "name: \"...\"")
        .replace("namespace: vision", "namespace: \"\"");
    let error = parse(&nothing, Level::Install)
        .unwrap()
        .bundle_name()
        .unwrap_err();
    assert_eq!(error.rule(), "package-name");
}

#[test]
fn a_directory_is_a_package_only_where_nothing_of_a_bundle_is() {
    type Files = &'static [(&'static str, &'static str)];
    let rows: [(&str, Files, bool); 5] = [
        ("a manifest", &[("manifest.yaml", WHOLE)], true),
        ("nothing", &[], false),
        (
            "sealed",
            &[("manifest.yaml", WHOLE), ("manifest.sha256", "x")],
            false,
        ),
        (
            "lost its seal",
            &[("manifest.yaml", "apiVersion: v1\nidentity:\n  id: x\n")],
            false,
        ),
        (
            "lost its seal too",
            &[("manifest.yaml", "apiVersion: v1\nfiles :\n  - x\n")],
            false,
        ),
    ];
    each(&rows, |(_, files, package)| {
        let scratch = tempfile::tempdir().unwrap();
        for (name, content) in *files {
            amphora_files::durable::write_file(&scratch.path().join(name), content.as_bytes())
                .unwrap();
        }
        match Package::is_at(scratch.path()) == *package {
            true => Ok(()),
            false => Err("the answer is another"),
        }
    });
}

#[test]
fn every_family_of_the_table_has_its_schema() {
    const IDS: &[&str] = &["input_ids", "attention_mask"];
    const SEGMENTS: &[&str] = &["input_ids", "attention_mask", "token_type_ids"];
    const PIXELS: &[&str] = &["pixel_values"];
    /// Model type, inputs, family of the tokenizer, output and its rank.
    type Row = (
        &'static str,
        &'static [&'static str],
        Option<&'static str>,
        &'static str,
        usize,
    );
    let rows: [Row; 15] = [
        ("bert", SEGMENTS, Some("bert"), "logits", 3),
        ("roberta", IDS, Some("roberta"), "logits", 3),
        ("distilbert", IDS, Some("distilbert"), "logits", 3),
        ("albert", SEGMENTS, Some("albert"), "logits", 3),
        ("electra", SEGMENTS, Some("electra"), "logits", 3),
        ("gpt2", IDS, Some("gpt2"), "logits", 3),
        ("gpt", IDS, Some("gpt2"), "logits", 3),
        ("gpt-neo", IDS, Some("gpt2"), "output", 2),
        ("gpt-j", IDS, Some("gpt2"), "output", 2),
        ("t5", IDS, Some("t5"), "logits", 3),
        ("mt5", IDS, Some("t5"), "output", 2),
        ("ul2", IDS, Some("t5"), "output", 2),
        ("vit", PIXELS, None, "logits", 2),
        ("deit", PIXELS, None, "logits", 2),
        ("swin", PIXELS, None, "logits", 2),
    ];
    assert_eq!(rows.map(|row| row.0), MODEL_TYPES);
    each(&rows, |(model_type, inputs, tokenizer, output, rank)| {
        let io = io_of_model_type(model_type).ok_or("it has no row")?;
        let text = serde_json::to_string(&io).unwrap();
        let again: amphora_bundle::manifest::Io = serde_json::from_str(&text).unwrap();
        let names: Vec<&str> = io.inputs.iter().map(|input| input.name.as_str()).collect();
        let is_right = |input: &IoSpec| {
            let how = input.preprocessing.as_ref().unwrap();
            let (dtype, shape) = match tokenizer {
                Some(_) => (Dtype::Int64, vec![-1, -1]),
                None => (Dtype::Float32, vec![-1, 3, 224, 224]),
            };
            input.dtype == dtype
                && input.shape.as_ref() == Some(&shape)
                && how.tokenizer_type.as_deref() == *tokenizer
                && how.tokenizer.is_some() == tokenizer.is_some()
        };
        let given = &io.outputs[0];
        let shape = vec![-1; *rank];
        match again == io
            && names == *inputs
            && io.inputs.iter().all(is_right)
            && (given.name.as_str(), given.dtype) == (*output, Dtype::Float32)
            && given.shape.as_ref() == Some(&shape)
        {
            true => Ok(()),
            false => Err("its schema is another"),
        }
    });
    let picture = |model_type: &str| {
        let how = io_of_model_type(model_type).unwrap().inputs[0]
            .preprocessing
            .clone();
        serde_json::to_value(how.unwrap().config).unwrap()
    };
    let (half, imagenet) = (picture("vit"), picture("swin"));
    assert_eq!(half["mean"], serde_json::json!([0.5, 0.5, 0.5]));
    assert_eq!(imagenet["mean"], serde_json::json!([0.485, 0.456, 0.406]));
    assert_eq!(imagenet["std"], serde_json::json!([0.229, 0.224, 0.225]));
    assert_eq!(io_of_model_type("gpt_neo"), io_of_model_type("gpt-neo"));
}
