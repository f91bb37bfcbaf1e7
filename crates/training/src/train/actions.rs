//! Probabilities of whole actions, and of one head after another.

use amphora_error::Result;
use amphora_planner::action_space::{Action, Head, HeadLogits};
use amphora_planner::contracts::PlannerInput;

use super::config::{Decoding, ModelKind};
use super::trained::{TrainedModel, no_such_output, row_of};

impl TrainedModel {
    /// For each input the log-probability of every action that is valid for its job, in the order of
    /// [`amphora_planner::action_space::ActionSpace::valid_actions`]. The probabilities of a joint or autoregressive model sum to one;
    /// those of independent heads are the products of their masked softmaxes, which need not.
    ///
    /// # Errors
    ///
    /// Usage (`model-output`) for a value model.
    pub fn action_log_probabilities(
        &self,
        inputs: &[PlannerInput],
    ) -> Result<Vec<Vec<(Action, f64)>>> {
        let config = &self.task.config;
        match (config.model, config.decoding) {
            (ModelKind::Value, _) => Err(no_such_output("probabilities of actions")),
            (ModelKind::Joint, _) => self.joint_log_probabilities(inputs),
            (_, Decoding::Autoregressive) => self.chained_log_probabilities(inputs),
            (_, Decoding::MultiHead) => {
                let logits = self.logits(inputs)?;
                Ok(inputs
                    .iter()
                    .zip(logits)
                    .map(|(input, logits)| {
                        let valid = self.task.action_space.valid_actions(&input.job_type);
                        independent(
                            &valid,
                            &logits,
                            &self.task.action_space.masks(&input.job_type),
                        )
                    })
                    .collect())
            }
        }
    }

    fn joint_log_probabilities(&self, inputs: &[PlannerInput]) -> Result<Vec<Vec<(Action, f64)>>> {
        let outputs = self.run(&self.members[0], &self.entries(inputs), None)?;
        let union = &self.task.union;
        let of_row = |(row, input): (usize, &PlannerInput)| {
            let logits: Vec<f32> = row_of(&outputs, 0, row, union.len());
            let log_p = log_softmax(&logits, &self.task.joint_mask(&input.job_type));
            let valid = self.task.action_space.valid_actions(&input.job_type);
            let find = |action: Action| union.binary_search(&action).ok();
            valid
                .into_iter()
                .filter_map(|action| Some((action, log_p[find(action)?])))
                .collect()
        };
        Ok(inputs.iter().enumerate().map(of_row).collect())
    }

    /// The chain rule: each head's softmax over the classes that a valid action still can have after
    /// the choices of the heads before.
    fn chained_log_probabilities(
        &self,
        inputs: &[PlannerInput],
    ) -> Result<Vec<Vec<(Action, f64)>>> {
        let widths = self.task.action_space.widths();
        let mut all = Vec::with_capacity(inputs.len());
        for input in inputs {
            let valid = self.task.action_space.valid_actions(&input.job_type);
            let entry = self.task.encoder.entry(input);
            let entries = vec![entry; valid.len()];
            let choices: Vec<Vec<usize>> = valid.iter().map(|a| a.classes().to_vec()).collect();
            let outputs = self.run(&self.members[0], &entries, Some(&choices))?;
            let chain = |(row, action): (usize, &Action)| {
                let classes = action.classes();
                let log_p = (0..classes.len()).map(|head| {
                    let mut mask = vec![false; widths[head]];
                    for other in &valid {
                        let other = other.classes();
                        if other[..head] == classes[..head] {
                            mask[other[head]] = true;
                        }
                    }
                    let logits: Vec<f32> = row_of(&outputs, head, row, widths[head]);
                    log_softmax(&logits, &mask)[classes[head]]
                });
                (*action, log_p.sum())
            };
            all.push(valid.iter().enumerate().map(chain).collect());
        }
        Ok(all)
    }

    /// The raw outputs of the head that follows `chosen`, the classes of the heads before it.
    ///
    /// # Errors
    ///
    /// Usage (`model-output`) for a model whose heads are not conditioned on each other, or when every
    /// head has chosen.
    pub fn next_logits(&self, input: &PlannerInput, chosen: &[usize]) -> Result<Vec<f32>> {
        let conditioned = self.config().decoding == Decoding::Autoregressive;
        let Some(head) = Head::ALL.get(chosen.len()).filter(|_| conditioned) else {
            return Err(no_such_output("head that follows these choices"));
        };
        let entries = self.entries(std::slice::from_ref(input));
        let outputs = self.run(&self.members[0], &entries, Some(&[chosen.to_vec()]))?;
        let width = self.action_space().width(*head);
        Ok(row_of(&outputs, head.position(), 0, width))
    }
}

/// The logarithm of the softmax over the classes that `mask` allows; minus infinity elsewhere.
fn log_softmax(logits: &[f32], mask: &[bool]) -> Vec<f64> {
    let masked = logits.iter().zip(mask).map(|(x, valid)| match valid {
        true => f64::from(*x),
        false => f64::NEG_INFINITY,
    });
    let masked: Vec<f64> = masked.collect();
    let largest = masked.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = masked.iter().map(|x| (x - largest).exp()).sum();
    masked.iter().map(|x| x - largest - sum.ln()).collect()
}

fn independent(
    valid: &[Action],
    logits: &HeadLogits,
    masks: &[Vec<bool>; 4],
) -> Vec<(Action, f64)> {
    let log_p: [Vec<f64>; 4] = std::array::from_fn(|head| log_softmax(&logits[head], &masks[head]));
    let score = |action: &Action| {
        let classes = action.classes().into_iter().zip(&log_p);
        classes.map(|(class, log_p)| log_p[class]).sum()
    };
    valid
        .iter()
        .map(|action| (*action, score(action)))
        .collect()
}
