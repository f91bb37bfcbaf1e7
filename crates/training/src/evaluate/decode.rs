//! From what the heads say to one action: three ways, to compare them.

use amphora_error::Result;
use amphora_planner::action_space::{Action, Head, HeadLogits};
use amphora_planner::contracts::PlannerInput;
use amphora_planner::decode::{Distribution, Temperatures, autoregressive};
use serde::{Deserialize, Serialize};

use crate::train::TrainedModel;

use super::model::{Answer, SpeaksOf, no_action};

/// How the heads of a policy come to one action. A joint or a value model has one way only, whatever is
/// said here; so has a bundle that decides: [`Self::Joint`].
///
/// [`crate::train::Decoding`] is another thing: whether heads *learn* to follow the choices before them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decode {
    /// The valid action with the largest product of its classes' probabilities.
    #[default]
    Joint,
    /// Every head takes its most probable class among those that some valid action has. Together they may
    /// be no valid action; such an answer is counted, and the baseline is done instead.
    Masked,
    /// Head by head, each takes its most probable class among those that are still valid after the choices
    /// before it.
    Autoregressive,
}

impl Decode {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Joint => "joint",
            Self::Masked => "masked",
            Self::Autoregressive => "autoregressive",
        }
    }
}

/// The answer of heads that do not know of each other.
pub(super) fn independent(
    input: &PlannerInput,
    logits: &HeadLogits,
    temperatures: &Temperatures,
    decode: Decode,
) -> Result<Answer> {
    let space = &input.action_space;
    if decode == Decode::Joint {
        let masks = space.masks(&input.job_type);
        let distribution = Distribution::new(logits, &masks, temperatures)?;
        let best = distribution
            .best(&space.valid_actions(&input.job_type))
            .ok_or_else(no_action)?;
        return Ok(answer(best.action, &distribution, &masks));
    }
    step_by_step(input, temperatures, decode, |head, _| {
        Ok(logits[head.position()].clone())
    })
}

/// The answer of heads that were trained to follow the choices before them; not [`Decode::Joint`].
pub(super) fn conditioned(
    model: &TrainedModel,
    input: &PlannerInput,
    decode: Decode,
) -> Result<Answer> {
    step_by_step(input, &Temperatures::ONE, decode, |_, chosen| {
        model.next_logits(input, chosen)
    })
}

/// Asks one head after another.
fn step_by_step(
    input: &PlannerInput,
    temperatures: &Temperatures,
    decode: Decode,
    mut logits: impl FnMut(Head, &[usize]) -> Result<Vec<f32>>,
) -> Result<Answer> {
    let space = &input.action_space;
    let (widths, valid) = (space.widths(), space.valid_actions(&input.job_type));
    if valid.is_empty() {
        return Err(no_action());
    }
    // What a head has not said yet is no preference.
    let mut said: HeadLogits = widths.map(|width| vec![0.0; width]);
    if decode == Decode::Autoregressive {
        let decoded = autoregressive(&valid, widths, temperatures, |head, chosen| {
            said[head.position()] = logits(head, chosen)?;
            Ok(said[head.position()].clone())
        })?;
        let action = decoded.ok_or_else(no_action)?.action;
        let masks = masks_after(&valid, widths, action);
        let distribution = Distribution::new(&said, &masks, temperatures)?;
        return Ok(answer(action, &distribution, &masks));
    }
    let masks = space.masks(&input.job_type);
    let mut chosen = Vec::with_capacity(said.len());
    for head in Head::ALL {
        said[head.position()] = logits(head, &chosen)?;
        let best = Distribution::new(&said, &masks, temperatures)?.independent();
        chosen.push(best.action.class(head));
    }
    let distribution = Distribution::new(&said, &masks, temperatures)?;
    Ok(answer(
        distribution.independent().action,
        &distribution,
        &masks,
    ))
}

/// For each head the classes that a valid action has which agrees with `action` on the heads before.
fn masks_after(valid: &[Action], widths: [usize; 4], action: Action) -> [Vec<bool>; 4] {
    let mut masks = widths.map(|width| vec![false; width]);
    let classes = action.classes();
    for other in valid {
        let other = other.classes();
        for head in 0..classes.len() {
            if other[..head] == classes[..head] {
                masks[head][other[head]] = true;
            }
        }
    }
    masks
}

fn answer(action: Action, distribution: &Distribution, masks: &[Vec<bool>; 4]) -> Answer {
    Answer {
        action,
        confidence: distribution.confidence(action),
        speaks_of: SpeaksOf::Class,
        heads: Some(Head::ALL.map(|head| {
            (0..masks[head.position()].len())
                .map(|class| distribution.probability(head, class))
                .collect()
        })),
        choices: Head::ALL.map(|head| {
            let allowed = masks[head.position()].iter();
            allowed.filter(|allowed| **allowed).count()
        }),
    }
}
