//! The manifest against the graphs.

use std::collections::BTreeMap;

use amphora_bundle::layout::IO_CONTRACT;
use amphora_bundle::manifest::{Graph, IoSpec};
use amphora_bundle::{Bundle, ManifestFields};
use amphora_error::{ErrorKind, Result, quoted};
use amphora_files::{RelativePath, json};
use amphora_onnx::{Contract, Dim, TensorSpec};

use crate::report::{Report, Stage};

/// Compares what the manifest says of every graph with what the graph itself states. Names that only
/// one side has are errors; other element types and shapes are errors when `strict`, else warnings,
/// since the graph is what runs.
pub(crate) fn check(
    report: &mut Report,
    bundle: &Bundle,
    contracts: &BTreeMap<String, Contract>,
    strict: bool,
) -> Result<()> {
    report.begin("contract");
    let manifest = bundle.manifest();
    let several = manifest.spec.graphs.len() > 1;
    for (name, contract) in contracts {
        let Ok(graph) = manifest.graph(name) else {
            continue;
        };
        let place = if several {
            format!("graph {}: ", quoted(name))
        } else {
            String::new()
        };
        side(
            report,
            &place,
            "input",
            &graph.io.inputs,
            &contract.inputs,
            strict,
        );
        side(
            report,
            &place,
            "output",
            &graph.io.outputs,
            &contract.outputs,
            strict,
        );
    }
    stored_contract(report, bundle, contracts)?;
    report.begin("metadata_consistency");
    metadata(report, manifest, contracts);
    Ok(())
}

fn fail(report: &mut Report, text: String) {
    report.fail(
        Stage::Contract,
        ErrorKind::Incompatible,
        format!("contract: {text}"),
    );
}

fn side(
    report: &mut Report,
    place: &str,
    what: &str,
    declared: &[IoSpec],
    actual: &[TensorSpec],
    strict: bool,
) {
    for spec in declared {
        let name = quoted(&spec.name);
        let Some(found) = actual.iter().find(|found| found.name == spec.name) else {
            fail(
                report,
                format!("{place}the manifest's {what} {name} is not in the graph"),
            );
            continue;
        };
        for fault in differences(&spec.tensor_spec(), found) {
            let text = format!("{place}{what} {name}: {fault}");
            if strict {
                fail(report, text);
            } else {
                report.warn(format!("contract: {text}"));
            }
        }
    }
    let unknown = actual
        .iter()
        .filter(|found| declared.iter().all(|spec| spec.name != found.name));
    for found in unknown {
        let name = quoted(&found.name);
        fail(
            report,
            format!("{place}the graph's {what} {name} is not in the manifest"),
        );
    }
}

fn differences(declared: &TensorSpec, actual: &TensorSpec) -> Vec<String> {
    let mut faults = Vec::new();
    if declared.dtype != actual.dtype {
        faults.push(format!(
            "the manifest says {}, the graph {}",
            declared.dtype, actual.dtype
        ));
    }
    if let (Some(declared), Some(actual)) = (&declared.shape, &actual.shape)
        && !compatible(declared, actual)
    {
        let (declared, actual) = (show(declared), show(actual));
        faults.push(format!("the manifest says {declared}, the graph {actual}"));
    }
    faults
}

/// Whether every size can be the same: an open dimension fits any size.
fn compatible(declared: &[Dim], actual: &[Dim]) -> bool {
    let fits = |(a, b): (&Dim, &Dim)| match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a == b,
        _ => true,
    };
    declared.len() == actual.len() && declared.iter().zip(actual).all(fits)
}

fn show(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    graphs: BTreeMap<String, Contract>,
}

/// The contracts file must say what the graphs say.
fn stored_contract(
    report: &mut Report,
    bundle: &Bundle,
    contracts: &BTreeMap<String, Contract>,
) -> Result<()> {
    let path = RelativePath::parse(IO_CONTRACT)?;
    if bundle.manifest().file(&path).is_none() {
        report.warn(format!("{IO_CONTRACT} is not in the bundle"));
        return Ok(());
    }
    match json::parse_into::<Stored>(&bundle.read(&path)?) {
        Ok(stored) if stored.graphs == *contracts => {}
        Ok(_) => fail(
            report,
            format!("{IO_CONTRACT} does not describe the graphs"),
        ),
        Err(error) => fail(report, format!("{IO_CONTRACT}: {error}")),
    }
    Ok(())
}

/// What the manifest repeats of the graphs.
fn metadata(
    report: &mut Report,
    manifest: &ManifestFields,
    contracts: &BTreeMap<String, Contract>,
) {
    for (name, contract) in contracts {
        let Some(graph) = manifest.spec.graphs.get(name) else {
            continue;
        };
        let Graph {
            opset,
            ir_version,
            parameters,
            ..
        } = graph;
        let rows = [
            ("opset", *opset, contract.opset),
            ("ir_version", *ir_version, contract.ir_version),
            ("parameters", *parameters, contract.parameters),
        ];
        for (what, declared, actual) in rows {
            if declared != actual {
                let name = quoted(name);
                fail(
                    report,
                    format!(
                        "{what} of graph {name}: the manifest says {declared}, the graph {actual}"
                    ),
                );
            }
        }
    }
    let entry = contracts
        .get(&manifest.spec.entry)
        .map(|contract| contract.opset);
    let format = manifest
        .formats
        .get("onnx")
        .and_then(|format| format.opset_version);
    if let (Some(actual), Some(declared)) = (entry, format)
        && actual != declared
    {
        fail(
            report,
            format!("formats.onnx.opset_version: the manifest says {declared}, the graph {actual}"),
        );
    }
}
