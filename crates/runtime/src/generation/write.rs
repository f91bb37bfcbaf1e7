//! Prompts in, texts out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use amphora_bundle::manifest::Sampling;
use amphora_error::{Error, Result};
use serde::Serialize;

use super::{Constraint, Generator, Progress, Sampler, StopStrings};
use crate::text::StreamDecoder;

/// A prompt, and what is to become of its text.
#[derive(Default)]
pub struct Prompt<'t> {
    /// The tokens of the prompt.
    pub tokens: Vec<u32>,
    /// What the model may write.
    pub constraint: Option<Box<dyn Constraint>>,
    /// Makes text of the tokens; without it there are only tokens, and no stop string is found.
    pub text: Option<StreamDecoder<'t>>,
}

/// How texts are written.
#[derive(Debug, Clone)]
pub struct GenerationOptions {
    /// Most tokens for each text.
    pub max_new_tokens: usize,
    /// How tokens are chosen; unset, as the manifest says, or else greedily.
    pub sampling: Option<Sampling>,
    /// Starts the random numbers: text `i` of a batch is drawn by `seed + i`, and so is what the same
    /// prompt gives alone under that seed.
    pub seed: u64,
    /// Strings that end a text, besides the stop tokens of the manifest. They are not part of it.
    pub stop: Vec<String>,
    /// When to stop, looked at before each token.
    pub deadline: Option<Instant>,
    /// Set by another thread to stop, looked at before each token.
    pub cancel: Option<Arc<AtomicBool>>,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self {
            max_new_tokens: 128,
            sampling: None,
            seed: 0,
            stop: Vec::new(),
            deadline: None,
            cancel: None,
        }
    }
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// A stop token came. It is the last of the tokens, and not in the text.
    StopToken,
    /// A stop string came. It is not in the text.
    StopString,
    /// The constraint, or what tokens there are to keep it, allows nothing more.
    Constraint,
    /// As many tokens as were asked for.
    MaxNewTokens,
    /// Prompt and answer fill what the model can look at.
    ContextLength,
    /// The time was up.
    Deadline,
    /// The caller did not want more.
    Cancelled,
}

impl Finish {
    /// The word for it in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::StopToken => "stop_token",
            Self::StopString => "stop_string",
            Self::Constraint => "constraint",
            Self::MaxNewTokens => "max_new_tokens",
            Self::ContextLength => "context_length",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for Finish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// One token of one text, as it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<'s> {
    /// Which text.
    pub row: usize,
    /// The token; none when only text that was held back comes at the end.
    pub token: Option<u32>,
    /// The text that is certain now: whole characters, no beginning of a stop string. Often empty.
    pub text: &'s str,
    /// Why the text ends here, when it does.
    pub finish: Option<Finish>,
}

/// A finished text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Generated {
    /// The text, without prompt, stop token and stop string.
    pub text: String,
    /// Every token that was chosen, a stop token and those of a stop string too.
    pub token_ids: Vec<u32>,
    /// Why it ended.
    pub finish_reason: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens that were chosen.
    pub new_tokens: usize,
    /// Under a constraint: whether the text is one that it allows, or only the beginning of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
}

/// Takes each token as it comes. An error ends all texts.
type OnStep<'s> = &'s mut dyn FnMut(&Step<'_>) -> Result<()>;

impl Generator {
    /// Writes a text for each prompt, all together. Each ends on its own; `on_step` sees every token of
    /// every text as it comes. Each text is what its prompt gives alone.
    ///
    /// # Errors
    ///
    /// Those of [`Generator::start`], [`super::Batch::advance`], [`Sampler`], [`StopStrings::new`], the
    /// constraints and `on_step`; [`amphora_error::ErrorKind::Incompatible`] when the model has no token
    /// with which an unfinished text could keep its constraint.
    pub fn generate(
        &mut self,
        prompts: Vec<Prompt<'_>>,
        options: &GenerationOptions,
        on_step: OnStep<'_>,
    ) -> Result<Vec<Generated>> {
        let stop_token_ids = self.stop_token_ids.clone();
        let context = self.context_length.unwrap_or(usize::MAX);
        let sampling = options.sampling.as_ref().or(self.sampling.as_ref());
        let sampling = sampling.cloned().unwrap_or_default();
        let stops = StopStrings::new(&options.stop)?;
        let rows = prompts.into_iter().enumerate().map(|(number, prompt)| {
            Ok(Row {
                number,
                prompt_tokens: prompt.tokens.len(),
                tokens: prompt.tokens,
                most: options.max_new_tokens,
                sampler: Sampler::new(&sampling, options.seed.wrapping_add(number as u64))?,
                constraint: prompt.constraint,
                stream: prompt.text,
                stops: stops.clone(),
                text: String::new(),
                finish: None,
            })
        });
        let mut rows = rows.collect::<Result<Vec<Row<'_>>>>()?;
        let tokens: Vec<Vec<u32>> = rows.iter().map(|row| row.tokens.clone()).collect();
        let tokens: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        // The shortest may grow for longest.
        let shortest = tokens.iter().map(|tokens| tokens.len()).min().unwrap_or(0);
        let room = options.max_new_tokens.min(context.saturating_sub(shortest));
        let mut batch = self.start(&tokens, room)?;
        drop(tokens);
        let mut next: Option<Vec<Option<u32>>> = None;
        loop {
            let interrupted = interrupted(options);
            for row in rows.iter_mut().filter(|row| row.finish.is_none()) {
                if let Some(finish) = row.end(context).or(interrupted) {
                    row.finish(None, finish, on_step)?;
                }
            }
            if rows.iter().all(|row| row.finish.is_some()) {
                return Ok(rows.into_iter().map(Row::finished).collect());
            }
            if let Some(mut tokens) = next.take() {
                for (token, row) in tokens.iter_mut().zip(&rows) {
                    *token = token.filter(|_| row.finish.is_none());
                }
                batch.advance(&tokens)?;
            }
            let mut chosen = Vec::with_capacity(rows.len());
            for row in &mut rows {
                let open = row.finish.is_none();
                let logits = batch.logits(row.number).filter(|_| open);
                chosen.push(match logits {
                    Some(logits) => row.step(logits, &stop_token_ids, on_step)?,
                    None => None,
                });
            }
            next = Some(chosen);
        }
    }
}

fn interrupted(options: &GenerationOptions) -> Option<Finish> {
    let cancelled = options.cancel.as_ref();
    if cancelled.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
        return Some(Finish::Cancelled);
    }
    let late = options.deadline.is_some_and(|end| Instant::now() >= end);
    late.then_some(Finish::Deadline)
}

