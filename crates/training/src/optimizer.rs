//! AdamW with decoupled weight decay (Loshchilov and Hutter 2019), exact and yet sparse.
//!
//! A step changes every element, also those without a gradient: weight decay shrinks them and the
//! moments keep moving them. For the rows of a table that a batch does not touch, the optimizer
//! remembers the step and makes up for it when the row is next read: the same operations in the same
//! order, so the same bits as if they had been done at once, but in registers instead of memory.

use amphora_error::{Error, Result};
use rayon::prelude::*;

use crate::model::{Parameter, vectorized};

/// Constants of the optimizer; the defaults are PyTorch's with document 001's weight decay.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of the learning rate by which every element shrinks.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
        }
    }
}

/// The gradient of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Gradient {
    /// Of every element.
    Dense(Vec<f32>),
    /// Of the listed rows, ascending; all others are zero.
    Rows(Vec<u32>, Vec<f32>),
}

impl Gradient {
    pub(crate) fn values(&self) -> &[f32] {
        match self {
            Self::Dense(values) | Self::Rows(_, values) => values,
        }
    }
}

/// What a step multiplies and adds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    /// `1 - rate * weight_decay`.
    shrink: f32,
    /// `rate / (1 - beta1^t)`.
    size: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    root: f32,
}

/// The moments of every parameter and the steps that rows still owe.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AdamW {
    config: AdamWConfig,
    steps: Vec<Step>,
    moments: Vec<Moments>,
}

#[derive(Debug, Clone, PartialEq)]
struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
    /// For a table: up to which step each row has been computed.
    done: Vec<usize>,
}

/// The constants of one element's update, out of the loop.
#[derive(Clone, Copy)]
struct Constants {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
}

impl AdamW {
    pub(crate) fn new(config: AdamWConfig, parameters: &[Parameter]) -> Self {
        let moments = parameters.iter().map(|parameter| {
            let zeros = vec![0.0; parameter.values.len()];
            let rows = parameter.values.len() / parameter.width();
            Moments {
                first: zeros.clone(),
                second: zeros,
                done: vec![0; if parameter.table { rows } else { 0 }],
            }
        });
        Self {
            config,
            steps: Vec::new(),
            moments: moments.collect(),
        }
    }

    /// One step at the learning rate `rate`, with gradients in the order of the parameters.
    pub(crate) fn step(&mut self, parameters: &mut [Parameter], gradients: &[Gradient], rate: f64) {
        let before = self.steps.len();
        self.record(rate);
        let constants = self.constants();
        let all = parameters.iter_mut().zip(gradients).zip(&mut self.moments);
        for ((parameter, gradient), moments) in all {
            match gradient {
                Gradient::Dense(gradient) => {
                    let step = self.steps[before];
                    let values = parameter.values.par_chunks_mut(CHUNK);
                    values
                        .zip(moments.first.par_chunks_mut(CHUNK))
                        .zip(moments.second.par_chunks_mut(CHUNK))
                        .zip(gradient.par_chunks(CHUNK))
                        .for_each(|(((p, m), v), g)| constants.apply(p, m, v, g, step));
                }
                Gradient::Rows(rows, gradient) => {
                    let width = parameter.width();
                    let table = Table::new(parameter, moments, width);
                    table.each(rows, |index, p, m, v, done| {
                        constants.catch_up(p, m, v, &self.steps[*done..before]);
                        let gradient = &gradient[index * width..][..width];
                        constants.apply(p, m, v, gradient, self.steps[before]);
                        *done = before + 1;
                    });
                }
            }
        }
    }

    /// Brings the listed rows of the table `index` up to the last step, before they are read.
    pub(crate) fn settle(&mut self, parameters: &mut [Parameter], index: usize, rows: &[u32]) {
        let constants = self.constants();
        let (parameter, moments) = (&mut parameters[index], &mut self.moments[index]);
        let width = parameter.width();
        Table::new(parameter, moments, width).each(rows, |_, p, m, v, done| {
            constants.catch_up(p, m, v, &self.steps[*done..]);
            *done = self.steps.len();
        });
    }

