//! Training into a directory: resumable, and the same bytes whether or not it was interrupted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use amphora_error::{Error, Result};
use amphora_files::{Digest, Hasher, OpenedFile, durable, json, sha256};
use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::canonical_json;
use amphora_planner::encode::{Tokenizer, TokenizerConfig, Vocabulary};
use serde_json::Value as Json;

use super::config::{ModelKind, TrainConfig};
use super::examples::Examples;
use super::fit::{Hooks, steps};
use super::report::{Curve, EpochRecord, Member, TrainingReport};
use super::rows::{Encoder, Task, TrainingRow};
use super::trained::{
    TrainedModel, groups_of, member_count, new_learner, task_of, train_member, weighted,
};
use crate::checkpoint::{self, CONFIG, MODEL, STATE};
use crate::model::{Entry, Learner};

/// The report of a finished run.
pub const REPORT: &str = "training_report.json";
/// The vocabulary of a token model.
pub const VOCABULARY: &str = "vocab.json";

/// Largest configuration, vocabulary or report that is read.
const MAX_DOCUMENT: u64 = 64 << 20;

/// How far training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress<'a> {
    /// The member of the ensemble, from 1, and how many there are.
    pub member: (usize, usize),
    /// The epoch, from 1, and how many there are at most.
    pub epoch: (usize, usize),
    /// The steps done in the epoch, and how many it has.
    pub step: (usize, usize),
    /// The mean loss of the epoch so far.
    pub loss: f64,
    /// The epochs before.
    pub epochs: &'a [EpochRecord],
}

