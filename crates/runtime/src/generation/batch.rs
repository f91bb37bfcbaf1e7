//! Texts that grow together.

use std::collections::BTreeMap;

use amphora_error::{Error, Result};
use amphora_onnx::{Contract, Dtype};

use super::Generator;
use super::graphs::{INPUT_IDS, LOGITS, MASK, POSITIONS};
use crate::{Cache, Outputs, Session, Tensor};

/// Several texts that a model continues together, a token each at a time.
///
/// Shorter prompts are filled up on their left, and the attention mask hides the filling; positions
/// count the tokens of each text alone. What a text becomes therefore does not depend on the others.
#[derive(Debug)]
pub struct Batch<'g> {
    generator: &'g mut Generator,
    cache: Cache,
    /// For each text, whether it has a token of its own at each position.
    mask: Vec<Vec<bool>>,
    /// Most positions that will be reached.
    most: usize,
    /// For each text, the logits of its next token.
    logits: Vec<Vec<f32>>,
}

impl<'g> Batch<'g> {
    pub(super) fn start(
        generator: &'g mut Generator,
        prompts: &[&[u32]],
        new_tokens: usize,
    ) -> Result<Self> {
        let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
        check(generator, prompts)?;
        let pad = i64::from(generator.pad_token_id);
        let part = (generator.positions_per_call / prompts.len()).max(1);
        let cache = Cache::new(generator.links.clone());
        let mut batch = Self {
            generator,
            cache,
            mask: vec![Vec::with_capacity(longest); prompts.len()],
            most: longest.saturating_add(new_tokens),
            logits: Vec::new(),
        };
        batch.cache.reserve(longest, batch.most);
        for start in (0..longest).step_by(part) {
            let places = start..longest.min(start.saturating_add(part));
            let width = places.len();
            let mut ids = Vec::with_capacity(prompts.len() * width);
            for (prompt, mask) in prompts.iter().zip(&mut batch.mask) {
                let filling = longest - prompt.len();
                let own = |place: usize| place.checked_sub(filling).map(|own| prompt[own]);
                ids.extend(
                    places
                        .clone()
                        .map(|place| own(place).map_or(pad, i64::from)),
                );
                mask.extend(places.clone().map(|place| place >= filling));
            }
            batch.run(ids, width)?;
        }
        Ok(batch)
    }

    /// How many texts there are.
    pub fn rows(&self) -> usize {
        self.mask.len()
    }

    /// The logits of the next token of a text, one for each token of the vocabulary.
    pub fn logits(&self, row: usize) -> Option<&[f32]> {
        self.logits.get(row).map(Vec::as_slice)
    }

    /// What the model remembers of the texts.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Adds one token to each text; a text without one is finished and only filled up.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] when there is not one entry for each text, or a token is
    /// outside the vocabulary; those of [`Session::run_cached`]; and those of reading the logits,
    /// [`amphora_error::ErrorKind::Incompatible`].
    pub fn advance(&mut self, tokens: &[Option<u32>]) -> Result<()> {
        if tokens.len() != self.rows() {
            return Err(Error::usage("batch", "every text needs an entry")
                .expected(format!("{} entries", self.rows()))
                .found(format!("{}", tokens.len())));
        }
        let vocabulary = self.logits.first().map_or(0, Vec::len);
        for token in tokens.iter().flatten() {
            if *token as usize >= vocabulary {
                return Err(foreign_token(*token, vocabulary));
            }
        }
        let pad = self.generator.pad_token_id;
        let ids = tokens.iter().map(|token| i64::from(token.unwrap_or(pad)));
        for (mask, token) in self.mask.iter_mut().zip(tokens) {
            mask.push(token.is_some());
        }
        self.run(ids.collect(), 1)
    }

    /// Feeds the last `width` positions, of which `ids` are the tokens, row after row.
    fn run(&mut self, ids: Vec<i64>, width: usize) -> Result<()> {
        let rows = self.rows();
        let total = self.mask.first().map_or(0, Vec::len);
        let Generator {
            prefill, decode, ..
        } = &mut *self.generator;
        let session = if total == width { prefill } else { decode };
        let mut values = BTreeMap::from([(INPUT_IDS, (vec![rows, width], ids))]);
        let has = |name: &str| has_input(session.contract(), name);
        if has(MASK) {
            let ones = self.mask.iter().flatten().map(|&own| i64::from(own));
            values.insert(MASK, (vec![rows, total], ones.collect()));
        }
        if has(POSITIONS) {
            let positions = self.mask.iter().flat_map(|mask| positions(mask, width));
            values.insert(POSITIONS, (vec![rows, width], positions.collect()));
        }
        let inputs: Result<BTreeMap<String, Tensor>> = values
            .into_iter()
            .map(|(name, (shape, values))| {
                let tensor = integers(session.contract(), name, shape, values)?;
                Ok((name.to_owned(), tensor))
            })
            .collect();
        self.cache.reserve(total, self.most);
        let outputs = session.run_cached(&inputs?, &mut self.cache)?;
        self.logits = last_logits(session, outputs, rows)?;
        Ok(())
    }
}

