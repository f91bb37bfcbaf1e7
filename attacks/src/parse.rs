//! What the fuzz targets call, one function for each parser.
//!
//! Each takes any bytes and returns; what it finds out it asserts. A refusal is always right here, as
//! long as its text cannot move a cursor; an answer must hold together: written back and read again
//! it is the same, and an independent reader agrees where there is one.
//!
//! # Panics
//!
//! Every function panics when a parser breaks a promise; that is what they are for.

mod archive;
mod external;
mod media;
mod planner;
mod text;

use amphora_bundle::Manifest;
use amphora_bundle::package::{Level, PackageManifest};
use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Safetensors, SavedModel, Tensor};
use amphora_error::{Error, printable};
use amphora_files::json;
use amphora_onnx::{Dtype, Model, write};
use bytes::Bytes;

pub use archive::archive;
pub use external::external_data;
pub use media::{picture, preprocessor, wav};
pub use planner::{action_space, issues, planner_input, trials};
pub use text::{chat_template, sentencepiece};

/// An ONNX model without external data: reading, checking, inferring, writing.
pub fn onnx(bytes: &[u8]) {
    let limits = amphora_onnx::Limits::default();
    let model = match Model::from_bytes(Bytes::copy_from_slice(bytes), None, &limits) {
        Ok(model) => model,
        Err(error) => return presentable(&error),
    };
    let verdict = model.check().map_err(|error| {
        presentable(&error);
        error.kind()
    });
    if let Err(error) = model.infer_shapes() {
        presentable(&error);
    }
    let contract = model.contract();
    if let Err(error) = &contract {
        presentable(error);
    }
    let nonfinite = model.nonfinite_weights();

    let written = Bytes::from(write::to_bytes(model.proto()));
    let again = match Model::from_bytes(written.clone(), None, &limits) {
        Ok(again) => again,
        Err(error) => panic!("an accepted model is refused once it is written: {error:?}"),
    };
    // NaN in a float attribute differs from itself, its bytes do not.
    assert_eq!(written, write::to_bytes(again.proto()));
    assert_eq!(verdict, again.check().map_err(|error| error.kind()));
    assert_eq!(contract.ok(), again.contract().ok());
    assert_eq!(nonfinite, again.nonfinite_weights());
}

/// A checkpoint in any format; what is read can be written as safetensors and read again.
pub fn checkpoint(bytes: &[u8]) {
    let limits = amphora_checkpoint::Limits::default();
    let checkpoint = match Checkpoint::from_bytes(Bytes::copy_from_slice(bytes), &limits) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return presentable(&error),
    };
    for tensor in checkpoint.tensors().values() {
        sound(tensor);
    }
    let file = Safetensors {
        tensors: checkpoint.tensors().clone(),
        ..Safetensors::default()
    };
    rewritten(&file);
    let Some(config) = checkpoint.config() else {
        return;
    };
    match Architecture::from_config(&serde_json::Value::Object(config.clone())) {
        Ok(architecture) => {
            if let Err(error) = architecture.bind(&checkpoint) {
                presentable(&error);
            }
        }
        Err(error) => presentable(&error),
    }
}

/// A safetensors file; whatever is accepted, the format's own library reads the same.
pub fn safetensors(bytes: &[u8]) {
    let limits = amphora_checkpoint::Limits::default();
    let file = match Safetensors::from_bytes(&Bytes::copy_from_slice(bytes), &limits) {
        Ok(file) => file,
        Err(error) => return presentable(&error),
    };
    let peer = match safetensors::SafeTensors::deserialize(bytes) {
        Ok(peer) => peer,
        Err(error) => panic!("accepted, and refused by the format's own library: {error}"),
    };
    assert_eq!(file.tensors.len(), peer.len());
    for (name, tensor) in &file.tensors {
        sound(tensor);
        match peer.tensor(name) {
            Ok(view) => {
                assert_eq!(data(tensor), view.data(), "{name}");
                let shape = view.shape().iter().map(|extent| *extent as u64);
                assert!(shape.eq(tensor.shape().iter().copied()), "{name}");
            }
            Err(error) => panic!("the format's own library does not see '{name}': {error}"),
        }
    }
    rewritten(&file);
}