/// Trains on `rows` into the directory `out`, with the state kept after every epoch.
///
/// A value model has a directory for each member. With `resume`, a run that was killed goes on after
/// its last whole epoch, and a finished one is returned as it is; either way the files are the same
/// bytes as those of a run that nobody interrupted.
///
/// # Errors
///
/// Those of [`super::train_in_memory`]; usage (`output-exists`) when `out` exists and `resume` is
/// false; incompatible (`resume-mismatch`) when it was started with other rows or options; whatever
/// `progress` returns.
pub fn train(
    rows: &[TrainingRow],
    validation: &[TrainingRow],
    config: &TrainConfig,
    out: &Path,
    resume: bool,
    progress: &mut dyn FnMut(Progress<'_>) -> Result<()>,
) -> Result<TrainingReport> {
    train_from(None, rows, validation, config, out, resume, progress)
}

/// As [`train`], starting from the weights of `initial` instead of random ones: how stage B goes on from
/// stage A.
///
/// # Errors
///
/// Also incompatible (`initial-model`) when `initial` has other sizes, heads or actions.
pub fn fine_tune(
    initial: &TrainedModel,
    rows: &[TrainingRow],
    validation: &[TrainingRow],
    config: &TrainConfig,
    out: &Path,
    resume: bool,
    progress: &mut dyn FnMut(Progress<'_>) -> Result<()>,
) -> Result<TrainingReport> {
    train_from(
        Some(initial),
        rows,
        validation,
        config,
        out,
        resume,
        progress,
    )
}

fn train_from(
    initial: Option<&TrainedModel>,
    rows: &[TrainingRow],
    validation: &[TrainingRow],
    config: &TrainConfig,
    out: &Path,
    resume: bool,
    progress: &mut dyn FnMut(Progress<'_>) -> Result<()>,
) -> Result<TrainingReport> {
    let task = task_of(rows, config, initial)?;
    let (training, checked) = (task.examples(rows)?, task.examples(validation)?);
    let fingerprint = fingerprint(&task, initial, &training, &checked)?;
    if let Some(report) = finished(out, resume, &fingerprint)? {
        return Ok(report);
    }
    if !out.is_dir() {
        durable::create_directory(out)?;
    }
    let groups = groups_of(rows, &task);
    let count = member_count(config);
    let mut members = Vec::with_capacity(count);
    for member in 0..count {
        let directory = member_directory(out, config.model, member);
        if directory.is_dir() {
            // What a killed run was writing; nobody else writes here.
            durable::sweep_stale(&directory, Duration::ZERO)?;
        } else {
            durable::create_directory(&directory)?;
        }
        let examples = weighted(&training, &groups, config, member);
        let steps_per_epoch = steps(examples.len(), config);
        let (learner, curve) = train_member(
            &task,
            member,
            initial.map(|initial| &initial.members[member]),
            &examples,
            &checked,
            |learner| {
                checkpoint::read_state(&directory, learner, config, steps_per_epoch, &fingerprint)
            },
            &mut Hooks {
                step: &mut |step| {
                    progress(Progress {
                        member: (member + 1, count),
                        epoch: (step.epoch, config.epochs),
                        step: (step.done, step.steps),
                        loss: step.loss,
                        epochs: step.epochs,
                    })
                },
                epoch: &mut |state| checkpoint::write_state(&directory, state, &fingerprint),
            },
        )?;
        members.push(write_member(&task, &directory, &learner, curve)?);
    }
    finish(&task, out, members, [&training, &checked], fingerprint)
}

/// Replaces the weights of a finished checkpoint by those of `model`, which was made from it, and its
/// digests in the report.
pub(crate) fn replace_weights(
    out: &Path,
    model: &TrainedModel,
    mut report: TrainingReport,
) -> Result<TrainingReport> {
    for (member, learner) in model.members.iter().enumerate() {
        let bytes = checkpoint::model_bytes(&model.task.architecture, learner)?;
        let directory = member_directory(out, model.task.config.model, member);
        durable::write_file(&directory.join(MODEL), &bytes)?;
        if let Some(member) = report.members.get_mut(member) {
            member.digest = sha256(&bytes).to_string();
        }
    }
    durable::write_file(&out.join(REPORT), &json::to_pretty_bytes(&report)?)?;
    Ok(report)
}

/// Writes the documents of the whole and, last, the report, which says that the run is finished.
fn finish(
    task: &Task,
    out: &Path,
    members: Vec<Member>,
    [training, checked]: [&Examples; 2],
    fingerprint: String,
) -> Result<TrainingReport> {
    let config = &task.config;
    if config.model == ModelKind::Value {
        durable::write_file(&out.join(CONFIG), &json::to_pretty_bytes(&document(task)?)?)?;
    }
    let report = TrainingReport {
        schema_version: TrainingReport::SCHEMA_VERSION.to_owned(),
        config: config.clone(),
        examples: training.len(),
        validation_examples: checked.len(),
        uniform_loss: checked.uniform_loss(config.head_weights),
        members,
        fingerprint,
    };
    durable::write_file(&out.join(REPORT), &json::to_pretty_bytes(&report)?)?;
    remove_leftovers(out, config)?;
    Ok(report)
}

/// Removes what a finished run needs no more: the states of its members, and what was being written when
/// it was killed.
fn remove_leftovers(out: &Path, config: &TrainConfig) -> Result<()> {
    durable::sweep_stale(out, Duration::ZERO)?;
    for member in 0..member_count(config) {
        let directory = member_directory(out, config.model, member);
        durable::sweep_stale(&directory, Duration::ZERO)?;
        let state = directory.join(STATE);
        if state.is_file() {
            fs_err::remove_file(&state)
                .map_err(|source| Error::from_io("removing", &state, source))?;
        }
    }
    Ok(())
}

fn write_member(task: &Task, directory: &Path, learner: &Learner, curve: Curve) -> Result<Member> {
    let bytes = checkpoint::model_bytes(&task.architecture, learner)?;
    durable::write_file(&directory.join(MODEL), &bytes)?;
    if let Encoder::Tokens(tokenizer) = &task.encoder {
        let vocabulary = tokenizer.vocabulary().to_json()?;
        durable::write_file(&directory.join(VOCABULARY), &vocabulary)?;
    }
    let document = match task.config.model {
        // A member is a plain perceptron, which can be exported by itself.
        ModelKind::Value => task
            .architecture
            .to_config_json(task.architecture.default_opset()),
        _ => document(task)?,
    };
    durable::write_file(&directory.join(CONFIG), &json::to_pretty_bytes(&document)?)?;
    Ok(Member {
        digest: sha256(&bytes).to_string(),
        parameters: learner.parameters.iter().map(|p| p.values.len()).sum(),
        curve,
    })
}

/// The configuration of a checkpoint: the architecture as export reads it, and beside it what training
/// and encoding need.
fn document(task: &Task) -> Result<Json> {
    let written = |source| {
        Error::internal("json-encoding", "a configuration cannot be written").caused_by(source)
    };
    let mut document = match task.config.model {
        ModelKind::Value => serde_json::json!({"model_type": "value"}),
        _ => task
            .architecture
            .to_config_json(task.architecture.default_opset()),
    };
    document["action_space"] = serde_json::to_value(&task.action_space).map_err(written)?;
    document["training"] = serde_json::to_value(&task.config).map_err(written)?;
    if let Encoder::Tokens(tokenizer) = &task.encoder {
        document["tokenizer"] = serde_json::to_value(tokenizer.config()).map_err(written)?;
    }
    Ok(document)
}

/// The report in `out` if its run is finished.
fn finished(out: &Path, resume: bool, fingerprint: &str) -> Result<Option<TrainingReport>> {
    if !out.try_exists().unwrap_or(true) {
        return Ok(None);
    }
    if !resume {
        return Err(
            Error::usage("output-exists", "the output directory exists already")
                .in_file(out)
                .hint("choose another, or resume the run in it"),
        );
    }
    let path = out.join(REPORT);
    if !path.is_file() {
        return Ok(None);
    }
    let report: TrainingReport =
        json::parse_into(&document_bytes(&path)?).map_err(|error| error.in_file(&path))?;
    if report.fingerprint != fingerprint {
        return Err(Error::incompatible(
            "resume-mismatch",
            "the finished run was started with another configuration or other rows",
        )
        .in_file(&path)
        .hint("train into a new directory"));
    }
    // A run that was killed right after its report had no time to.
    remove_leftovers(out, &report.config)?;
    Ok(Some(report))
}

/// Where a member's files are.
fn member_directory(out: &Path, model: ModelKind, member: usize) -> PathBuf {
    match model {
        ModelKind::Value => out.join(format!("member_{member}")),
        _ => out.to_owned(),
    }
}

/// A digest of everything that the weights depend on.
fn fingerprint(
    task: &Task,
    initial: Option<&TrainedModel>,
    training: &Examples,
    validation: &Examples,
) -> Result<String> {
    let mut hasher = Hasher::default();
    hasher.update(canonical_json(&document(task)?).as_bytes());
    for member in initial.into_iter().flat_map(|initial| &initial.members) {
        let bytes = checkpoint::model_bytes(&task.architecture, member)?;
        hasher.update(sha256(&bytes).to_string().as_bytes());
    }
    for examples in [training, validation] {
        hasher.update(&(examples.len() as u64).to_le_bytes());
        for entry in &examples.entries {
            match entry {
                Entry::Features { indices, values } => {
                    hasher.update(&(indices.len() as u64).to_le_bytes());
                    indices.iter().for_each(|x| hasher.update(&x.to_le_bytes()));
                    values.iter().for_each(|x| hasher.update(&x.to_le_bytes()));
                }
                Entry::Tokens(ids) => {
                    hasher.update(&(ids.len() as u64).to_le_bytes());
                    ids.iter().for_each(|x| hasher.update(&x.to_le_bytes()));
                }
            }
        }
        examples
            .weights
            .iter()
            .for_each(|x| hasher.update(&x.to_le_bytes()));
        // The derived form of the targets is the same text for the same values.
        hasher.update(format!("{:?}", examples.targets).as_bytes());
    }
    let digest: Digest = hasher.finish();
    Ok(digest.to_string())
}

/// Opens a finished checkpoint.
pub(super) fn open(directory: &Path) -> Result<TrainedModel> {
    let path = directory.join(CONFIG);
    let read = || -> Result<(Json, TrainConfig, ActionSpace)> {
        let document = json::parse(&document_bytes(&path)?)?;
        let part = |key: &str| match document.get(key) {
            Some(part) => Ok(part.to_string().into_bytes()),
            None => Err(Error::malformed(
                "checkpoint-config",
                "this checkpoint is of no planner that was trained here",
            )
            .expected(format!("the key `{key}`"))),
        };
        let config: TrainConfig = json::parse_into(&part("training")?)?;
        let action_space = ActionSpace::from_json(&part("action_space")?)?;
        Ok((document, config, action_space))
    };
    let (document, config, action_space) = read().map_err(|error| error.in_file(&path))?;
    let encoder = match config.model.reads_tokens() {
        false => Encoder::new(&config, &action_space, [])?,
        true => {
            let tokenizer = document.get("tokenizer").map(Json::to_string);
            let tokenizer = TokenizerConfig::from_json(tokenizer.unwrap_or_default().as_bytes())
                .map_err(|error| error.in_file(&path))?;
            let vocabulary = directory.join(VOCABULARY);
            let vocabulary = Vocabulary::from_json(&document_bytes(&vocabulary)?)
                .map_err(|error| error.in_file(&vocabulary))?;
            Encoder::Tokens(Box::new(Tokenizer::new(tokenizer, vocabulary)?))
        }
    };
    let task = Task::new(&config, &action_space, encoder)?;
    let members = (0..member_count(&config)).map(|member| {
        let mut learner = new_learner(&task, 0)?;
        let model = member_directory(directory, config.model, member).join(MODEL);
        checkpoint::read_model(&model, &task.architecture, &mut learner)?;
        Ok(learner)
    });
    Ok(TrainedModel {
        members: members.collect::<Result<_>>()?,
        task,
    })
}

fn document_bytes(path: &Path) -> Result<bytes::Bytes> {
    OpenedFile::open(path)?.contents(MAX_DOCUMENT)
}
