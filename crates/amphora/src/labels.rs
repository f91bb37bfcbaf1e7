//! The names of classes, from a file or from the configuration of a model.

use std::collections::BTreeMap;

use amphora_bundle::manifest::{Io, Postprocessing};
use amphora_bundle::parse_labels;
use amphora_error::{Error, Result};
use amphora_files::json;
use bytes::Bytes;
use serde_json::{Map, Value};

/// Labels by class number.
pub(crate) type Labels = BTreeMap<u64, String>;

/// Reads a label map. Class numbers must be 0, 1, 2, ... without a gap: a label stands for the logit at
/// its index.
pub(crate) fn read(bytes: &[u8]) -> Result<Labels> {
    let labels = parse_labels(bytes)?;
    match labels
        .keys()
        .zip(0..)
        .find(|(class, expected)| *class != expected)
    {
        None => Ok(labels),
        Some((class, expected)) => Err(Error::malformed(
            "label-map-gap",
            "the class numbers do not run from 0 without a gap",
        )
        .expected(expected.to_string())
        .found(class.to_string())),
    }
}

/// The labels of a configuration's `id2label`, where it has any.
pub(crate) fn of_config(config: &Value) -> Result<Option<Labels>> {
    let Some(labels) = config.get("id2label").filter(|value| value.is_object()) else {
        return Ok(None);
    };
    let labels = read(&serde_json::to_vec(labels).unwrap_or_default())
        .map_err(|error| error.at("id2label"))?;
    Ok(Some(labels).filter(|labels| !labels.is_empty()))
}

/// Whether a classifier chooses one of its classes. By a configuration's `problem_type` several may hold
/// at once, or a number may be one of its own: then no softmax makes probabilities of its outputs.
pub(crate) fn chooses_one(config: &Value) -> bool {
    let kind = config.get("problem_type").and_then(Value::as_str);
    kind.is_none_or(|kind| kind == "single_label_classification")
}

/// Whether a model with this configuration has a use for its labels: it chooses one class, or the manifest
/// says itself that classes are named.
pub(crate) fn are_used(config: &Value, io: &Io) -> bool {
    let mut outputs = io.outputs.iter();
    chooses_one(config) || outputs.any(|spec| names_classes(&spec.postprocessing))
}

/// Whether one of `steps` names classes.
pub(crate) fn names_classes(steps: &[Postprocessing]) -> bool {
    let labels = |step: &Postprocessing| matches!(step, Postprocessing::Labels { .. });
    steps.iter().any(labels)
}

/// The content of a bundle's `label_map.json`.
pub(crate) fn to_bytes(labels: &Labels) -> Result<Bytes> {
    let entries = labels
        .iter()
        .map(|(class, label)| (class.to_string(), label.as_str().into()));
    json::to_pretty_bytes(&entries.collect::<Map<String, Value>>()).map(Bytes::from)
}
