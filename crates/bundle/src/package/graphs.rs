//! Which files of a package run.

use amphora_error::{Error, Result};
use amphora_files::{EntryKind, RelativePath};

use super::Package;
use crate::MAIN_GRAPH;

/// A file of a package that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageGraph {
    /// What it is called in a bundle: `model` when it is the only one, else by its file.
    pub name: String,
    /// `single`, `encoder`, `decoder`, `text_encoder` or `vision_encoder`.
    pub role: String,
    /// The file.
    pub file: RelativePath,
}

pub(super) fn find(package: &Package) -> Result<Vec<PackageGraph>> {
    let format = &package.manifest().spec.format;
    let mut found: Vec<(RelativePath, Option<String>)> = format
        .execution_files
        .iter()
        .filter(|file| file.format == "onnx")
        .map(|file| (file.path.clone(), Some(file.r#type.clone())))
        .collect();
    if found.is_empty() {
        let listed = format.files.iter().map(|file| &file.path);
        let listed = listed.filter(|path| is_onnx(path.as_str())).cloned();
        found = preferred(listed.collect());
    }
    if found.is_empty() {
        found = preferred(on_disk(package)?);
    }
    if found.is_empty() {
        return Err(not_runnable(package));
    }
    let single = found.len() == 1;
    let files: Vec<RelativePath> = found.iter().map(|(file, _)| file.clone()).collect();
    let is_shared = |name: &str| {
        files
            .iter()
            .filter(|file| self::name(file.file_name()) == name)
            .count()
            > 1
    };
    let mut graphs: Vec<PackageGraph> = found
        .into_iter()
        .map(|(file, role)| PackageGraph {
            name: match name(file.file_name()) {
                _ if single => MAIN_GRAPH.to_owned(),
                // Files of one name in several folders.
                shared if is_shared(&shared) => name(file.as_str()),
                name => name,
            },
            role: match single {
                true => "single".to_owned(),
                false => role.unwrap_or_else(|| role_of(file.file_name()).to_owned()),
            },
            file,
        })
        .collect();
    // The entry graph: the one called model, else the first that stands alone or comes first in a chain.
    graphs.sort_by_key(|graph| {
        let order = ["single", "encoder", "text_encoder", "vision_encoder"];
        let role = order.iter().position(|role| graph.role == *role);
        (graph.name != MAIN_GRAPH, role.unwrap_or(order.len()))
    });
    Ok(graphs)
}

fn is_onnx(path: &str) -> bool {
    path.ends_with(".onnx")
}

/// `model.onnx` alone where it is there: what lies beside it are other precisions of the same model.
fn preferred(paths: Vec<RelativePath>) -> Vec<(RelativePath, Option<String>)> {
    let main = ["model.onnx", "onnx/model.onnx"]
        .iter()
        .find_map(|main| paths.iter().find(|path| path.as_str() == *main));
    let kept = match main {
        Some(main) => vec![main.clone()],
        None => paths,
    };
    kept.into_iter().map(|path| (path, None)).collect()
}

fn on_disk(package: &Package) -> Result<Vec<RelativePath>> {
    let directory = package.directory();
    let entries = directory.entries()?;
    let mut files: Vec<String> = entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::File && is_onnx(&entry.name))
        .map(|entry| entry.name.clone())
        .collect();
    let folder = entries
        .iter()
        .any(|entry| entry.kind == EntryKind::Directory && entry.name == "onnx");
    if files.is_empty() && folder {
        let entries = directory
            .open_directory(&RelativePath::parse("onnx")?)?
            .entries()?;
        files = entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::File && is_onnx(&entry.name))
            .map(|entry| format!("onnx/{}", entry.name))
            .collect();
    }
    files.iter().map(|file| RelativePath::parse(file)).collect()
}

/// A file's name, or its path, in the alphabet of graph names.
fn name(file: &str) -> String {
    let stem = file.trim_end_matches(".onnx").to_lowercase();
    let name: String = stem
        .chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '-',
        })
        .collect();
    match name.trim_start_matches(['.', '_', '-']) {
        "" => "graph".to_owned(),
        name => name.to_owned(),
    }
}

/// The role that the name of a file gives away.
fn role_of(file: &str) -> &'static str {
    let words = [
        ("text", "text_encoder"),
        ("vision", "vision_encoder"),
        ("encoder", "encoder"),
        ("decoder", "decoder"),
    ];
    let found = words.iter().find(|(word, _)| file.contains(word));
    found.map_or("single", |(_, role)| *role)
}

fn not_runnable(package: &Package) -> Error {
    let format = &package.manifest().spec.format;
    let execution = format.execution_format.as_deref().unwrap_or(&format.r#type);
    let hint = match execution {
        "tensorflow" => {
            "convert it where TensorFlow is installed: python -m tf2onnx.convert --saved-model DIR --output model.onnx"
        }
        "pytorch" | "safetensors" if package.has("config.json") => {
            "export it from its checkpoint: amphora pack --model DIR"
        }
        "gguf" => "take the safetensors checkpoint that it was made from: amphora pack --model DIR",
        _ => "export the model to ONNX in its own environment, and put model.onnx into the package",
    };
    Error::unsupported(
        "package-not-runnable",
        "the package holds no ONNX graph, and nothing else runs here",
    )
    .found(format!(
        "the execution format {}",
        amphora_error::quoted(execution)
    ))
    .in_file(package.path())
    .hint(hint)
}
