//! Configuration, labels, metrics and calibration: that they can be read and agree with each other.

use amphora_bundle::{Checked, parse_labels, parse_metrics};
use amphora_error::{ErrorKind, Result};
use amphora_files::RelativePath;
use amphora_onnx::Contract;
use amphora_runtime::Calibration;
use serde_json::Value;

use crate::report::{Report, Stage};

/// The metrics that document 003 looks for.
const EXPECTED_METRICS: [&str; 3] = ["accuracy", "macro_f1", "ece"];

/// Runs document 003's general checks; returns the configuration when it could be read.
pub(crate) fn check(
    report: &mut Report,
    bundle: &Checked<'_>,
    entry: Option<&Contract>,
) -> Result<Option<Value>> {
    report.begin("required_files");
    let assets = &bundle.manifest().assets;
    if assets.config.is_none() {
        report.warn("there is no configuration");
    }
    if assets.metrics.is_none() {
        report.warn("there are no metrics");
    }
    report.begin("model_formats");
    for (format, entry) in &bundle.manifest().formats {
        if let Some(reason) = &entry.skipped {
            report.skip(&format!("format {format}"), reason.clone());
        }
    }
    report.begin("configuration");
    let config = match &assets.config {
        None => None,
        Some(path) => {
            let bytes = bundle.read(path)?;
            let parsed = match path.as_str().ends_with(".json") {
                true => amphora_files::json::parse(&bytes),
                false => amphora_bundle::parse_yaml(&bytes),
            };
            readable(report, path, parsed)
        }
    };
    labels(report, bundle, config.as_ref())?;
    metrics(report, bundle)?;
    calibration(report, bundle, entry)?;
    Ok(config)
}

fn fail(report: &mut Report, text: String) {
    report.fail(Stage::Contract, ErrorKind::Incompatible, text);
}

/// The value, or a failure that names the file.
fn readable<T>(report: &mut Report, path: &RelativePath, parsed: Result<T>) -> Option<T> {
    match parsed {
        Ok(value) => Some(value),
        Err(error) => {
            report.fail_with(
                Stage::Contract,
                ErrorKind::Incompatible,
                &error.in_file(path.as_str()),
            );
            None
        }
    }
}

fn labels(report: &mut Report, bundle: &Checked<'_>, config: Option<&Value>) -> Result<()> {
    let declared = config.and_then(classes);
    let Some(path) = &bundle.manifest().assets.labels else {
        if declared.is_some() {
            report.warn("the configuration has classes, but there are no labels");
        }
        return Ok(());
    };
    let Some(labels) = readable(report, path, parse_labels(&bundle.read(path)?)) else {
        return Ok(());
    };
    let count = labels.len() as u64;
    if !labels.keys().copied().eq(0..count) {
        report.warn(format!(
            "{path}: the classes are not numbered 0 to {}",
            count.saturating_sub(1)
        ));
    }
    if let Some(classes) = declared.filter(|classes| *classes != count) {
        fail(
            report,
            format!("{path}: expected {classes} labels as in the configuration, found {count}"),
        );
    }
    Ok(())
}

/// The number of classes that a configuration declares.
fn classes(config: &Value) -> Option<u64> {
    let nested = config.get("model").and_then(|model| model.get("n_classes"));
    config.get("n_classes").or(nested)?.as_u64()
}

fn metrics(report: &mut Report, bundle: &Checked<'_>) -> Result<()> {
    let Some(path) = &bundle.manifest().assets.metrics else {
        return Ok(());
    };
    let Some(metrics) = readable(report, path, parse_metrics(&bundle.read(path)?)) else {
        return Ok(());
    };
    if !EXPECTED_METRICS
        .iter()
        .any(|metric| metrics.contains_key(*metric))
    {
        report.warn(format!(
            "{path}: expected at least one of {}",
            EXPECTED_METRICS.join(", ")
        ));
    }
    if let Some(accuracy) = metrics
        .get("accuracy")
        .filter(|value| !(0.0..=1.0).contains(*value))
    {
        report.warn(format!(
            "{path}: accuracy is {accuracy}, not a fraction between 0 and 1"
        ));
    }
    Ok(())
}

fn calibration(report: &mut Report, bundle: &Checked<'_>, entry: Option<&Contract>) -> Result<()> {
    let Some(path) = &bundle.manifest().assets.calibration else {
        return Ok(());
    };
    let parsed = Calibration::parse(&bundle.read(path)?);
    if let (Some(calibration), Some(contract)) = (readable(report, path, parsed), entry)
        && let Err(error) = calibration.check(contract)
    {
        report.fail_with(
            Stage::Contract,
            ErrorKind::Incompatible,
            &error.in_file(path.as_str()),
        );
    }
    Ok(())
}
