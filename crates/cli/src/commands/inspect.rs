//! `amphora inspect`.

use amphora::{BundleInspection, GraphInspection, Inspection, OnnxInspection, Result, Subject};

use crate::arguments::InspectArguments;
use crate::commands::{Context, Verdict};
use crate::text::{line, row, size, specs, table};

pub(crate) fn run(context: &Context, arguments: &InspectArguments) -> Result<Verdict> {
    let subject = Subject::resolve(&context.store()?, &arguments.subject)?;
    let inspection = amphora::inspect(&subject, arguments.graph)?;
    context
        .output
        .answer(&inspection, |inspection| match inspection {
            Inspection::Onnx(onnx) => onnx_words(onnx),
            Inspection::Bundle(bundle) => bundle_words(bundle),
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
    graph_rows(&bundle.graph, &mut rows);
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

fn graph_rows(graph: &GraphInspection, rows: &mut Vec<Vec<String>>) {
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
    rows.extend(specs("input", &contract.inputs));
    rows.extend(specs("output", &contract.outputs));
    let operators: Vec<String> = contract
        .operators
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