/// The signatures of a SavedModel.
pub fn saved_model(bytes: &[u8]) {
    let limits = amphora_checkpoint::Limits::default();
    let model = match SavedModel::from_bytes(bytes, &limits) {
        Ok(model) => model,
        Err(error) => return presentable(&error),
    };
    for signature in model.signatures.values() {
        for tensor in signature.inputs.values().chain(signature.outputs.values()) {
            assert!(Dtype::from_name(tensor.dtype).is_ok(), "{}", tensor.dtype);
            let rank = tensor.shape.as_ref().map_or(0, Vec::len);
            assert!(rank <= limits.rank, "{rank} dimensions");
        }
    }
    if let Err(error) = model.signature(None) {
        presentable(&error);
    }
}

/// The manifest of a package.
fn package_manifest(bytes: &[u8]) {
    let manifest = match PackageManifest::parse(bytes, Level::Install) {
        Ok(manifest) => manifest,
        Err(error) => return presentable(&error),
    };
    if let Err(error) = manifest.check(Level::Publish) {
        presentable(&error);
    }
    if let Err(error) = manifest.bundle_name() {
        presentable(&error);
    }
    let again = manifest
        .to_yaml()
        .and_then(|yaml| PackageManifest::parse(yaml.as_bytes(), Level::Install));
    match again {
        Ok(again) => assert_eq!(manifest, again),
        Err(error) => panic!("an accepted manifest is refused once it is written: {error:?}"),
    }
}

/// A manifest of a bundle or a package, and the YAML and JSON documents beneath it.
pub fn manifest(bytes: &[u8]) {
    package_manifest(bytes);
    if let Err(error) = amphora_bundle::parse_yaml(bytes) {
        presentable(&error);
    }
    match json::parse(bytes) {
        Ok(value) => match json::to_pretty_bytes(&value).and_then(|text| json::parse(&text)) {
            Ok(again) => assert_eq!(value, again),
            Err(error) => panic!("accepted JSON is refused once it is written: {error:?}"),
        },
        Err(error) => presentable(&error),
    }
    let manifest = match Manifest::parse(bytes) {
        Ok(manifest) => manifest,
        Err(error) => return presentable(&error),
    };
    let again = manifest
        .to_yaml()
        .and_then(|yaml| Ok((Manifest::parse(yaml.as_bytes())?, yaml)))
        .and_then(|(again, yaml)| Ok((again.to_yaml()? == yaml, again)));
    match again {
        Ok((stable, again)) => {
            assert_eq!(manifest, again);
            assert!(stable, "the same manifest is written in two ways");
            assert_eq!(manifest.computed_id().ok(), again.computed_id().ok());
        }
        Err(error) => panic!("an accepted manifest is refused once it is written: {error:?}"),
    }
}

/// Every value of an accepted tensor is at hand.
fn sound(tensor: &Tensor) {
    let elements: u64 = tensor.shape().iter().product();
    assert_eq!(elements, tensor.elements());
    assert_eq!(elements * tensor.dtype().size() as u64, tensor.size());
    assert_eq!(tensor.size(), data(tensor).len() as u64);
    if let Ok(values) = tensor.to_f64() {
        assert_eq!(values.len() as u64, elements);
    }
}

fn data(tensor: &Tensor) -> Bytes {
    match tensor.data() {
        Ok(data) => data,
        Err(error) => panic!("the elements of an accepted tensor are not there: {error:?}"),
    }
}

/// Whether the tensors of `file` survive being written.
fn rewritten(file: &Safetensors) {
    let limits = amphora_checkpoint::Limits::default();
    let again = file
        .to_bytes()
        .and_then(|bytes| Safetensors::from_bytes(&bytes.into(), &limits));
    let again = match again {
        Ok(again) => again,
        Err(error) => panic!("accepted tensors are refused once they are written: {error:?}"),
    };
    assert!(again.metadata == file.metadata);
    assert!(again.tensors.keys().eq(file.tensors.keys()));
    for (name, tensor) in &file.tensors {
        let same = again.tensors.get(name).is_some_and(|other| {
            (other.dtype(), other.shape(), data(other))
                == (tensor.dtype(), tensor.shape(), data(tensor))
        });
        assert!(same, "{name}");
    }
}

/// Whether the text of an error can be printed: no control character, of a bounded length.
fn presentable(error: &Error) {
    let text = error.to_string();
    for line in text.split("\n  - ") {
        assert_eq!(printable(line), line, "an error moves the cursor");
    }
    assert!(text.len() < 1 << 20, "an error of {} bytes", text.len());
}