    /// Brings every row up to the last step; afterwards the parameters are those of plain AdamW.
    pub(crate) fn settle_all(&mut self, parameters: &mut [Parameter]) {
        for index in 0..parameters.len() {
            let rows: Vec<u32> = (0..self.moments[index].done.len() as u32).collect();
            if !rows.is_empty() {
                self.settle(parameters, index, &rows);
            }
        }
    }

    /// The moments in the order of the parameters, first then second. Only after
    /// [`Self::settle_all`] do they tell the whole state.
    pub(crate) fn moments(&self) -> impl Iterator<Item = (&[f32], &[f32])> {
        self.moments
            .iter()
            .map(|moments| (moments.first.as_slice(), moments.second.as_slice()))
    }

    /// The state after `rates.len()` steps at these learning rates, out of stored moments.
    ///
    /// # Errors
    ///
    /// Malformed (`training-state`) when the moments do not fit the parameters.
    pub(crate) fn restore(
        config: AdamWConfig,
        parameters: &[Parameter],
        moments: Vec<(Vec<f32>, Vec<f32>)>,
        rates: impl Iterator<Item = f64>,
    ) -> Result<Self> {
        let mut restored = Self::new(config, parameters);
        rates.for_each(|rate| restored.record(rate));
        let steps = restored.steps.len();
        if moments.len() != parameters.len() {
            return Err(Error::malformed(
                "training-state",
                "the stored optimizer has another number of moments than the model has parameters",
            ));
        }
        for (own, (first, second)) in restored.moments.iter_mut().zip(moments) {
            if [first.len(), second.len()] != [own.first.len(), own.second.len()] {
                return Err(Error::malformed(
                    "training-state",
                    "the stored moments have other sizes than the model's parameters",
                ));
            }
            (own.first, own.second) = (first, second);
            own.done.fill(steps);
        }
        Ok(restored)
    }

    fn record(&mut self, rate: f64) {
        let config = self.config;
        let power = self.steps.len() as f64 + 1.0;
        self.steps.push(Step {
            shrink: (1.0 - rate * config.weight_decay) as f32,
            size: (rate / (1.0 - config.beta1.powf(power))) as f32,
            root: (1.0 / (1.0 - config.beta2.powf(power)).sqrt()) as f32,
        });
    }

    fn constants(&self) -> Constants {
        Constants {
            beta1: self.config.beta1 as f32,
            beta2: self.config.beta2 as f32,
            epsilon: self.config.epsilon as f32,
        }
    }
}

/// Elements that one task updates at a time.
const CHUNK: usize = 1 << 14;
/// Elements that stay in registers while the owed steps of a row are made up for.
const LANES: usize = 16;

impl Constants {
    /// One step with a gradient.
    fn apply(self, p: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32], step: Step) {
        vectorized(|| {
            for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(gradient) {
                *m = self.beta1 * *m + (1.0 - self.beta1) * g;
                *v = self.beta2 * *v + (1.0 - self.beta2) * (g * g);
                *p = *p * step.shrink - step.size * *m / (v.sqrt() * step.root + self.epsilon);
            }
        });
    }

    /// Steps without a gradient.
    fn catch_up(self, p: &mut [f32], m: &mut [f32], v: &mut [f32], steps: &[Step]) {
        if steps.is_empty() {
            return;
        }
        // A row that never had a gradient has no moments: only the weight decay is left.
        if m.iter().all(|m| *m == 0.0) && v.iter().all(|v| *v == 0.0) {
            for p in p {
                *p = steps.iter().fold(*p, |p, step| p * step.shrink);
            }
            return;
        }
        let (p, p_rest) = p.as_chunks_mut::<LANES>();
        let (m, m_rest) = m.as_chunks_mut::<LANES>();
        let (v, v_rest) = v.as_chunks_mut::<LANES>();
        vectorized(|| {
            for ((p, m), v) in p.iter_mut().zip(m).zip(v) {
                self.catch_up_lanes(p, m, v, steps);
            }
        });
        for ((p, m), v) in p_rest.iter_mut().zip(m_rest).zip(v_rest) {
            let one = std::array::from_mut;
            self.catch_up_lanes(one(p), one(m), one(v), steps);
        }
    }

    #[inline(always)]
    fn catch_up_lanes<const N: usize>(
        self,
        p: &mut [f32; N],
        m: &mut [f32; N],
        v: &mut [f32; N],
        steps: &[Step],
    ) {
        let (mut p_, mut m_, mut v_) = (*p, *m, *v);
        for step in steps {
            for lane in 0..N {
                m_[lane] *= self.beta1;
                v_[lane] *= self.beta2;
                let root = v_[lane].sqrt() * step.root + self.epsilon;
                p_[lane] = p_[lane] * step.shrink - step.size * m_[lane] / root;
            }
        }
        (*p, *m, *v) = (p_, m_, v_);
    }
}

