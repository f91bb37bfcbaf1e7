//! What a package's manifest must say beyond its grammar, in one place.

use std::collections::BTreeSet;

use amphora_error::{Error, Result, quoted};

use super::manifest::{Level, PackageManifest};
use crate::manifest::{IoSpec, Postprocessing, dims_agree};
use crate::{Name, Version};

/// The words of document 004.
const FRAMEWORKS: [&str; 7] = [
    "pytorch",
    "tensorflow",
    "onnx",
    "jax",
    "scikit-learn",
    "keras",
    "tflite",
];
const EXECUTION_FORMATS: [&str; 6] = [
    "onnx",
    "gguf",
    "pytorch",
    "tensorflow",
    "safetensors",
    "tflite",
];
const FILE_FORMATS: [&str; 4] = ["onnx", "gguf", "tflite", "coreml"];
const FILE_TYPES: [&str; 5] = [
    "single",
    "encoder",
    "decoder",
    "text_encoder",
    "vision_encoder",
];

/// Checks every rule of `level` and reports all that are broken.
pub(super) fn check(manifest: &PackageManifest, level: Level) -> Result<()> {
    let mut faults = Vec::new();
    names(manifest, &mut faults);
    if level == Level::Publish {
        metadata(manifest, &mut faults);
        format(manifest, &mut faults);
        needs(manifest, &mut faults);
        distribution(manifest, &mut faults);
    }
    if faults.is_empty() {
        return Ok(());
    }
    let message = match level {
        Level::Install => "the manifest of the package contradicts itself",
        Level::Publish => "the manifest does not say what a published package must",
    };
    Err(Error::malformed("package-manifest", message).faults(faults))
}

/// What nothing can be made of at any level.
fn names(manifest: &PackageManifest, faults: &mut Vec<String>) {
    let mut paths = BTreeSet::new();
    for file in &manifest.spec.format.files {
        if !paths.insert(file.path.collision_key()) {
            faults.push(format!("spec.format.files: {} occurs twice", file.path));
        }
    }
    let Some(io) = &manifest.spec.io else { return };
    for (side, specs) in [("inputs", &io.inputs), ("outputs", &io.outputs)] {
        if specs.is_empty() {
            faults.push(format!("spec.io.{side}: there is none"));
        }
        let mut names = BTreeSet::new();
        for IoSpec { name, .. } in specs {
            if name.is_empty() || !names.insert(name) {
                let name = quoted(name);
                faults.push(format!(
                    "spec.io.{side}: the name {name} is empty or occurs twice"
                ));
            }
        }
        for spec in specs.iter().filter(|spec| !dims_agree(spec)) {
            let name = quoted(&spec.name);
            faults.push(format!("spec.io.{side} {name}: the shape is none"));
        }
        for spec in specs {
            if let Some(fault) = Postprocessing::fault(&spec.postprocessing) {
                let name = quoted(&spec.name);
                faults.push(format!("spec.io.{side} {name}.postprocessing: {fault}"));
            }
        }
    }
}

fn metadata(manifest: &PackageManifest, faults: &mut Vec<String>) {
    let metadata = &manifest.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    for (key, text) in [("name", metadata.name.as_str()), ("namespace", namespace)] {
        if let Err(error) = Name::parse(text) {
            faults.push(format!("metadata.{key}: {error}"));
        }
    }
    if let Err(error) = Version::parse(&metadata.version) {
        faults.push(format!("metadata.version: {error}"));
    }
    let license = metadata.license.as_deref().unwrap_or_default();
    for (key, text) in [
        ("description", metadata.description.as_str()),
        ("license", license),
    ] {
        if text.is_empty() {
            faults.push(format!("metadata.{key}: it is missing"));
        }
    }
}

fn format(manifest: &PackageManifest, faults: &mut Vec<String>) {
    let spec = &manifest.spec;
    let framework = spec.framework.name.to_lowercase();
    word("spec.framework.name", &framework, &FRAMEWORKS, faults);
    if spec
        .framework
        .version
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        faults.push("spec.framework.version: it is missing".to_owned());
    }
    if spec.format.r#type.is_empty() {
        faults.push("spec.format.type: it is missing".to_owned());
    }
    let execution = spec.format.execution_format.as_deref().unwrap_or_default();
    word(
        "spec.format.execution_format",
        execution,
        &EXECUTION_FORMATS,
        faults,
    );
    if spec.format.files.is_empty() {
        faults.push("spec.format.files: there is no file".to_owned());
    }
    for file in &spec.format.files {
        if file.size == 0 || file.sha256.is_none() {
            faults.push(format!(
                "spec.format.files: {} has no size or no digest",
                file.path
            ));
        }
    }
    for file in &spec.format.execution_files {
        let place = format!("spec.format.execution_files {}", file.path);
        word(
            &format!("{place}: format"),
            &file.format,
            &FILE_FORMATS,
            faults,
        );
        word(&format!("{place}: type"), &file.r#type, &FILE_TYPES, faults);
    }
    if spec.io.is_none() {
        faults.push("spec.io: it is missing".to_owned());
    }
}

fn word(place: &str, found: &str, known: &[&str], faults: &mut Vec<String>) {
    if !known.contains(&found) {
        let (found, known) = (quoted(found), known.join(", "));
        faults.push(format!("{place}: expected one of {known}, found {found}"));
    }
}

fn needs(manifest: &PackageManifest, faults: &mut Vec<String>) {
    let requirements = manifest.spec.requirements.as_ref();
    let compute = requirements.and_then(|needs| needs.compute.as_ref());
    let cores = compute.and_then(|compute| compute.cpu.as_ref());
    if cores.is_none_or(|cpu| cpu.min_cores == 0) {
        faults.push("spec.requirements.compute.cpu.min_cores: there is none".to_owned());
    }
    let memory = compute.and_then(|compute| compute.memory.as_ref()?.min_gb);
    if memory.is_none_or(|gigabytes| gigabytes <= 0.0) {
        faults.push("spec.requirements.compute.memory.min_gb: there is none".to_owned());
    }
}

fn distribution(manifest: &PackageManifest, faults: &mut Vec<String>) {
    let Some(distribution) = &manifest.distribution else {
        faults.push("distribution: it is missing".to_owned());
        return;
    };
    let package = &distribution.package;
    if package.url.is_empty() || package.size == 0 || package.sha256.is_none() {
        faults.push("distribution.package: url, size or sha256 is missing".to_owned());
    }
    let registry = distribution.registry.as_ref();
    if registry.is_none_or(|registry| registry.url.is_empty() || registry.namespace.is_empty()) {
        faults.push("distribution.registry: url or namespace is missing".to_owned());
    }
}
