//! Checkpoints on disk: the model that export reads, and the state that a killed run goes on from.
//!
//! A checkpoint is a directory with `config.json` and `model.safetensors`, named and shaped as
//! [`Architecture::parameters`] says; `training_state.safetensors` holds the unfinished run. Each file
//! is written whole or not at all.

use std::path::Path;

use amphora_checkpoint::architecture::Architecture;
use amphora_checkpoint::{Dtype, Limits, Safetensors, Tensor};
use amphora_error::{Error, Result, quoted};
use amphora_files::{OpenedFile, durable, json};
use serde::{Deserialize, Serialize};

use crate::model::{Learner, Parameter, first_layer, transpose};
use crate::optimizer::AdamW;
use crate::train::{Best, EpochRecord, State, TrainConfig};

/// The weights of a finished model.
pub const MODEL: &str = "model.safetensors";
/// Its configuration.
pub const CONFIG: &str = "config.json";
/// The state of an unfinished run.
pub const STATE: &str = "training_state.safetensors";

/// The key of the state's metadata.
const PROGRESS: &str = "progress";

/// What the state knows beside its tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    /// Digest of the configuration and the rows that the run was started with.
    fingerprint: String,
    epochs: Vec<EpochRecord>,
    best_epoch: usize,
    /// Absent without validation rows.
    best_loss: Option<f64>,
}

/// The model's file.
pub(crate) fn model_bytes(architecture: &Architecture, learner: &Learner) -> Result<Vec<u8>> {
    let first = first_layer(architecture);
    let mut file = Safetensors::default();
    for parameter in &learner.parameters {
        let stored = match Some(&parameter.name) == first.as_ref() {
            true => {
                // In memory by input, in the file by output, as `nn.Linear` stores its weight.
                let (inputs, outputs) = (parameter.shape[0], parameter.shape[1]);
                let values = transpose(&parameter.values, inputs, outputs);
                tensor(&values, &[outputs, inputs])?
            }
            false => tensor(&parameter.values, &parameter.shape)?,
        };
        file.tensors.insert(parameter.name.clone(), stored);
    }
    file.metadata.insert("format".to_owned(), "pt".to_owned());
    file.to_bytes()
}

/// Puts the weights of a model's file into `learner`.
///
/// # Errors
///
/// Those of reading safetensors; incompatible (`checkpoint-parameters`) when a tensor is missing, extra
/// or of another shape.
pub(crate) fn read_model(
    path: &Path,
    architecture: &Architecture,
    learner: &mut Learner,
) -> Result<()> {
    let file = read(path)?;
    let first = first_layer(architecture);
    let extra = file
        .tensors
        .keys()
        .find(|name| learner.parameters.iter().all(|p| p.name != **name));
    if let Some(name) = extra {
        return Err(Error::incompatible(
            "checkpoint-parameters",
            format!("the model has no parameter {}", quoted(name)),
        )
        .in_file(path));
    }
    for parameter in &mut learner.parameters {
        let transposed = Some(&parameter.name) == first.as_ref();
        let mut shape = parameter.shape.clone();
        if transposed {
            shape.reverse();
        }
        let values = values(&file, &parameter.name, &shape).map_err(|e| e.in_file(path))?;
        parameter.values = match transposed {
            true => transpose(&values, shape[0], shape[1]),
            false => values,
        };
    }
    Ok(())
}

/// Keeps `state` in `directory`, replacing what was kept before.
pub(crate) fn write_state(directory: &Path, state: &State, fingerprint: &str) -> Result<()> {
    let progress = Progress {
        fingerprint: fingerprint.to_owned(),
        epochs: state.epochs.clone(),
        best_epoch: state.best.epoch,
        best_loss: Some(state.best.loss).filter(|loss| loss.is_finite()),
    };
    let progress = serde_json::to_string(&progress).map_err(|source| {
        Error::internal("training-state", "the progress cannot be written").caused_by(source)
    })?;
    let mut file = Safetensors::default();
    file.metadata.insert(PROGRESS.to_owned(), progress);
    let all = state.parameters.iter().zip(&state.best.parameters);
    for ((now, best), (first, second)) in all.zip(state.optimizer.moments()) {
        for (kind, values) in [
            ("now", now.values.as_slice()),
            ("best", best.values.as_slice()),
            ("first", first),
            ("second", second),
        ] {
            let name = format!("{kind}/{}", now.name);
            file.tensors.insert(name, tensor(values, &now.shape)?);
        }
    }
    durable::write_file(&directory.join(STATE), &file.to_bytes()?)
}

