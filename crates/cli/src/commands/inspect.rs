//! `amphora inspect`.

use std::collections::BTreeSet;

use amphora::{
    BundleInspection, EffectiveIo, Generation, GraphInspection, Inspection, Io, IoSchema, IoSource,
    ModelKind, OnnxInspection, PackageInspection, Result, Subject,
};

use crate::arguments::InspectArguments;
use crate::commands::{Context, Verdict};
use crate::text::{counted, form, line, row, size, specs, table};

pub(crate) fn run(context: &Context, arguments: &InspectArguments) -> Result<Verdict> {
    let subject = Subject::resolve(&context.store()?, &arguments.subject)?;
    let inspection = amphora::inspect(&subject, arguments.graph)?;
    context
        .output
        .answer(&inspection, |inspection| match inspection {
            Inspection::Onnx(onnx) => onnx_words(onnx),
            Inspection::Bundle(bundle) => bundle_words(bundle),
            Inspection::Package(package) => package_words(package),
            Inspection::Schema(schema) => schema_words(schema),
        })?;
    Ok(inspection.verdict().map_or(Verdict::Yes, Verdict::No))
}

fn onnx_words(onnx: &OnnxInspection) -> String {
    let mut rows = vec![
        row(["file", &onnx.path.to_string_lossy()]),
        row(["size", &size(onnx.size)]),
        row(["sha256", &onnx.sha256.to_string()]),
    ];
    if !onnx.producer.is_empty() {
        rows.push(row(["producer", &onnx.producer]));
    }
    for file in &onnx.external_files {
        rows.push(row(["weights", file]));
    }
    graph_rows(&onnx.graph, &mut rows);
    table(0, &rows) + &nodes(&onnx.graph)
}

fn bundle_words(bundle: &BundleInspection) -> String {
    let summary = &bundle.summary;
    let manifest = &bundle.manifest;
    let mut rows = vec![
        row(["bundle", &format!("{}:{}", summary.name, summary.version)]),
        row(["id", &summary.id.to_string()]),
        row(["path", &summary.path.to_string_lossy()]),
    ];
    if let Some(created) = &summary.created {
        rows.push(row(["created", created.as_str()]));
    }
    rows.push(row(["formats", &summary.formats.join(", ")]));
    opset_rows(&bundle.graph, &mut rows);
    if manifest.spec.graphs.len() > 1 {
        let names: Vec<&str> = manifest.spec.graphs.keys().map(String::as_str).collect();
        let entry = format!("{}; shown is {}", names.join(", "), manifest.spec.entry);
        rows.push(row(["graphs", &entry]));
    }
    tensor_rows(&manifest.spec.io, &BTreeSet::new(), &mut rows);
    if let Some(generation) = &manifest.spec.generation {
        rows.push(row(["writes", &writes(generation)]));
    }
    operator_row(&bundle.graph, &mut rows);
    for (graph, golden) in &manifest.golden {
        let cases = format!(
            "{} cases for {graph}, from {}",
            golden.cases, golden.producer
        );
        rows.push(row(["golden", &cases]));
    }
    let provenance = &manifest.provenance;
    for (name, value) in [
        ("architecture", &provenance.architecture),
        ("git sha", &provenance.git_sha),
        ("created by", &provenance.created_by),
        ("created with", &provenance.created_with),
    ] {
        if let Some(value) = value {
            rows.push(row([name, value]));
        }
    }
    let files: Vec<_> = manifest
        .files
        .iter()
        .map(|file| row([file.path.as_str(), &size(file.size)]))
        .collect();
    let heading = line(&format!("{} files, {}", summary.files, size(summary.bytes)));
    table(0, &rows) + &heading + &table(2, &files) + &nodes(&bundle.graph)
}

fn package_words(package: &PackageInspection) -> String {
    let mut rows = vec![
        row(["package", &format!("{}:{}", package.name, package.version)]),
        row(["path", &package.path.to_string_lossy()]),
        row(["framework", &package.framework]),
    ];
    if let Some(format) = &package.execution_format {
        rows.push(row(["runs as", format]));
    }
    for file in &package.graph_files {
        rows.push(row(["graph", file]));
    }
    if let Some(reason) = &package.not_runnable {
        rows.push(row(["warning", reason]));
    }
    io_rows(&package.io, &mut rows);
    if let Some(graph) = &package.graph {
        opset_rows(graph, &mut rows);
        operator_row(graph, &mut rows);
    }
    let files: Vec<_> = package
        .files
        .iter()
        .map(|file| {
            let digest = file
                .sha256
                .map_or("no digest".to_owned(), |d| d.to_string());
            row([&file.path, &size(file.size), &digest])
        })
        .collect();
    let heading = line(&format!("{} listed", counted(files.len(), "file")));
    let nodes = package.graph.as_ref().map_or(String::new(), nodes);
    table(0, &rows) + &heading + &table(2, &files) + &nodes
}

