//! What training left: the configuration, the weights, and how inputs are encoded.

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Checkpoint, Limits};
use amphora_error::{Error, Result};
use amphora_files::{OpenedFile, json};
use amphora_planner::action_space::{ActionSpace, Head};
use amphora_planner::encode::{FeatureSchema, TokenizerConfig, Vocabulary};
use bytes::Bytes;
use serde_json::Value;

use super::ExportRequest;
use crate::checkpoint::{CONFIG, MODEL};

/// The report of the training run.
const REPORT: &str = "training_report.json";
/// The vocabulary of a token model.
const VOCABULARY: &str = "vocab.json";
/// Largest file of weights that is read, in bytes.
const MAX_WEIGHTS: u64 = 4 << 30;

/// A checkpoint with everything that belongs to it.
pub(super) struct Source {
    pub(super) architecture: Architecture,
    pub(super) checkpoint: Checkpoint,
    /// The bytes of the file of weights.
    pub(super) weights: Bytes,
    pub(super) action_space: ActionSpace,
    pub(super) schema: FeatureSchema,
    pub(super) tokenizer: TokenizerConfig,
    /// The vocabulary of a token model.
    pub(super) vocabulary: Option<Vocabulary>,
    /// Whether it learned from what actions came to, and not from what was executed.
    pub(super) learned_outcomes: bool,
    /// The report of the training run, if it is there.
    pub(super) report: Option<Value>,
    pub(super) warnings: Vec<String>,
}

impl Source {
    pub(super) fn read(request: &ExportRequest<'_>) -> Result<Self> {
        let directory = request.checkpoint;
        let path = match request.config {
            Some(path) => path.to_owned(),
            None => directory.join(CONFIG),
        };
        let config = json::read(&path)?;
        let exportable = ["mlp", "transformer", "urm"];
        let model_type = config.get("model_type").and_then(Value::as_str);
        let decoding = config.pointer("/training/decoding").and_then(Value::as_str);
        let kind = config.pointer("/training/model").and_then(Value::as_str);
        let independent = decoding.is_none_or(|decoding| decoding == "multi-head");
        let heads = kind.is_none_or(|kind| exportable.contains(&kind));
        if !(independent && heads && model_type.is_some_and(|kind| exportable.contains(&kind))) {
            return Err(Error::unsupported(
                "export-model",
                "only models that decide by four independent heads can be exported",
            )
            .expected(exportable.join(", "))
            .in_file(path)
            .hint(
                "joint, autoregressive and value models are for comparison: see planner evaluate",
            ));
        }
        let stage = config.pointer("/training/stage").and_then(Value::as_str);
        if stage == Some("b") && request.calibration.is_none() {
            return Err(Error::usage(
                "export-calibration",
                "the model learned from outcomes, and the dataset's labels are what was executed: \
                 temperatures fitted on those would be of another event",
            )
            .in_file(path)
            .hint(
                "fit them with `amphora planner evaluate --trials TRIALS --calibration FILE`, and \
                 give `--calibration FILE`",
            ));
        }
        let architecture = Architecture::from_config(&config).map_err(|e| e.in_file(&path))?;
        let action_space = action_space(&config, request).map_err(|e| e.in_file(&path))?;
        check_heads(&architecture, &action_space).map_err(|e| e.in_file(&path))?;
        let (schema, tokenizer, vocabulary) =
            encoder(request, &config, &architecture, &action_space)?;
        let model = directory.join(MODEL);
        let weights = OpenedFile::open(&model)?.contents(MAX_WEIGHTS)?;
        let checkpoint = Checkpoint::from_bytes(weights.clone(), &Limits::default())
            .map_err(|error| error.in_file(&model))?;
        let report = directory.join(REPORT);
        let mut warnings = Vec::new();
        let report = match report.is_file() {
            true => Some(json::read(&report)?),
            false => {
                warnings
                    .push("the checkpoint has no training report: epochs are unknown".to_owned());
                None
            }
        };
        Ok(Self {
            architecture,
            checkpoint,
            weights,
            action_space,
            schema,
            tokenizer,
            vocabulary,
            learned_outcomes: stage == Some("b"),
            report,
            warnings,
        })
    }
}