/// The state kept in `directory`, for a learner and a configuration like those it was kept from;
/// `None` when nothing was kept.
///
/// # Errors
///
/// Incompatible (`resume-mismatch`) when the configuration or the rows have changed since; malformed
/// (`training-state`) for a file that no run wrote.
pub(crate) fn read_state(
    directory: &Path,
    learner: &Learner,
    config: &TrainConfig,
    steps_per_epoch: usize,
    fingerprint: &str,
) -> Result<Option<State>> {
    let path = directory.join(STATE);
    if !path.try_exists().unwrap_or(true) {
        return Ok(None);
    }
    let state = restore(&read(&path)?, learner, config, steps_per_epoch, fingerprint);
    state.map(Some).map_err(|error| error.in_file(&path))
}

fn restore(
    file: &Safetensors,
    learner: &Learner,
    config: &TrainConfig,
    steps_per_epoch: usize,
    fingerprint: &str,
) -> Result<State> {
    let malformed = || Error::malformed("training-state", "the file keeps no training state");
    let progress = file.metadata.get(PROGRESS).ok_or_else(malformed)?;
    let progress: Progress = json::parse_into(progress.as_bytes())?;
    if progress.fingerprint != fingerprint {
        return Err(Error::incompatible(
            "resume-mismatch",
            "the run to resume was started with another configuration or other rows",
        )
        .hint("resume with the same dataset and options, or train into a new directory"));
    }
    let (done, best_epoch) = (progress.epochs.len(), progress.best_epoch);
    if done > config.epochs || best_epoch > done {
        return Err(malformed());
    }
    let parameters = |kind: &str| -> Result<Vec<Parameter>> {
        let load = |parameter: &Parameter| {
            let name = format!("{kind}/{}", parameter.name);
            Ok(Parameter {
                values: values(file, &name, &parameter.shape)?,
                ..parameter.clone()
            })
        };
        learner.parameters.iter().map(load).collect()
    };
    let (now, best) = (parameters("now")?, parameters("best")?);
    let (first, second) = (parameters("first")?, parameters("second")?);
    let moments = first.into_iter().zip(second);
    let rates = (0..done)
        .flat_map(|epoch| std::iter::repeat_n(config.learning_rate_of(epoch), steps_per_epoch));
    Ok(State {
        optimizer: AdamW::restore(
            config.optimizer,
            &now,
            moments
                .map(|(first, second)| (first.values, second.values))
                .collect(),
            rates,
        )?,
        parameters: now,
        best: Best {
            epoch: best_epoch,
            loss: progress.best_loss.unwrap_or(f64::NEG_INFINITY),
            parameters: best,
        },
        epochs: progress.epochs,
    })
}

fn read(path: &Path) -> Result<Safetensors> {
    let limits = Limits::default();
    let bytes = OpenedFile::open(path)?.contents(limits.file_bytes)?;
    Safetensors::from_bytes(&bytes, &limits).map_err(|error| error.in_file(path))
}

fn tensor(values: &[f32], shape: &[usize]) -> Result<Tensor> {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let shape = shape.iter().map(|extent| *extent as u64).collect();
    Tensor::new(Dtype::F32, shape, bytes.into())
}

fn values(file: &Safetensors, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let mismatch = |message: &str| {
        Error::incompatible("checkpoint-parameters", message).at(format!("tensor {}", quoted(name)))
    };
    let stored = file
        .tensors
        .get(name)
        .ok_or_else(|| mismatch("the file does not hold a parameter of the model"))?;
    let expected: Vec<u64> = shape.iter().map(|extent| *extent as u64).collect();
    if stored.shape() != expected || stored.dtype() != Dtype::F32 {
        return Err(mismatch("a parameter has another shape or element type")
            .expected(format!("F32 {expected:?}"))
            .found(format!("{} {:?}", stored.dtype(), stored.shape())));
    }
    let values = stored.to_f32()?;
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(mismatch("a parameter is no finite number")),
    }
}
