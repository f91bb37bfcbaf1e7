//! The bundle that all attacks on bundles start from: the sample graph with golden vectors, a
//! configuration and metrics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use amphora_bundle::manifest::{Framework, Golden, GoldenKind, Metadata, Tolerance};
use amphora_bundle::{Details, MAIN_GRAPH, Name, Store, Timestamp, Version};
use amphora_checkpoint::{Dtype, Safetensors, Tensor};
use amphora_files::{RelativePath, sha256};
use amphora_onnx::proto::ModelProto;
use amphora_onnx::{Limits, Model, write};

use crate::case::Outcome;
use crate::onnx::sample;

/// The configuration in the bundle.
pub(crate) const CONFIG: &[u8] = b"{\"model\": {\"width\": 2}}\n";

fn path(text: &str) -> Outcome<RelativePath> {
    Ok(RelativePath::parse(text)?)
}

fn vectors(output: [f32; 2]) -> Outcome<Vec<u8>> {
    let tensor = |values: [f32; 2]| {
        let bytes = values.map(f32::to_le_bytes).concat();
        Tensor::new(Dtype::F32, vec![2], bytes.into())
    };
    let mut file = Safetensors::default();
    file.tensors.insert("x".to_owned(), tensor([1.0, 2.0])?);
    file.tensors.insert("y".to_owned(), tensor(output)?);
    let says = [
        ("format", "amphora.golden.v1"),
        ("kind", "supplied"),
        ("producer", "the attacks"),
        ("cases", "1"),
        ("stacked", "-"),
    ];
    for (key, text) in says {
        file.metadata.insert(key.to_owned(), text.to_owned());
    }
    Ok(file.to_bytes()?)
}

/// Makes the directory `root/bundle`, and returns it.
pub(crate) fn make(root: &Path) -> Outcome<PathBuf> {
    // Publishing waits for the disk; the sample is the same each time.
    static SAMPLE: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    let sample = match SAMPLE.get() {
        Some(sample) => sample,
        None => {
            let scratch = tempfile::tempdir()?;
            let made = make_of(scratch.path(), &sample::model(), [2.0, 4.0])?;
            let files = files(&made)?;
            SAMPLE.get_or_init(|| files)
        }
    };
    let bundle = root.join("bundle");
    for (name, content) in sample {
        let path = bundle.join(name);
        fs_err::create_dir_all(path.parent().unwrap_or(&bundle))?;
        fs_err::write(path, content)?;
    }
    Ok(bundle)
}

/// Makes a bundle of another graph, which answers `output` to 1 and 2.
pub(crate) fn make_of(root: &Path, proto: &ModelProto, output: [f32; 2]) -> Outcome<PathBuf> {
    let model = Model::from_proto(proto.clone(), &Limits::default())?;
    let store = Store::open(root.join("made"))?;
    let mut draft = store.draft()?;
    let graph = write::to_bytes(proto);
    let contract = model.contract()?;
    draft.add_graph(MAIN_GRAPH, "single", &graph, &BTreeMap::new(), &contract)?;
    draft.add_bytes(&path("config.json")?, CONFIG)?;
    draft.add_bytes(
        &path("metrics.json")?,
        b"{\"metrics\": {\"accuracy\": 0.75}}\n",
    )?;
    let golden = Golden {
        file: path("golden/vectors.safetensors")?,
        kind: GoldenKind::Supplied,
        producer: "the attacks".to_owned(),
        cases: 1,
        tolerance: BTreeMap::from([("y".to_owned(), Tolerance::close(1e-5, 0.0))]),
    };
    draft.add_golden(MAIN_GRAPH, &vectors(output)?, golden)?;
    let mut metadata = Metadata::new(&Name::parse("attack")?, Version::parse("1.0.0")?);
    metadata.created = Some(Timestamp::from_unix_seconds(0)?);
    metadata.description = "adds two numbers".to_owned();
    let framework = Framework {
        name: "onnx".to_owned(),
        version: None,
    };
    let mut details = Details::new(metadata, framework, "onnx");
    details.assets.config = Some(path("config.json")?);
    details.assets.metrics = Some(path("metrics.json")?);
    details.nonfinite_weights = model.nonfinite_weights();
    let published = draft.seal(details)?.publish()?;
    let bundle = root.join("bundle");
    fs_err::rename(store.path().join(published.exp_hash), &bundle)?;
    fs_err::remove_dir_all(store.path())?;
    Ok(bundle)
}

/// Replaces a text that occurs in the manifest once, and seals it again.
pub(crate) fn edit_manifest(bundle: &Path, from: &str, to: &str) -> Outcome {
    let text = fs_err::read_to_string(bundle.join("manifest.yaml"))?;
    if text.matches(from).count() != 1 {
        return Err(format!("{from:?} does not occur once in:\n{text}").into());
    }
    seal(bundle, text.replace(from, to).as_bytes())
}

/// Writes a manifest with the digest that belongs to it.
pub(crate) fn seal(bundle: &Path, manifest: &[u8]) -> Outcome {
    let digest = format!("{}  manifest.yaml\n", sha256(manifest));
    replace(&bundle.join("manifest.yaml"), manifest)?;
    replace(&bundle.join("manifest.sha256"), digest.as_bytes())
}

/// Files of a bundle are read-only: a new one takes the place of the old.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Outcome {
    fs_err::remove_file(path)?;
    Ok(fs_err::write(path, bytes)?)
}

/// Every file of a bundle, with its content, by path.
pub(crate) fn files(bundle: &Path) -> Outcome<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut open = vec![bundle.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(bundle)?.to_string_lossy().into_owned();
                files.insert(name, fs_err::read(&path)?);
            }
        }
    }
    Ok(files)
}