/// One text on its way.
struct Row<'t> {
    number: usize,
    prompt_tokens: usize,
    /// Prompt and answer.
    tokens: Vec<u32>,
    /// Most tokens of the answer.
    most: usize,
    sampler: Sampler,
    constraint: Option<Box<dyn Constraint>>,
    stream: Option<StreamDecoder<'t>>,
    stops: StopStrings,
    text: String,
    finish: Option<Finish>,
}

impl Row<'_> {
    /// Why the text cannot go on, if it cannot.
    fn end(&mut self, context: usize) -> Option<Finish> {
        if let Some(constraint) = &mut self.constraint
            && constraint.progress() == Progress::Ended
        {
            return Some(Finish::Constraint);
        }
        if self.tokens.len() - self.prompt_tokens >= self.most {
            return Some(Finish::MaxNewTokens);
        }
        (self.tokens.len() >= context).then_some(Finish::ContextLength)
    }

    /// Chooses a token; the answer is what the model is fed next, nothing when the text has ended.
    fn step(
        &mut self,
        logits: &[f32],
        stop_token_ids: &[u32],
        on_step: OnStep<'_>,
    ) -> Result<Option<u32>> {
        let mut masked = logits.to_vec();
        if let Some(constraint) = &mut self.constraint {
            constraint.mask(&mut masked)?;
            let may_end = constraint.progress() != Progress::Unfinished;
            for &token in stop_token_ids {
                let place = token as usize;
                if let (Some(masked), Some(logit)) = (masked.get_mut(place), logits.get(place)) {
                    *masked = if may_end { *logit } else { f32::NEG_INFINITY };
                }
            }
            if masked.iter().all(|logit| *logit == f32::NEG_INFINITY) {
                if may_end {
                    self.finish(None, Finish::Constraint, on_step)?;
                    return Ok(None);
                }
                return Err(Error::incompatible(
                    "constraint-dead-end",
                    "no token of the model continues the text as its constraint wants",
                )
                .at(format!(
                    "text {}, token {}",
                    self.number,
                    self.tokens.len() - self.prompt_tokens
                )));
            }
        }
        let token = self.sampler.choose(&masked, &self.tokens)?;
        self.tokens.push(token);
        if stop_token_ids.contains(&token) {
            self.finish(Some(token), Finish::StopToken, on_step)?;
            return Ok(None);
        }
        if let Some(constraint) = &mut self.constraint {
            constraint.update(token)?;
        }
        let piece = match &mut self.stream {
            Some(stream) => stream.push(token)?,
            None => String::new(),
        };
        let scanned = self.stops.push(&piece);
        self.text.push_str(&scanned.text);
        let finish = scanned.stopped.map(|_| Finish::StopString);
        self.finish = finish;
        on_step(&Step {
            row: self.number,
            token: Some(token),
            text: &scanned.text,
            finish,
        })?;
        Ok(finish.is_none().then_some(token))
    }

    /// Ends the text with what was held back.
    fn finish(&mut self, token: Option<u32>, finish: Finish, on_step: OnStep<'_>) -> Result<()> {
        let rest = match self.stream.take() {
            Some(stream) => stream.finish()?,
            None => String::new(),
        };
        let mut scanned = self.stops.push(&rest);
        let finish = match scanned.stopped {
            Some(_) if token.is_none() => Finish::StopString,
            _ => finish,
        };
        if scanned.stopped.is_none() {
            scanned.text.push_str(&self.stops.finish());
        }
        self.text.push_str(&scanned.text);
        self.finish = Some(finish);
        on_step(&Step {
            row: self.number,
            token,
            text: &scanned.text,
            finish: Some(finish),
        })
    }

    fn finished(mut self) -> Generated {
        let cut = self.finish == Some(Finish::StopString);
        let progress = self.constraint.as_mut().map(|c| c.progress());
        let token_ids = self.tokens.split_off(self.prompt_tokens);
        Generated {
            text: self.text,
            finish_reason: self.finish.unwrap_or(Finish::MaxNewTokens),
            prompt_tokens: self.prompt_tokens,
            new_tokens: token_ids.len(),
            token_ids,
            complete: progress.map(|progress| !cut && progress != Progress::Unfinished),
        }
    }
}
