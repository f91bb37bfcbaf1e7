//! The steps of a model that `sentence-transformers` saved: `modules.json` lists its modules.

use amphora_bundle::manifest::{Pooling, Postprocessing};
use amphora_error::{Error, Result, quoted};
use amphora_files::json;
use bytes::Bytes;
use serde_json::Value;

const LIST: &str = "modules.json";

/// The steps after the transformer, in order; none where there is no `modules.json`. `file` gives the
/// content of a file of the directory.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Unsupported`] for a module or a way of pooling that is not known, by name;
/// [`amphora_error::ErrorKind::Malformed`] for files of another form.
pub fn sentence_transformers(
    file: &dyn Fn(&str) -> Result<Option<Bytes>>,
) -> Result<Vec<Postprocessing>> {
    let Some(bytes) = file(LIST)? else {
        return Ok(Vec::new());
    };
    let list = json::parse(&bytes).map_err(|error| error.in_file(LIST))?;
    let modules = list.as_array().ok_or_else(|| {
        Error::malformed("sentence-modules", "this is no list of modules").in_file(LIST)
    })?;
    let mut steps = Vec::new();
    for module in modules {
        let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("type").rsplit('.').next().unwrap_or_default() {
            "Transformer" => {}
            "Pooling" => steps.push(Postprocessing::Pooling {
                mode: mode(text("path"), file)?,
            }),
            "Normalize" => steps.push(Postprocessing::Normalize),
            _ => {
                return Err(Error::unsupported(
                    "sentence-module",
                    format!("the module {} is not implemented", quoted(text("type"))),
                )
                .expected("Transformer, Pooling or Normalize")
                .in_file(LIST));
            }
        }
    }
    Ok(steps)
}

/// How the module in the folder `path` pools: exactly one way must be switched on.
fn mode(path: &str, file: &dyn Fn(&str) -> Result<Option<Bytes>>) -> Result<Pooling> {
    let name = format!("{path}/config.json");
    let bytes = file(&name)?.ok_or_else(|| {
        Error::not_found(
            "sentence-pooling",
            "the configuration of the pooling is not there",
        )
        .in_file(&name)
    })?;
    let config = json::parse(&bytes).map_err(|error| error.in_file(&name))?;
    let config = config.as_object();
    let mut modes: Vec<&str> = config
        .into_iter()
        .flatten()
        .filter(|(key, value)| key.starts_with("pooling_mode_") && **value == Value::Bool(true))
        .map(|(key, _)| key.trim_start_matches("pooling_mode_"))
        .collect();
    if let Some(mode) = config.and_then(|config| config.get("pooling_mode")) {
        modes.extend(mode.as_str());
    }
    match modes.as_slice() {
        ["mean_tokens" | "mean"] => Ok(Pooling::Mean),
        ["cls_token" | "cls"] => Ok(Pooling::Cls),
        ["lasttoken"] => Ok(Pooling::Last),
        other => Err(Error::unsupported(
            "sentence-pooling",
            "this way of pooling is not implemented",
        )
        .expected("one of mean_tokens, cls_token and lasttoken")
        .found(match other {
            [] => "none".to_owned(),
            several => several.join(" and "),
        })
        .in_file(&name)),
    }
}
