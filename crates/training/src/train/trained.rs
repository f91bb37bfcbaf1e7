//! A trained model, in memory or opened from its checkpoint.

use std::path::Path;

use amphora_error::{Error, Result};
use amphora_planner::action_space::{Action, ActionSpace, HeadLogits};
use amphora_planner::contracts::PlannerInput;

use super::config::{Decoding, ModelKind, TrainConfig};
use super::fit::{Hooks, State, Step, fit};
use super::prior::start_at_frequencies;
use super::report::Curve;
use super::rows::{Encoder, Task, TrainingRow};
use crate::loss::{expected_duration, log_deviation, sigmoid};
use crate::model::{Entry, Gather, Learner, Logits, Purpose, Random};
use crate::train::examples::Examples;

/// Examples of one forward pass.
const BATCH: usize = 64;

/// A model that has been trained.
#[derive(Clone)]
pub struct TrainedModel {
    pub(crate) task: Task,
    /// One, or the members of an ensemble.
    pub(crate) members: Vec<Learner>,
}

/// What a value model expects of an action.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// The probability that every gate passes.
    pub p_pass: f64,
    /// The probability that nothing passes and the longest run is cut at its minutes.
    pub p_timeout: f64,
    /// The mean of the natural logarithm of the seconds of work, were nothing cut.
    pub log_seconds: f64,
    /// The standard deviation of that logarithm: of the duration itself and of the ensemble together.
    pub log_deviation: f64,
    /// The standard deviation of [`Self::p_pass`] over the ensemble: what more data could teach.
    pub std: f64,
}

impl Value {
    /// The mean of the minutes of work; with `limit`, of work that is cut after so many minutes.
    pub fn expected_minutes(&self, limit: Option<f64>) -> f64 {
        let seconds = limit.map(|minutes| minutes * 60.0);
        expected_duration(self.log_seconds, self.log_deviation, seconds) / 60.0
    }
}

/// Trains on `rows`, choosing the epoch by the loss on `validation`, without touching a disk. The
/// action space is that of the rows.
///
/// Without validation rows every epoch is run, and the last weights are kept.
///
/// # Errors
///
/// Usage (`training-config`) for a configuration that makes no sense; incompatible: `training-empty`,
/// `training-action-space`, `training-label` for rows that cannot be learned from, `training-loss` and
/// `training-gradient` when the numbers stop being finite.
pub fn train_in_memory(
    rows: &[TrainingRow],
    validation: &[TrainingRow],
    config: &TrainConfig,
) -> Result<TrainedModel> {
    let task = task_of(rows, config, None)?;
    let (training, validation) = (task.examples(rows)?, task.examples(validation)?);
    let groups = groups_of(rows, &task);
    let members = (0..member_count(config)).map(|member| {
        let (learner, _) = train_member(
            &task,
            member,
            None,
            &weighted(&training, &groups, config, member),
            &validation,
            |_| Ok(None),
            &mut Hooks {
                step: &mut |_: Step<'_>| Ok(()),
                epoch: &mut |_: &State| Ok(()),
            },
        )?;
        Ok(learner)
    });
    Ok(TrainedModel {
        members: members.collect::<Result<_>>()?,
        task,
    })
}

/// The task that rows and configuration define; with `initial`, that of another model, which they must
/// agree with.
pub(crate) fn task_of(
    rows: &[TrainingRow],
    config: &TrainConfig,
    initial: Option<&TrainedModel>,
) -> Result<Task> {
    let first = rows
        .first()
        .ok_or_else(|| Error::incompatible("training-empty", "there are no rows to train on"))?;
    if let Some(initial) = initial {
        let task = Task::new(
            config,
            &first.input.action_space,
            initial.task.encoder.clone(),
        )?;
        let same = config.model == initial.task.config.model
            && task.architecture == initial.task.architecture
            && config.decoding == initial.task.config.decoding
            && member_count(config) == initial.members.len()
            && task.action_space == initial.task.action_space;
        return match same {
            true => Ok(task),
            false => Err(Error::incompatible(
                "initial-model",
                "the model to start from has another architecture or action space",
            )
            .hint("train with the sizes of its training report")),
        };
    }
    let universes = rows.iter().map(|row| row.input.universe_id.as_str());
    let encoder = Encoder::new(config, &first.input.action_space, universes)?;
    Task::new(config, &first.input.action_space, encoder)
}

pub(crate) fn member_count(config: &TrainConfig) -> usize {
    match config.model {
        ModelKind::Value => config.members,
        _ => 1,
    }
}

/// The issue of every example, in the order of [`Task::examples`].
pub(crate) fn groups_of<'a>(rows: &'a [TrainingRow], task: &Task) -> Vec<&'a str> {
    let copies = |row: &TrainingRow| match task.config.model {
        ModelKind::Value => row.outcomes.len(),
        _ => 1,
    };
    rows.iter()
        .flat_map(|row| std::iter::repeat_n(row.input.issue.issue_id.as_str(), copies(row)))
        .collect()
}

/// The examples as one member of an ensemble weighs them: the Bayesian bootstrap (Rubin 1981) over
/// issues, so that what one issue taught counts differently for every member.
pub(crate) fn weighted(
    examples: &Examples,
    groups: &[&str],
    config: &TrainConfig,
    member: usize,
) -> Examples {
    let mut weighted = examples.clone();
    if config.model != ModelKind::Value {
        return weighted;
    }
    let mut names = groups.to_vec();
    names.sort_unstable();
    names.dedup();
    let mut random = Random::stream(config.seed, Purpose::Ensemble, member as u64);
    // Never zero: a weight is positive.
    let shares: Vec<f64> = names.iter().map(|_| random.exponential() + 1e-3).collect();
    for (weight, group) in weighted.weights.iter_mut().zip(groups) {
        if let Ok(at) = names.binary_search(group) {
            *weight *= shares[at];
        }
    }
    weighted
}