/// The action space of the configuration, else that of the dataset; both must be the same.
fn action_space(config: &Value, request: &ExportRequest<'_>) -> Result<ActionSpace> {
    let rows = &request.dataset.rows;
    let of_data = rows.first().map(|row| &row.planner_input.action_space);
    let space = match (config.get("action_space"), of_data) {
        (Some(stated), _) => ActionSpace::from_json(stated.to_string().as_bytes())?,
        (None, Some(space)) => space.clone(),
        (None, None) => {
            return Err(Error::incompatible(
                "export-action-space",
                "neither the configuration nor the dataset has an action space",
            ));
        }
    };
    let digest = space.digest()?;
    for row in rows {
        let found = row.planner_input.action_space.digest()?;
        if found != digest {
            return Err(Error::incompatible(
                "export-action-space",
                "the dataset has another action space than the model",
            )
            .expected(digest)
            .found(found)
            .at(format!("run {}", amphora_error::quoted(&row.run_id))));
        }
    }
    Ok(space)
}

fn check_heads(architecture: &Architecture, space: &ActionSpace) -> Result<()> {
    let heads = architecture.heads();
    let expected = Head::ALL.map(|head| (head.onnx_name(), space.width(head) as u64));
    let found: Vec<(&str, u64)> = heads
        .iter()
        .map(|h| (h.name.as_str(), h.n_classes))
        .collect();
    if found == expected {
        return Ok(());
    }
    Err(Error::incompatible(
        "export-heads",
        "the heads of the model are not those of the action space",
    )
    .expected(format!("{expected:?}"))
    .found(format!("{found:?}")))
}

/// How inputs become what the model reads: the layout of features, and for token models the
/// vocabulary.
fn encoder(
    request: &ExportRequest<'_>,
    config: &Value,
    architecture: &Architecture,
    space: &ActionSpace,
) -> Result<(FeatureSchema, TokenizerConfig, Option<Vocabulary>)> {
    if let Architecture::Mlp(mlp) = architecture {
        let schema = slots(space, mlp.d_in)?;
        return Ok((schema.clone(), TokenizerConfig::new(&schema), None));
    }
    let tokenizer = config.get("tokenizer").ok_or_else(|| {
        Error::malformed("checkpoint-config", "a token model needs its tokenizer")
            .expected("the key `tokenizer`")
    })?;
    let tokenizer = TokenizerConfig::from_json(tokenizer.to_string().as_bytes())?;
    let path = request.checkpoint.join(VOCABULARY);
    let bytes = OpenedFile::open(&path)?.contents(json::MAX_BYTES)?;
    let vocabulary = Vocabulary::from_json(&bytes).map_err(|error| error.in_file(&path))?;
    let (size, longest) = match architecture {
        Architecture::Transformer(config) => (config.vocab_size, config.max_len),
        Architecture::Urm(config) => (config.vocab_size, config.max_len),
        _ => (0, 0),
    };
    let fits = vocabulary.len() as u64 == size && tokenizer.max_len as u64 <= longest;
    if !fits {
        return Err(Error::incompatible(
            "export-vocabulary",
            "the vocabulary is not that of the model",
        )
        .expected(format!("{size} tokens, sequences of at most {longest}"))
        .found(format!(
            "{} tokens, sequences of {}",
            vocabulary.len(),
            tokenizer.max_len
        ))
        .in_file(path));
    }
    let schema = slots(space, tokenizer.d_in as u64)?;
    Ok((schema, tokenizer, Some(vocabulary)))
}

/// The layout that is `width` wide: every earlier run in it takes the same number of places.
fn slots(space: &ActionSpace, width: u64) -> Result<FeatureSchema> {
    let bare = FeatureSchema::new(space, 0).width() as u64;
    let each = FeatureSchema::new(space, 1).width() as u64 - bare;
    let rest = width.checked_sub(bare).filter(|rest| rest % each == 0);
    let slots = rest.map(|rest| rest / each).filter(|slots| *slots <= 1024);
    match slots {
        Some(slots) => Ok(FeatureSchema::new(space, slots as usize)),
        None => Err(Error::incompatible(
            "export-width",
            "no layout of features is as wide as the model's input",
        )
        .expected(format!("{bare} and {each} more for each earlier run"))
        .found(width.to_string())),
    }
}
