//! The JSON documents of a planner bundle, as document 000 describes them.

use std::collections::BTreeMap;

use amphora_error::{Error, Result, quoted};
use amphora_files::json;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action_space::{ActionSpace, Head, ValidityRule};

/// What feeds a model, by the `model_type` of its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// A feature vector.
    Features,
    /// A token sequence.
    Tokens,
}

/// What a bundle's `metadata.json` pins beside its files: a caller with others must not use the
/// model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// SHA-256 of what the encoder makes of an input; absent in directories that were not exported here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_schema: Option<String>,
    /// SHA-256 of the action space; see [`ActionSpace::digest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_space: Option<String>,
    /// SHA-256 of the toolchains, in their order; absent when the model does not depend on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolchains: Option<String>,
}

/// SHA-256, in hexadecimal, of a list of toolchains in its order.
pub fn toolchains_digest(toolchains: &[String]) -> String {
    let list = Value::from(toolchains.to_vec());
    amphora_files::sha256(crate::contracts::canonical_json(&list).as_bytes()).to_string()
}

/// Who a model is, from `metadata.json`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) model_version: Option<String>,
    #[serde(default)]
    pub(super) provenance: Provenance,
    #[serde(default)]
    pub(super) toolchains: Option<Vec<String>>,
    #[serde(default)]
    pub(super) digests: Digests,
    /// The confidence below which the baseline is to be executed.
    #[serde(default)]
    pub(super) confidence_threshold: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Provenance {
    #[serde(default)]
    pub(super) git_sha: Option<String>,
}

/// `config.json`: the kind of model, once heads and outputs agree with the action space.
pub(super) fn config(bytes: &[u8], space: &ActionSpace) -> Result<ModelKind> {
    let config = json::parse(bytes)?;
    let kind = match config.get("model_type").and_then(Value::as_str) {
        Some("mlp") => ModelKind::Features,
        Some("transformer" | "urm") => ModelKind::Tokens,
        other => {
            let named = other.map_or("no model type".to_owned(), |name| quoted(name).to_string());
            return Err(
                Error::unsupported("planner-model-type", "the model is no planner")
                    .expected("mlp, transformer or urm")
                    .found(named)
                    .at("field 'model_type'"),
            );
        }
    };
    let mut faults = Vec::new();
    for (head, width) in Head::ALL.into_iter().zip(space.widths()) {
        // Document 000 writes `{"n_classes": n}`, training configurations the number alone.
        let stated = config
            .get("heads")
            .and_then(|heads| heads.get(head.onnx_name()));
        let classes = stated.and_then(|head| head.get("n_classes").unwrap_or(head).as_u64());
        if classes != Some(width as u64) {
            let found = classes.map_or("none".to_owned(), |n| n.to_string());
            faults.push(format!(
                "head {head}: expected {width} classes as in the action space, found {found}"
            ));
        }
    }
    if let Some(stated) = config.get("action_space")
        && !same_space(stated, space)?
    {
        faults.push("action_space: not that of action_space.json".to_owned());
    }
    match faults.is_empty() {
        true => Ok(kind),
        false => Err(Error::incompatible(
            "planner-config",
            "configuration and action space contradict each other",
        )
        .faults(faults)),
    }
}

/// Whether a configuration repeats the lists and the rules of the action space, as far as it has
/// them; rules may be worded in another way.
fn same_space(stated: &Value, space: &ActionSpace) -> Result<bool> {
    let whole = serde_json::to_value(space).map_err(|source| {
        Error::internal(
            "json-encoding",
            "the action space cannot be written as JSON",
        )
        .caused_by(source)
    })?;
    let lists = Head::ALL.into_iter().all(|head| {
        let list = head.list_name();
        stated
            .get(list)
            .is_none_or(|stated| Some(stated) == whole.get(list))
    });
    let rules = match stated.get("validity_rules") {
        None => true,
        Some(stated) => Vec::<ValidityRule>::deserialize(stated).is_ok_and(|validity_rules| {
            let repeated = ActionSpace {
                validity_rules,
                ..space.clone()
            };
            repeated.digest().ok() == space.digest().ok()
        }),
    };
    Ok(lists && rules)
}

/// `calibration.json`: the temperature of each head, in the order of [`Head::ALL`].
pub(super) fn temperatures(bytes: &[u8]) -> Result<[f64; 4]> {
    #[derive(Deserialize)]
    struct Calibration {
        method: String,
        #[serde(default)]
        temperature: BTreeMap<String, f64>,
    }
    let calibration: Calibration = json::parse_into(bytes)?;
    match calibration.method.as_str() {
        "none" => return Ok([1.0; 4]),
        "temperature_scaling" => {}
        other => {
            return Err(Error::unsupported(
                "calibration-method",
                format!("the calibration method {} is unknown", quoted(other)),
            )
            .expected("'none' or 'temperature_scaling'")
            .at("field 'method'"));
        }
    }
    let known = |name: &str| Head::ALL.iter().any(|head| head.onnx_name() == name);
    let unknown = calibration.temperature.keys().filter(|name| !known(name));
    let unusable = calibration
        .temperature
        .iter()
        .filter(|(_, t)| !(t.is_finite() && **t > 0.0));
    let faults: Vec<String> = unknown
        .map(|name| format!("the planner has no head {}", quoted(name)))
        .chain(
            unusable.map(|(name, _)| format!("the temperature of {} is not above 0", quoted(name))),
        )
        .collect();
    if !faults.is_empty() {
        return Err(
            Error::malformed("calibration-head", "the calibration does not fit a planner")
                .faults(faults),
        );
    }
    Ok(Head::ALL.map(|head| {
        let fitted = calibration.temperature.get(head.onnx_name());
        fitted.copied().unwrap_or(1.0)
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_head_without_a_temperature_keeps_its_logits() {
        let json = br#"{"method": "temperature_scaling", "temperature": {"minutes": 2.5}}"#;
        assert_eq!(temperatures(json).unwrap(), [1.0, 1.0, 2.5, 1.0]);
        assert_eq!(temperatures(br#"{"method": "none"}"#).unwrap(), [1.0; 4]);
    }

    #[test]
    fn unusable_calibrations_are_refused() {
        amphora_testing::each(
            &[
                (r#"{"method": "isotonic"}"#, "calibration-method"),
                (
                    r#"{"method": "temperature_scaling", "temperature": {"swarm": 0}}"#,
                    "calibration-head",
                ),
                (
                    r#"{"method": "temperature_scaling", "temperature": {"swarm": -1}}"#,
                    "calibration-head",
                ),
                (
                    r#"{"method": "temperature_scaling", "temperature": {"agents": 1}}"#,
                    "calibration-head",
                ),
                (
                    r#"{"method": "temperature_scaling", "temperature": {"swarm": "1"}}"#,
                    "json",
                ),
                (r#"{"temperature": {"swarm": 1}}"#, "json"),
            ],
            |(text, rule)| match temperatures(text.as_bytes()) {
                Err(error) if error.rule() == *rule => Ok(()),
                other => Err(format!("{other:?}")),
            },
        );
    }
}
