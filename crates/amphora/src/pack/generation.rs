//! How a language model writes, from the configurations of its directory.

use std::num::NonZeroU32;

use amphora_bundle::manifest::{Generation, Sampling};
use amphora_error::{Error, Result};
use amphora_files::{RelativePath, json};
use amphora_onnx::{Contract, Dim};
use serde_json::Value;

use super::assets::AssetFiles;
use super::subject::Subject;

const CONFIG: &str = "generation_config.json";
const TEMPLATE: &str = "chat_template.jinja";
/// Most logits that one call computes: 256 MB.
const MOST_LOGITS: u64 = 1 << 26;
/// What families call the longest sequence.
const CONTEXT: [&str; 3] = ["max_position_embeddings", "n_positions", "n_ctx"];

/// The manifest's `spec.generation` for a model that is packed as the graphs `prefill` and `decode`;
/// `generation_config.json` goes before `config.json`.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Malformed`] for token ids that are none, and for a file that is no JSON.
pub(super) fn generation(subject: &Subject, files: &AssetFiles) -> Result<Option<Generation>> {
    let graph = |role: &str| subject.parts.iter().find(|part| part.role == role);
    let (Some(prefill), Some(decode)) = (graph("prefill"), graph("decode")) else {
        return Ok(None);
    };
    let model = subject.config_value();
    let own = match files.content(CONFIG) {
        Some(bytes) => json::parse(&bytes).map_err(|error| error.in_file(CONFIG))?,
        None => Value::Null,
    };
    let stated = |key: &str| -> Option<&Value> {
        [&own, model]
            .into_iter()
            .filter_map(|config| config.get(key))
            .find(|value| !value.is_null())
    };
    let stop_token_ids = match stated("eos_token_id") {
        None => Vec::new(),
        Some(Value::Array(ids)) => ids.iter().map(token_id).collect::<Result<_>>()?,
        Some(id) => vec![token_id(id)?],
    };
    // Early configurations write -1 for a model that has none.
    let pad_token_id = stated("pad_token_id").filter(|id| id.as_i64() != Some(-1));
    let pad_token_id = pad_token_id.map(token_id).transpose()?;
    let template = files
        .content(TEMPLATE)
        .map(|_| RelativePath::parse(TEMPLATE));
    let context_length = CONTEXT.iter().find_map(|key| model.get(*key)?.as_u64());
    Ok(Some(Generation {
        prefill: prefill.name.to_owned(),
        decode: decode.name.to_owned(),
        context_length,
        positions_per_call: positions_per_call(&prefill.contract, context_length),
        pad_token_id: pad_token_id.or(stop_token_ids.first().copied()),
        stop_token_ids,
        chat_template: template.transpose()?,
        sampling: sampling(&own),
    }))
}

/// As many positions as have logits in [`MOST_LOGITS`], where a prompt can be longer. The graphs are
/// Amphora's own, and the one that continues takes any number of positions.
fn positions_per_call(contract: &Contract, context: Option<u64>) -> Option<NonZeroU32> {
    let logits = contract.outputs.iter().find(|spec| spec.name == "logits")?;
    let Some(Dim::Fixed(vocabulary)) = logits.shape.as_ref()?.last() else {
        return None;
    };
    let most = (MOST_LOGITS / (*vocabulary).max(1)).max(1);
    let positions = u32::try_from(most).ok().and_then(NonZeroU32::new);
    positions.filter(|_| context.is_none_or(|context| context > most))
}

/// What `generation_config.json` says of choosing tokens. The numbers for drawing count only where
/// tokens are drawn (`do_sample`), then at temperature 1 unless another is stated; the repetition
/// penalty counts for the best token too.
fn sampling(config: &Value) -> Option<Sampling> {
    let number = |key: &str| config.get(key).and_then(Value::as_f64);
    let repetition_penalty = number("repetition_penalty").filter(|penalty| *penalty != 1.0);
    if config.get("do_sample") != Some(&Value::Bool(true)) {
        return repetition_penalty.map(|penalty| Sampling {
            repetition_penalty: Some(penalty),
            ..Sampling::default()
        });
    }
    let top_k = config.get("top_k").and_then(Value::as_u64);
    Some(Sampling {
        temperature: number("temperature").or(Some(1.0)),
        top_k: top_k.filter(|k| *k > 0).and_then(|k| u32::try_from(k).ok()),
        top_p: number("top_p"),
        min_p: number("min_p"),
        repetition_penalty,
    })
}

fn token_id(value: &Value) -> Result<u32> {
    value
        .as_u64()
        .and_then(|id| u32::try_from(id).ok())
        .ok_or_else(|| {
            Error::malformed("generation-token", "this is no token id")
                .found(value.to_string())
                .at("eos_token_id or pad_token_id")
        })
}