/// The rows of a table with their moments, for work in parallel.
struct Table<'a> {
    rows: Vec<Row<'a>>,
}

type Row<'a> = (&'a mut [f32], &'a mut [f32], &'a mut [f32], &'a mut usize);

impl<'a> Table<'a> {
    fn new(parameter: &'a mut Parameter, moments: &'a mut Moments, width: usize) -> Self {
        let values = parameter.values.chunks_exact_mut(width);
        let first = moments.first.chunks_exact_mut(width);
        let second = moments.second.chunks_exact_mut(width);
        let all = values.zip(first).zip(second).zip(&mut moments.done);
        Self {
            rows: all.map(|(((p, m), v), done)| (p, m, v, done)).collect(),
        }
    }

    /// Runs `f` on each of the ascending `rows`, with the position in that list.
    fn each(
        self,
        rows: &[u32],
        f: impl Fn(usize, &mut [f32], &mut [f32], &mut [f32], &mut usize) + Sync,
    ) {
        let mut wanted = rows.iter().enumerate().peekable();
        let chosen: Vec<_> = self
            .rows
            .into_iter()
            .enumerate()
            .filter_map(|(at, row)| {
                let (index, _) = wanted.next_if(|(_, row)| **row as usize == at)?;
                Some((index, row))
            })
            .collect();
        chosen
            .into_par_iter()
            .with_min_len(8)
            .for_each(|(index, (p, m, v, done))| f(index, p, m, v, done));
    }
}

/// The Euclidean norm of all gradients together.
///
/// Partial sums are over fixed chunks and are added in order, whatever the number of threads.
pub(crate) fn norm(gradients: &[Gradient]) -> f64 {
    let squares = |chunk: &[f32]| {
        let mut lanes = [0.0_f64; 8];
        for group in chunk.chunks(8) {
            for (lane, x) in lanes.iter_mut().zip(group) {
                *lane += f64::from(*x) * f64::from(*x);
            }
        }
        lanes.iter().sum::<f64>()
    };
    let sums = gradients.iter().map(|gradient| {
        let partial: Vec<f64> = gradient.values().par_chunks(CHUNK).map(squares).collect();
        partial.iter().sum::<f64>()
    });
    sums.sum::<f64>().sqrt()
}

/// Scales the gradients so that their norm is at most `limit`, and returns the norm before.
///
/// # Errors
///
/// Incompatible (`training-gradient`) when the norm is no finite number.
pub(crate) fn clip(gradients: &mut [Gradient], limit: f64) -> Result<f64> {
    let norm = norm(gradients);
    if !norm.is_finite() {
        return Err(Error::incompatible(
            "training-gradient",
            "training stopped: the gradient is no finite number",
        )
        .hint("lower the learning rate, or look for extreme values in the dataset"));
    }
    if norm > limit {
        // PyTorch's `clip_grad_norm_`.
        let factor = (limit / (norm + 1e-6)) as f32;
        for gradient in gradients {
            let (Gradient::Dense(values) | Gradient::Rows(_, values)) = gradient;
            values
                .par_chunks_mut(CHUNK)
                .for_each(|chunk| chunk.iter_mut().for_each(|x| *x *= factor));
        }
    }
    Ok(norm)
}

/// Cosine annealing (Loshchilov and Hutter 2017): the rate of `epoch` out of `period`, from `peak`
/// down to `floor`, which it keeps afterwards.
pub(crate) fn cosine(epoch: usize, period: usize, peak: f64, floor: f64) -> f64 {
    let progress = (epoch as f64 / period.max(1) as f64).min(1.0);
    floor + (peak - floor) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests;
