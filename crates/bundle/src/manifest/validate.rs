//! The rules that a manifest keeps beyond its grammar. [`validate`] is the only place that knows
//! them; every constructor calls it.

use std::collections::{BTreeMap, BTreeSet};

use amphora_error::{Error, Result, quoted};
use amphora_files::RelativePath;
use amphora_onnx::Dim;
use serde_json::Value;

use super::{FormatEntry, Graph, Io, IoSpec, ManifestFields, Postprocessing, Sampling, yaml};
use crate::layout;
use crate::name::is_segment;

/// Most files in a bundle.
const MAX_FILES: usize = 4096;
/// Longest text in a manifest, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// Broken rules, in the order they were found.
struct Faults(Vec<(&'static str, String)>);

impl Faults {
    fn add(&mut self, rule: &'static str, message: String) {
        self.0.push((rule, message));
    }
}

/// Checks every rule and reports all that are broken; the error's rule is the first of them.
pub(super) fn validate(fields: &ManifestFields) -> Result<()> {
    yaml::refuse_newer(&fields.compatibility.amphora_min_version)?;
    let mut faults = Faults(Vec::new());
    files(fields, &mut faults);
    graphs(fields, &mut faults);
    format(fields, &mut faults);
    formats(fields, &mut faults);
    references(fields, &mut faults);
    generation(fields, &mut faults);
    golden(fields, &mut faults);
    requirements(fields, &mut faults);
    performance(fields, &mut faults);
    texts(fields, &mut faults);
    let Some((rule, first)) = faults.0.first().cloned() else {
        return Ok(());
    };
    if faults.0.len() == 1 {
        return Err(Error::malformed(rule, first));
    }
    Err(Error::malformed(
        rule,
        format!("{} rules of the manifest are broken", faults.0.len()),
    )
    .faults(faults.0.into_iter().map(|(_, fault)| fault).collect()))
}

fn files(fields: &ManifestFields, faults: &mut Faults) {
    if fields.files.len() > MAX_FILES {
        let count = fields.files.len();
        faults.add(
            "manifest-file-count",
            format!("files: {count} files, at most {MAX_FILES} are allowed"),
        );
    }
    let mut total = Some(0_u64);
    let mut folders = BTreeSet::new();
    let mut keys = BTreeMap::new();
    for pair in fields.files.windows(2) {
        if pair[0].path >= pair[1].path {
            faults.add(
                "manifest-file-order",
                format!("files: {} is listed twice or out of order", pair[1].path),
            );
        }
    }
    for file in &fields.files {
        total = total.and_then(|total| total.checked_add(file.size));
        if layout::is_manifest(&file.path) {
            faults.add(
                "manifest-lists-itself",
                format!("files: {} cannot be listed", file.path),
            );
        }
        if let Some(twin) = keys.insert(file.path.collision_key(), &file.path) {
            faults.add(
                "manifest-file-twins",
                format!(
                    "files: {twin} and {} are one file on some platforms",
                    file.path
                ),
            );
        }
        let key = file.path.collision_key();
        folders.extend(key.match_indices('/').map(|(at, _)| key[..at].to_owned()));
    }
    for file in &fields.files {
        if folders.contains(&file.path.collision_key()) {
            faults.add(
                "manifest-file-and-folder",
                format!("files: {} is a file and a folder", file.path),
            );
        }
    }
    if total.is_none() {
        faults.add(
            "manifest-file-size",
            "files: the sizes add up to more than 64 bits hold".to_owned(),
        );
    }
}

fn listed(fields: &ManifestFields, path: &RelativePath) -> bool {
    fields.files.iter().any(|file| file.path == *path)
}

fn must_be_listed(fields: &ManifestFields, place: &str, path: &RelativePath, faults: &mut Faults) {
    if !listed(fields, path) {
        faults.add(
            "manifest-path-unlisted",
            format!("{place}: {path} is not listed under files"),
        );
    }
}

fn graphs(fields: &ManifestFields, faults: &mut Faults) {
    let spec = &fields.spec;
    match spec.graphs.get(&spec.entry) {
        None => faults.add(
            "manifest-entry",
            format!("spec.entry: there is no graph {}", quoted(&spec.entry)),
        ),
        Some(graph) if graph.io != spec.io => faults.add(
            "manifest-entry-io",
            format!(
                "spec.io: it differs from the I/O of graph {}",
                quoted(&spec.entry)
            ),
        ),
        Some(_) => {}
    }
    for (name, graph) in &spec.graphs {
        let place = format!("spec.graphs.{name}");
        if !is_segment(name) {
            faults.add(
                "manifest-graph-name",
                format!("spec.graphs: {} is not a graph name", quoted(name)),
            );
        }
        if !is_role(&graph.role) {
            faults.add(
                "manifest-graph-role",
                format!("{place}.role: {} is not a role", quoted(&graph.role)),
            );
        }
        must_be_listed(fields, &format!("{place}.file"), &graph.file, faults);
        graph_data(fields, &place, graph, faults);
        io(fields, &format!("{place}.io"), &graph.io, faults);
    }
}

fn is_role(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn graph_data(fields: &ManifestFields, place: &str, graph: &Graph, faults: &mut Faults) {
    for data in &graph.data {
        must_be_listed(fields, &format!("{place}.data"), data, faults);
        if layout::location_of(graph, data).is_none() {
            faults.add(
                "manifest-graph-data",
                format!("{place}.data: {data} does not lie beside the graph's file"),
            );
        }
    }
}

fn io(fields: &ManifestFields, place: &str, io: &Io, faults: &mut Faults) {
    if io.outputs.is_empty() {
        faults.add("manifest-io-empty", format!("{place}: there is no output"));
    }
    for (side, specs) in [("inputs", &io.inputs), ("outputs", &io.outputs)] {
        let mut names = BTreeSet::new();
        for spec in specs {
            let place = format!("{place}.{side} {}", quoted(&spec.name));
            if spec.name.is_empty() || !names.insert(&spec.name) {
                faults.add(
                    "manifest-io-name",
                    format!("{place}: the name is empty or occurs twice"),
                );
            }
            if !dims_agree(spec) {
                faults.add(
                    "manifest-io-shape",
                    format!("{place}: shape and dims are not one shape"),
                );
            }
            let tokenizer = spec
                .preprocessing
                .as_ref()
                .and_then(|p| p.tokenizer.as_ref());
            if let Some(tokenizer) = tokenizer {
                must_be_listed(fields, &format!("{place}.tokenizer"), tokenizer, faults);
            }
            if let Some(fault) = postprocessing(fields, spec) {
                faults.add(
                    "manifest-postprocessing",
                    format!("{place}.postprocessing: {fault}"),
                );
            }
        }
    }
}

/// Why the steps of an output cannot be applied, as far as a manifest shows it.
fn postprocessing(fields: &ManifestFields, spec: &IoSpec) -> Option<String> {
    let steps = &spec.postprocessing;
    let rank = spec.shape.as_ref().map(Vec::len);
    let pools = steps
        .iter()
        .any(|step| matches!(step, Postprocessing::Pooling { .. }));
    let names = steps
        .iter()
        .any(|step| matches!(step, Postprocessing::Labels { .. }));
    if let Some(fault) = Postprocessing::fault(steps) {
        return Some(fault);
    }
    if pools && rank.is_some_and(|rank| rank != 3) {
        return Some("pooling needs the shape [batch, time, width]".to_owned());
    }
    if names && fields.assets.labels.is_none() {
        return Some("classes are named, and assets.labels names no file".to_owned());
    }
    None
}

pub(crate) fn dims_agree(spec: &IoSpec) -> bool {
    let Some(shape) = &spec.shape else {
        return spec.dims.is_none();
    };
    let same = |(size, dim): (&i64, &Dim)| match dim {
        Dim::Fixed(fixed) => u64::try_from(*size).is_ok_and(|size| size == *fixed),
        Dim::Symbol(name) => *size == -1 && !name.is_empty(),
        Dim::Unknown => *size == -1,
    };
    shape.iter().all(|size| *size >= -1)
        && spec
            .dims
            .as_ref()
            .is_none_or(|dims| dims.len() == shape.len() && shape.iter().zip(dims).all(same))
}

fn format(fields: &ManifestFields, faults: &mut Faults) {
    let format = &fields.spec.format;
    if format.files.is_empty() {
        faults.add(
            "manifest-format-files",
            "spec.format.files: there is no file".to_owned(),
        );
    }
    for file in &format.files {
        if !fields.files.contains(file) {
            faults.add(
                "manifest-format-files",
                format!(
                    "spec.format.files: {} is not listed under files with this size and digest",
                    file.path
                ),
            );
        }
        if file.size == 0 {
            faults.add(
                "manifest-format-files",
                format!("spec.format.files: {} is empty", file.path),
            );
        }
    }
    for file in &format.execution_files {
        must_be_listed(fields, "spec.format.execution_files", &file.path, faults);
    }
}

fn formats(fields: &ManifestFields, faults: &mut Faults) {
    for (name, entry) in &fields.formats {
        if !is_role(name) {
            faults.add(
                "manifest-format-name",
                format!("formats: {} is not a format", quoted(name)),
            );
        }
        let fault = match entry {
            FormatEntry {
                file: Some(_),
                skipped: Some(_),
                ..
            } => Some("it is present and skipped"),
            FormatEntry {
                file: None,
                skipped: None,
                ..
            } => Some("it has neither a file nor a reason why it was skipped"),
            FormatEntry {
                file: Some(path), ..
            } => {
                let beneath = format!("{path}/");
                let present = fields
                    .files
                    .iter()
                    .any(|file| file.path == *path || file.path.as_str().starts_with(&beneath));
                (!present).then_some("its file is not listed under files")
            }
            _ => None,
        };
        if let Some(fault) = fault {
            faults.add("manifest-format-entry", format!("formats.{name}: {fault}"));
        }
    }
}

fn references(fields: &ManifestFields, faults: &mut Faults) {
    for (key, path) in fields.assets.paths() {
        must_be_listed(fields, &format!("assets.{key}"), path, faults);
    }
}

fn generation(fields: &ManifestFields, faults: &mut Faults) {
    let Some(generation) = &fields.spec.generation else {
        return;
    };
    for (key, name) in [
        ("prefill", &generation.prefill),
        ("decode", &generation.decode),
    ] {
        if !fields.spec.graphs.contains_key(name) {
            faults.add(
                "manifest-generation-graph",
                format!("spec.generation.{key}: there is no graph {}", quoted(name)),
            );
        }
    }
    if let Some(fault) = generation.sampling.as_ref().and_then(Sampling::fault) {
        faults.add(
            "manifest-sampling",
            format!("spec.generation.sampling: {fault}"),
        );
    }
    if let Some(path) = &generation.chat_template {
        must_be_listed(fields, "spec.generation.chat_template", path, faults);
    }
}

fn golden(fields: &ManifestFields, faults: &mut Faults) {
    for (name, golden) in &fields.golden {
        let place = format!("golden.{name}");
        must_be_listed(fields, &place, &golden.file, faults);
        if !golden.file.as_str().starts_with(layout::GOLDEN) {
            faults.add(
                "manifest-golden-place",
                format!("{place}: {} does not lie in golden/", golden.file),
            );
        }
        if golden.cases == 0 || golden.tolerance.is_empty() {
            faults.add(
                "manifest-golden-empty",
                format!("{place}: there is no case or no tolerance"),
            );
        }
        let Some(graph) = fields.spec.graphs.get(name) else {
            faults.add(
                "manifest-golden-graph",
                format!("golden: there is no graph {}", quoted(name)),
            );
            continue;
        };
        for (output, tolerance) in &golden.tolerance {
            let place = format!("{place}.tolerance {}", quoted(output));
            if !graph.io.outputs.iter().any(|spec| spec.name == *output) {
                faults.add(
                    "manifest-golden-output",
                    format!("{place}: the graph has no such output"),
                );
            }
            if let Some(fault) = tolerance.fault() {
                faults.add("manifest-tolerance", format!("{place}: {fault}"));
            }
        }
    }
}

fn requirements(fields: &ManifestFields, faults: &mut Faults) {
    let Some(requirements) = &fields.spec.requirements else {
        return;
    };
    let compute = requirements.compute.as_ref();
    let cores = compute.and_then(|compute| compute.cpu.as_ref());
    let memory = compute.and_then(|compute| compute.memory.as_ref());
    let gpu = compute.and_then(|compute| compute.gpu.as_ref());
    let sizes = [memory, requirements.storage.as_ref()]
        .into_iter()
        .flatten()
        .flat_map(|memory| [memory.min_gb, memory.recommended_gb])
        .chain([gpu.and_then(|gpu| gpu.min_vram_gb)])
        .flatten();
    let none = cores.is_some_and(|cpu| cpu.min_cores == 0 || cpu.recommended_cores == Some(0));
    if none
        || sizes
            .into_iter()
            .any(|size| !size.is_finite() || size <= 0.0)
    {
        faults.add(
            "manifest-requirements",
            "spec.requirements: a quantity is not positive".to_owned(),
        );
    }
}

fn performance(fields: &ManifestFields, faults: &mut Faults) {
    let accuracy = fields
        .spec
        .performance
        .iter()
        .flat_map(|p| p.accuracy.values());
    if accuracy.into_iter().any(|value| !value.is_finite()) {
        faults.add(
            "manifest-performance",
            "spec.performance.accuracy: a value is not finite".to_owned(),
        );
    }
}

/// No text holds a control character or is longer than any honest one.
fn texts(fields: &ManifestFields, faults: &mut Faults) {
    let Ok(value) = serde_json::to_value(fields) else {
        return;
    };
    let mut open = vec![(String::new(), &value)];
    while let Some((place, value)) = open.pop() {
        match value {
            Value::String(text) => check_text(&place, text, faults),
            Value::Array(items) => open.extend(items.iter().map(|item| (place.clone(), item))),
            Value::Object(entries) => {
                for (key, value) in entries {
                    let place = format!("{place}.{}", quoted(key));
                    check_text(&place, key, faults);
                    open.push((place, value));
                }
            }
            _ => {}
        }
    }
}

fn check_text(place: &str, text: &str, faults: &mut Faults) {
    let place = place.trim_start_matches('.');
    if text.chars().any(yaml::forbidden) {
        faults.add(
            "manifest-control",
            format!("{place}: it holds a control character"),
        );
    }
    if text.len() > MAX_TEXT {
        faults.add("manifest-text", format!("{place}: the text is too long"));
    }
}
