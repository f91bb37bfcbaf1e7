//! The documents of a planner bundle, with the keys of document 000.

use std::collections::BTreeMap;
use std::path::Path;

use amphora_error::{Error, Result};
use amphora_files::{Digest, OpenedFile, json, sha256};
use amphora_planner::action_space::Head;
use amphora_planner::bundle::{Digests, toolchains_digest};
use amphora_runtime::Calibration as Parsed;
use serde_json::{Map, Value, json};

use super::agreement::Agreement;
use super::{ExportRequest, OPSET, Source};
use crate::checkpoint::MODEL;

/// The temperature of each head, and what `calibration.json` says about them.
pub(super) struct Calibration {
    pub(super) temperatures: [f64; 4],
    /// The confidence below which a decision is left to the baseline, where it was chosen.
    pub(super) threshold: Option<f64>,
    /// The document that was supplied, kept word for word.
    pub(super) supplied: Option<Value>,
}

impl Calibration {
    /// `calibration.json`. A fit has no date: equal exports are equal bytes.
    pub(super) fn to_json(&self, validation_ece: Option<f64>) -> Value {
        match &self.supplied {
            Some(document) => document.clone(),
            None => json!({
                "method": "temperature_scaling",
                "temperature": self.by_head(),
                "validation_ece": validation_ece,
            }),
        }
    }

    pub(super) fn by_head(&self) -> BTreeMap<String, f64> {
        let heads = Head::ALL.into_iter().zip(self.temperatures);
        heads
            .map(|(head, t)| (head.onnx_name().to_owned(), t))
            .collect()
    }
}

/// A calibration from a file.
pub(super) fn supplied_calibration(path: &Path, checkpoint: &Digest) -> Result<Calibration> {
    let bytes = OpenedFile::open(path)?.contents(json::MAX_BYTES)?;
    let parsed = Parsed::parse(&bytes).map_err(|error| error.in_file(path))?;
    let stated = parsed.temperatures();
    let known = |name: &str| Head::ALL.iter().any(|head| head.onnx_name() == name);
    if let Some(name) = stated.keys().find(|name| !known(name)) {
        return Err(Error::incompatible(
            "calibration-head",
            format!("the planner has no head {}", amphora_error::quoted(name)),
        )
        .in_file(path));
    }
    let document = json::parse(&bytes)?;
    let threshold = match document.get("confidence_threshold") {
        None | Some(Value::Null) => None,
        Some(value) => Some(
            value
                .as_f64()
                .filter(|value| (0.0..=1.0).contains(value))
                .ok_or_else(|| {
                    Error::malformed("confidence-threshold", "the threshold is no probability")
                        .at("field 'confidence_threshold'")
                        .in_file(path)
                })?,
        ),
    };
    let other = document.get("checkpoint_sha256").and_then(Value::as_str);
    if let Some(other) = other.filter(|other| *other != checkpoint.to_string()) {
        return Err(Error::incompatible(
            "calibration-checkpoint",
            "the calibration was fitted for other weights",
        )
        .expected(other)
        .found(checkpoint.to_string())
        .in_file(path)
        .hint("fit one for this checkpoint with `planner evaluate --calibration`"));
    }
    Ok(Calibration {
        temperatures: Head::ALL.map(|head| stated.get(head.onnx_name()).copied().unwrap_or(1.0)),
        threshold,
        supplied: Some(document),
    })
}

/// `config.json`: the architecture in document 000's completed form, and the action space.
pub(super) fn config(source: &Source, opset: u64) -> Result<Value> {
    let mut config = source.architecture.to_config_json(opset);
    config["action_space"] = serde_json::to_value(&source.action_space).map_err(|error| {
        Error::internal(
            "json-encoding",
            "the action space cannot be written as JSON",
        )
        .caused_by(error)
    })?;
    Ok(config)
}

/// `metadata.json`. It has no date, since it is part of the identity; the flat layout adds one.
pub(super) fn metadata(
    request: &ExportRequest<'_>,
    source: &Source,
    agreement: &Agreement,
    config: &Digest,
    threshold: Option<f64>,
) -> Result<Value> {
    let member = source
        .report
        .as_ref()
        .and_then(|report| report.pointer("/members/0/curve"));
    let epochs = member.and_then(|curve| curve.get("epochs")?.as_array().map(Vec::len));
    let best_epoch = member.and_then(|curve| curve.get("best_epoch")?.as_u64());
    // Of the kept epoch, against what was learned; without a report, against what was executed.
    let of_epoch = |epoch: u64| {
        let epochs = member?.get("epochs")?.as_array()?;
        let record = epochs.get(usize::try_from(epoch.checked_sub(1)?).ok()?)?;
        record.get("validation_exact_match")?.as_f64()
    };
    let executed = || agreement.validation.as_ref().map(|v| v.exact);
    let best_accuracy = best_epoch.and_then(of_epoch).or_else(executed);
    let model_type = source.architecture.model_type();
    let version = request.version;
    let digests = Digests {
        feature_schema: Some(source.schema.digest()?),
        action_space: Some(source.action_space.digest()?),
        toolchains: request.toolchains.map(toolchains_digest),
    };
    // Test rows hold what was executed, which says nothing about a model that learned something else.
    let test = agreement.test.as_ref().filter(|_| !source.learned_outcomes);
    let per_head: Option<Map<String, Value>> = test.map(|test| {
        let heads = Head::ALL.into_iter().zip(test.heads);
        heads
            .map(|(head, share)| (head.onnx_name().to_owned(), share.into()))
            .collect()
    });
    let mut document = json!({
        "schema_version": "cyntra.model_bundle.v1",
        "model_version": version,
        "model_name": format!("planner_{model_type}_{}", version.replace(['.', '-', '+'], "_")),
        "training": {
            "dataset_hash": request.dataset.meta.dataset_hash,
            "example_count": request.dataset.meta.example_count,
            "epochs": epochs,
            "best_epoch": best_epoch,
            "best_val_accuracy": best_accuracy,
            "labels": if source.learned_outcomes { "outcomes" } else { "executed" },
            "test_metrics": {
                "exact_match_accuracy": test.map(|test| test.exact),
                "per_head_accuracy": per_head,
            },
        },
        "provenance": {
            "git_sha": request.git_sha,
            "training_script": "amphora planner train",
            "config_hash": config.to_string(),
            "checkpoint_path": MODEL,
            "checkpoint_sha256": sha256(&source.weights).to_string(),
        },
        "compatibility": {
            "cyntra_kernel_min_version": "0.5.0",
            "onnxruntime_min_version": "1.16.0",
            "required_opset": OPSET,
        },
        "digests": digests,
    });
    if let Some(threshold) = threshold {
        document["confidence_threshold"] = threshold.into();
    }
    if let Some(toolchains) = request.toolchains {
        document["toolchains"] = json!(toolchains);
    }
    Ok(document)
}