fn schema_words(schema: &IoSchema) -> String {
    let what = match schema.kind {
        ModelKind::Package => "package",
        ModelKind::Checkpoint => "checkpoint",
        ModelKind::SavedModel => "SavedModel",
    };
    let mut rows = vec![row([what, &schema.path.to_string_lossy()])];
    if let Some(model_type) = &schema.model_type {
        rows.push(row(["model type", model_type]));
    }
    if let Some(signature) = &schema.signature {
        rows.push(row(["signature", signature]));
    }
    io_rows(&schema.io, &mut rows);
    table(0, &rows)
}

/// Inputs and outputs with how they are made, and who says so.
fn io_rows(io: &EffectiveIo, rows: &mut Vec<Vec<String>>) {
    let source = match io.source {
        IoSource::Manifest => "the manifest",
        IoSource::Graph => "the graph",
        IoSource::Architecture => "its architecture",
        IoSource::Signature => "its signature",
        IoSource::ModelType => "what is usual for this model_type (unverified)",
        IoSource::Legacy => "nobody: one tensor of floats is assumed (unverified)",
    };
    rows.push(row(["I/O from", source]));
    tensor_rows(&io.io, &io.detected, rows);
    for warning in &io.warnings {
        rows.push(row(["warning", warning]));
    }
}

/// Inputs with how they are made, and outputs with what becomes of them.
fn tensor_rows(io: &Io, detected: &BTreeSet<String>, rows: &mut Vec<Vec<String>>) {
    for spec in &io.inputs {
        let made = match &spec.preprocessing {
            Some(how) if detected.contains(&spec.name) => format!("{} (detected)", how.r#type),
            Some(how) => how.r#type.clone(),
            None => String::new(),
        };
        rows.push(row([
            "input",
            &spec.name,
            &form(&spec.tensor_spec()),
            &made,
        ]));
    }
    for spec in &io.outputs {
        let steps: Vec<String> = spec
            .postprocessing
            .iter()
            .map(ToString::to_string)
            .collect();
        let form = form(&spec.tensor_spec());
        rows.push(row(["output", &spec.name, &form, &steps.join(", then ")]));
    }
}

/// How a language model writes.
fn writes(generation: &Generation) -> String {
    let mut words = vec!["text".to_owned()];
    if let Some(length) = generation.context_length {
        words.push(format!("{length} tokens with its prompt at most"));
    }
    if !generation.stop_token_ids.is_empty() {
        let ids: Vec<String> = generation
            .stop_token_ids
            .iter()
            .map(u32::to_string)
            .collect();
        words.push(format!("ends with token {}", ids.join(" or ")));
    }
    if let Some(template) = &generation.chat_template {
        words.push(format!("conversations by {template}"));
    }
    words.join(", ")
}

fn graph_rows(graph: &GraphInspection, rows: &mut Vec<Vec<String>>) {
    opset_rows(graph, rows);
    rows.extend(specs("input", &graph.contract.inputs));
    rows.extend(specs("output", &graph.contract.outputs));
    operator_row(graph, rows);
}

fn opset_rows(graph: &GraphInspection, rows: &mut Vec<Vec<String>>) {
    let contract = &graph.contract;
    let opset = format!("{} (ir version {})", contract.opset, contract.ir_version);
    rows.push(row(["opset", &opset]));
    for (domain, version) in &contract.other_opsets {
        rows.push(row(["", &format!("{domain} {version}")]));
    }
    rows.push(row(["parameters", &contract.parameters.to_string()]));
    match graph.nonfinite_weights {
        Some(0) => {}
        Some(count) => {
            let text = format!("{count} weights are NaN or infinite");
            rows.push(row(["warning", &text]));
        }
        None => rows.push(row([
            "warning",
            "the weights are too many to be read for this",
        ])),
    }
}

fn operator_row(graph: &GraphInspection, rows: &mut Vec<Vec<String>>) {
    let operators = &graph.contract.operators;
    let operators: Vec<String> = operators
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    rows.push(row(["operators", &operators.join(", ")]));
}

fn nodes(graph: &GraphInspection) -> String {
    let Some(nodes) = &graph.nodes else {
        return String::new();
    };
    let rows: Vec<_> = nodes
        .iter()
        .zip(0..)
        .map(|(node, index): (_, usize)| {
            let flow = format!("{} -> {}", node.inputs.join(", "), node.outputs.join(", "));
            row([&index.to_string(), &node.operator, &flow])
        })
        .collect();
    line(&format!("{} nodes", rows.len())) + &table(2, &rows)
}