/// Trains one member, from the weights of `initial` or fresh ones, or from the state that `resume` finds
/// for them.
pub(crate) fn train_member(
    task: &Task,
    member: usize,
    initial: Option<&Learner>,
    training: &Examples,
    validation: &Examples,
    resume: impl FnOnce(&Learner) -> Result<Option<State>>,
    hooks: &mut Hooks<'_>,
) -> Result<(Learner, Curve)> {
    let config = TrainConfig {
        seed: member_seed(task.config.seed, member),
        ..task.config.clone()
    };
    let mut learner = match initial {
        Some(initial) => initial.clone(),
        None => {
            let mut fresh = new_learner(task, config.seed)?;
            start_at_frequencies(&mut fresh, training);
            fresh
        }
    };
    let state = resume(&learner)?;
    let curve = fit(&mut learner, training, validation, &config, state, hooks)?;
    Ok((learner, curve))
}

/// The seed of a member: that of the configuration for the first.
fn member_seed(seed: u64, member: usize) -> u64 {
    seed.wrapping_add((member as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

pub(crate) fn new_learner(task: &Task, seed: u64) -> Result<Learner> {
    Learner::new(
        &task.architecture,
        task.config.sizes.gradient_loops as usize,
        task.config.decoding == Decoding::Autoregressive,
        seed,
    )
}

impl TrainedModel {
    /// Opens the checkpoint that [`super::train`] wrote to `directory`.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        super::disk::open(directory.as_ref())
    }

    /// The configuration it was trained with.
    pub fn config(&self) -> &TrainConfig {
        &self.task.config
    }

    /// The actions that it chooses from.
    pub fn action_space(&self) -> &ActionSpace {
        &self.task.action_space
    }

    /// The raw outputs of the four heads for each input, in the order of the inputs.
    ///
    /// # Errors
    ///
    /// Usage (`model-output`) for a joint, autoregressive or value model, which has no such heads.
    pub fn logits(&self, inputs: &[PlannerInput]) -> Result<Vec<HeadLogits>> {
        let policy = !matches!(self.task.config.model, ModelKind::Joint | ModelKind::Value);
        if !policy || self.task.config.decoding != Decoding::MultiHead {
            return Err(no_such_output("independent heads"));
        }
        let entries = self.entries(inputs);
        let outputs = self.run(&self.members[0], &entries, None)?;
        let widths = self.task.action_space.widths();
        Ok((0..inputs.len())
            .map(|row| std::array::from_fn(|head| row_of(&outputs, head, row, widths[head])))
            .collect())
    }

    /// What each of `actions` would come to for `input`, in their order.
    ///
    /// # Errors
    ///
    /// Usage (`model-output`) for a policy.
    pub fn values(&self, input: &PlannerInput, actions: &[Action]) -> Result<Vec<Value>> {
        if self.task.config.model != ModelKind::Value {
            return Err(no_such_output("values of actions"));
        }
        let shown = self.task.encoder.entry(input);
        let entries: Vec<Entry> = actions
            .iter()
            .map(|action| self.task.with_action(&shown, *action))
            .collect();
        let runs = self
            .members
            .iter()
            .map(|member| self.run(member, &entries, None));
        let runs: Vec<Logits> = runs.collect::<Result<_>>()?;
        Ok((0..actions.len()).map(|row| combine(&runs, row)).collect())
    }

    pub(super) fn entries(&self, inputs: &[PlannerInput]) -> Vec<Entry> {
        inputs
            .iter()
            .map(|input| self.task.encoder.entry(input))
            .collect()
    }

    pub(super) fn run(
        &self,
        member: &Learner,
        entries: &[Entry],
        choices: Option<&[Vec<usize>]>,
    ) -> Result<Logits> {
        let mut outputs: Logits = vec![Vec::new(); member.heads.len()];
        for start in (0..entries.len()).step_by(BATCH) {
            let range = start..(start + BATCH).min(entries.len());
            let batch = &entries[range.clone()];
            for entry in batch {
                member.check(entry)?;
            }
            let choices = choices.map(|choices| &choices[range]);
            let found = member.logits::<f32>(&Gather::new(batch.iter()), choices)?;
            for (all, found) in outputs.iter_mut().zip(found) {
                all.extend(found);
            }
        }
        Ok(outputs)
    }
}

pub(super) fn no_such_output(wanted: &str) -> Error {
    Error::usage("model-output", format!("this model has no {wanted}"))
}

/// The outputs of one head for one row.
pub(super) fn row_of(outputs: &Logits, head: usize, row: usize, width: usize) -> Vec<f32> {
    let values = &outputs[head][row * width..][..width];
    values.iter().map(|x| *x as f32).collect()
}

/// The ensemble's answer for one row of its members' outputs.
fn combine(runs: &[Logits], row: usize) -> Value {
    let mean = |f: &dyn Fn(&Logits) -> f64| runs.iter().map(f).sum::<f64>() / runs.len() as f64;
    let pass = |run: &Logits| sigmoid(run[0][row]);
    let location = |run: &Logits| run[2][2 * row];
    let (p_pass, log_seconds) = (mean(&pass), mean(&location));
    let spread = mean(&|run: &Logits| (location(run) - log_seconds).powi(2));
    let own = mean(&|run: &Logits| (2.0 * log_deviation(run[2][2 * row + 1])).exp());
    Value {
        p_pass,
        p_timeout: mean(&|run: &Logits| sigmoid(run[1][row])),
        log_seconds,
        log_deviation: (own + spread).sqrt(),
        std: mean(&|run: &Logits| (pass(run) - p_pass).powi(2)).sqrt(),
    }
}
