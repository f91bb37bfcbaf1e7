//! What a deployment target asks of a bundle.

use amphora_bundle::Manifest;
use amphora_checkpoint::architecture::{Architecture, Axis};
use amphora_error::ErrorKind;
use amphora_onnx::{Contract, Dim, Dtype};
use serde_json::Value;

use crate::report::{Report, Stage, Target};

/// The lowest opset that document 003 accepts without a warning.
const LOWEST_OPSET: u64 = 11;

/// What is known of the entry graph when the target is checked.
pub(crate) struct Entry<'a> {
    pub(crate) contract: Option<&'a Contract>,
    pub(crate) config: Option<&'a Value>,
}

pub(crate) fn check(report: &mut Report, manifest: &Manifest, entry: &Entry<'_>) {
    match report.target {
        Target::General => {}
        Target::Onnx => onnx(report, manifest, entry),
        Target::Ios => other(report, manifest, "coreml", "CoreML model package missing"),
        Target::Hailo => other(report, manifest, "hailo", "Hailo HEF file missing"),
    }
}

fn fail(report: &mut Report, text: String) {
    report.fail(Stage::Target, ErrorKind::NotReady, text);
}

fn onnx(report: &mut Report, manifest: &Manifest, entry: &Entry<'_>) {
    report.begin("onnx_model_loadable");
    let Some(contract) = entry.contract else {
        return fail(report, "ONNX model file missing or unreadable".to_owned());
    };
    report.begin("onnx_model_valid");
    if !report.onnx_check.as_ref().is_some_and(|check| check.passed) {
        fail(report, "ONNX validation failed: see onnx_check".to_owned());
    }
    report.begin("onnx_input_shape");
    input_shape(report, manifest, contract, entry.config);
    report.begin("onnx_opset_version");
    if contract.opset < LOWEST_OPSET {
        report.warn(format!(
            "opset {} is lower than {LOWEST_OPSET}",
            contract.opset
        ));
    }
}

/// Compares the graph's inputs with those of the architecture that the configuration describes,
/// position by position: a foreign exporter may have named them otherwise.
fn input_shape(
    report: &mut Report,
    manifest: &Manifest,
    contract: &Contract,
    config: Option<&Value>,
) {
    let architecture = config.and_then(|config| Architecture::from_config(config).ok());
    let by_others = manifest.provenance.source.as_ref();
    if by_others.is_some_and(|source| source.format == "onnx")
        && matches!(
            architecture,
            Some(Architecture::Encoder(_) | Architecture::Decoder(_))
        )
    {
        return report.skip(
            "onnx_input_shape",
            "exporters of text models differ in which inputs they leave to the caller",
        );
    }
    let Some(ports) = architecture.map(|architecture| architecture.inputs()) else {
        return report.skip(
            "onnx_input_shape",
            "the configuration declares no input shape",
        );
    };
    if ports.len() != contract.inputs.len() {
        let (expected, found) = (ports.len(), contract.inputs.len());
        fail(
            report,
            format!("expected {expected} inputs as in the configuration, found {found}"),
        );
    }
    for (port, input) in ports.iter().zip(&contract.inputs) {
        let expected: Vec<Option<u64>> = port
            .shape
            .iter()
            .map(|axis| match axis {
                Axis::Fixed(size) => Some(*size),
                Axis::Dynamic { .. } => None,
            })
            .collect();
        let fits = |(expected, dim): (&Option<u64>, &Dim)| match (expected, dim) {
            (Some(expected), Dim::Fixed(found)) => expected == found,
            _ => true,
        };
        let same = input
            .shape
            .as_ref()
            .is_none_or(|dims| dims.len() == expected.len() && expected.iter().zip(dims).all(fits));
        let name = amphora_error::quoted(&input.name);
        if !same {
            let dims: Vec<String> = input
                .shape
                .iter()
                .flatten()
                .map(ToString::to_string)
                .collect();
            let wanted = expected
                .iter()
                .map(|size| size.map_or("any".to_owned(), |s| s.to_string()));
            fail(
                report,
                format!(
                    "invalid input shape of {name}: expected [{}], found [{}]",
                    wanted.collect::<Vec<_>>().join(", "),
                    dims.join(", ")
                ),
            );
        }
        let real = port.values == amphora_checkpoint::architecture::Values::Real;
        if real && input.dtype != Dtype::Float32 {
            report.warn(format!("input {name} is {}, not float32", input.dtype));
        }
    }
}

/// Targets that this version neither converts to nor checks.
fn other(report: &mut Report, manifest: &Manifest, format: &str, missing: &str) {
    let target = report.target;
    report.begin(format!("{format}_model_present"));
    let entry = manifest.formats.get(format);
    match entry.and_then(|entry| entry.file.as_ref()) {
        None => {
            let reason = entry.and_then(|entry| entry.skipped.as_deref());
            let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
            fail(report, format!("{missing}{reason}"));
        }
        Some(file) => report.fail(
            Stage::Target,
            ErrorKind::Unsupported,
            format!("{file} is there, but this version cannot check the target {target}"),
        ),
    }
}