fn check(generator: &Generator, prompts: &[&[u32]]) -> Result<()> {
    let mut faults = Vec::new();
    if prompts.is_empty() {
        faults.push("there is no prompt".to_owned());
    }
    for (number, prompt) in prompts.iter().enumerate() {
        if prompt.is_empty() {
            faults.push(format!("prompt {number} has no token"));
        }
        let limit = generator.context_length.unwrap_or(usize::MAX);
        if prompt.len() > limit {
            faults.push(format!(
                "prompt {number} has {} tokens, and the model takes {limit}",
                prompt.len()
            ));
        }
        let vocabulary = generator.vocabulary.unwrap_or(usize::MAX);
        if let Some(token) = prompt.iter().find(|token| **token as usize >= vocabulary) {
            faults.push(format!(
                "prompt {number} has the token {token}, and the model knows {vocabulary}"
            ));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Error::usage("prompts", "the prompts cannot be read").faults(faults))
}

fn foreign_token(token: u32, vocabulary: usize) -> Error {
    Error::usage("token", "the model does not know the token")
        .expected(format!("below {vocabulary}"))
        .found(token.to_string())
}

pub(super) fn has_input(contract: &Contract, name: &str) -> bool {
    contract.inputs.iter().any(|spec| spec.name == name)
}

/// The places of the last `width` tokens of a text among its own, from 0; 0 for the filling.
fn positions(mask: &[bool], width: usize) -> Vec<i64> {
    let mut own = 0_i64;
    let counted = mask.iter().map(|&is_own| {
        let place = own;
        own += i64::from(is_own);
        place
    });
    counted.skip(mask.len() - width).collect()
}

/// Integers as the type that the input has.
fn integers(
    contract: &Contract,
    name: &str,
    shape: Vec<usize>,
    values: Vec<i64>,
) -> Result<Tensor> {
    let spec = contract.inputs.iter().find(|spec| spec.name == name);
    match spec.map(|spec| spec.dtype) {
        Some(Dtype::Int32) => {
            let narrow: Result<Vec<i32>, _> = values.into_iter().map(i32::try_from).collect();
            let narrow = narrow.map_err(|error| {
                Error::limit("token-number", "a number does not fit into 32 bits").caused_by(error)
            })?;
            Tensor::new(shape, narrow)
        }
        Some(Dtype::Float32) => Tensor::new(shape, values.into_iter().map(|v| v as f32).collect()),
        Some(Dtype::Bool) => Tensor::new(shape, values.into_iter().map(|v| v != 0).collect()),
        _ => Tensor::new(shape, values),
    }
}

/// The logits of the last position of each row.
fn last_logits(session: &Session, outputs: Outputs, rows: usize) -> Result<Vec<Vec<f32>>> {
    let wrong =
        |message: &str| Error::incompatible("logits", message).at(format!("output '{LOGITS}'"));
    let found = outputs.into_iter().find(|(name, _)| name == LOGITS);
    let (_, logits) = found.ok_or_else(|| wrong("the graph gives no logits"))?;
    let [batch, positions, vocabulary] = *logits.shape() else {
        return Err(wrong("the logits do not have three dimensions")
            .expected("[batch, positions, vocabulary]")
            .found(format!("{:?}", logits.shape())));
    };
    if positions == 0 || vocabulary == 0 || batch != rows {
        return Err(wrong("the logits are not those of the texts")
            .expected(format!("{rows} texts, at least one position and token"))
            .found(format!("{:?}", logits.shape())));
    }
    let dtype = logits.dtype();
    let last = |values: &[f32]| -> Vec<Vec<f32>> {
        values
            .chunks_exact(positions * vocabulary)
            .map(|row| row[(positions - 1) * vocabulary..].to_vec())
            .collect()
    };
    if let Some(values) = logits.as_slice::<f32>() {
        return Ok(last(values));
    }
    let narrow = matches!(dtype, Dtype::Float16 | Dtype::Bfloat16 | Dtype::Float64);
    match logits.to_f64().filter(|_| narrow) {
        Some(values) => {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            Ok(last(&values))
        }
        None => Err(wrong("the logits are no floating-point numbers")
            .found(dtype.name())
            .hint(format!(
                "engine {} {}",
                session.engine().name(),
                session.engine().version()
            ))),
    }
}
