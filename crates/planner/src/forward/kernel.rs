//! The arithmetic of the forward pass.
//!
//! Plain loops over slices, compiled for several instruction sets; [`pulp`] picks the best that the
//! processor has. There is no fused multiply-add and no order of summation that depends on the
//! width of a register, so the bits of an answer are the same everywhere.

use pulp::{Arch, NullaryFnOnce};

/// Rows of a weight matrix that are added up together.
const ROWS: usize = 8;
/// Partial sums of a reduction, and the number of columns to which the heads are padded.
const LANES: usize = 16;

/// Floats from one cache line to the next; a vector load that crosses one costs twice.
const LINE: usize = 16;

/// Floats that start at a cache line.
pub(super) struct Aligned {
    buffer: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(super) fn zeros(len: usize) -> Self {
        let buffer = vec![0.0; len + LINE];
        // The buffer is never resized, so what is aligned now stays aligned.
        let start = buffer.as_ptr().align_offset(size_of::<[f32; LINE]>());
        Self {
            start: start.min(LINE),
            buffer,
            len,
        }
    }

    /// The floats.
    #[inline(always)]
    pub(super) fn get(&self) -> &[f32] {
        &self.buffer[self.start..self.start + self.len]
    }

    /// The floats.
    #[inline(always)]
    pub(super) fn get_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}

impl From<&[f32]> for Aligned {
    fn from(values: &[f32]) -> Self {
        let mut aligned = Self::zeros(values.len());
        aligned.get_mut().copy_from_slice(values);
        aligned
    }
}

impl Clone for Aligned {
    fn clone(&self) -> Self {
        Self::from(self.get())
    }
}

/// A linear layer. The weights of one input lie together.
#[derive(Clone)]
pub(super) struct Linear {
    /// Inputs by outputs, row-major.
    pub(super) weight: Aligned,
    /// One for each output.
    pub(super) bias: Vec<f32>,
}

/// A linear layer, normalized over its outputs, and a ReLU.
#[derive(Clone)]
pub(super) struct Hidden {
    pub(super) linear: Linear,
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) epsilon: f32,
}

/// Hidden layers and all heads side by side.
#[derive(Clone)]
pub(super) struct Network {
    width: usize,
    hidden: Vec<Hidden>,
    heads: Linear,
    logits: usize,
    arch: Arch,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widths: Vec<usize> = self.hidden.iter().map(|h| h.scale.len()).collect();
        f.debug_struct("Network")
            .field("width", &self.width)
            .field("hidden", &widths)
            .field("logits", &self.logits)
            .finish_non_exhaustive()
    }
}

/// The memory of one run.
pub(super) struct Scratch {
    values: Aligned,
    /// The inputs of a layer that are not zero, and where they are.
    active: Vec<(u32, f32)>,
}

impl Network {
    /// A network of layers whose widths fit; at least one of them hidden.
    pub(super) fn new(hidden: Vec<Hidden>, heads: &[Linear]) -> Option<Self> {
        let first = hidden.first()?;
        let width = first
            .linear
            .weight
            .get()
            .len()
            .checked_div(first.scale.len())?;
        let last = hidden.last()?.scale.len();
        let logits = heads.iter().map(|head| head.bias.len()).sum::<usize>();
        Some(Self {
            width,
            heads: Linear::beside(heads, last, logits.next_multiple_of(LANES)),
            logits,
            hidden,
            arch: Arch::new(),
        })
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn scratch(&self) -> Scratch {
        let widest = self.hidden.iter().map(|layer| layer.scale.len()).max();
        let widest = widest.unwrap_or(0).max(self.heads.bias.len());
        Scratch {
            values: Aligned::zeros(widest),
            active: Vec::with_capacity(widest + ROWS),
        }
    }

    /// The logits of all heads for a row whose indices are below [`Self::width`].
    pub(super) fn run<'s>(
        &self,
        indices: &[u32],
        values: &[f32],
        scratch: &'s mut Scratch,
    ) -> &'s [f32] {
        struct Run<'a> {
            network: &'a Network,
            indices: &'a [u32],
            values: &'a [f32],
            scratch: &'a mut Scratch,
        }
        impl NullaryFnOnce for Run<'_> {
            type Output = ();
            #[inline(always)]
            fn call(self) {
                self.network.layers(self.indices, self.values, self.scratch);
            }
        }
        self.arch.dispatch(Run {
            network: self,
            indices,
            values,
            scratch,
        });
        &scratch.values.get()[..self.logits]
    }

    #[inline(always)]
    fn layers(&self, indices: &[u32], values: &[f32], scratch: &mut Scratch) {
        let Scratch { values: x, active } = scratch;
        let x = x.get_mut();
        active.clear();
        active.extend(indices.iter().copied().zip(values.iter().copied()));
        for layer in &self.hidden {
            let x = &mut x[..layer.scale.len()];
            layer.linear.apply(active, x);
            layer.normalize(x);
            rectify(x, active);
        }
        self.heads.apply(active, &mut x[..self.heads.bias.len()]);
    }
}

impl Linear {
    /// Several layers on the same `inputs` as one, with columns of zeros up to `outputs`.
    fn beside(layers: &[Self], inputs: usize, outputs: usize) -> Self {
        let mut bias: Vec<f32> = layers.iter().flat_map(|l| l.bias.iter().copied()).collect();
        bias.resize(outputs, 0.0);
        let mut weight = Aligned::zeros(inputs * outputs);
        for (input, row) in weight
            .get_mut()
            .chunks_exact_mut(outputs.max(1))
            .enumerate()
        {
            let mut rest = row;
            for layer in layers {
                let n = layer.bias.len();
                let (own, others) = rest.split_at_mut(n);
                own.copy_from_slice(&layer.weight.get()[input * n..(input + 1) * n]);
                rest = others;
            }
        }
        Self { weight, bias }
    }

    /// `out = bias + sum of value * weight row`, over the active inputs.
    #[inline(always)]
    fn apply(&self, active: &mut Vec<(u32, f32)>, out: &mut [f32]) {
        out.copy_from_slice(&self.bias);
        // Zero times the first row, which is finite, changes no sum.
        active.resize(active.len().next_multiple_of(ROWS), (0, 0.0));
        let n = out.len();
        let weight = self.weight.get();
        let row = |&(index, _): &(u32, f32)| &weight[index as usize * n..][..n];
        let (groups, _) = active.as_chunks::<ROWS>();
        for group in groups {
            let [a, b, c, d, e, f, g, h] = group.each_ref().map(row);
            let x = group.map(|(_, value)| value);
            for (j, out) in out.iter_mut().enumerate() {
                let first = (x[0] * a[j] + x[1] * b[j]) + (x[2] * c[j] + x[3] * d[j]);
                let second = (x[4] * e[j] + x[5] * f[j]) + (x[6] * g[j] + x[7] * h[j]);
                *out += first + second;
            }
        }
    }
}

impl Hidden {
    /// Layer normalization (Ba et al. 2016) over all of `x`, scaled and shifted.
    #[inline(always)]
    fn normalize(&self, x: &mut [f32]) {
        let n = x.len() as f32;
        let mean = sum(x, |value| value) / n;
        for value in x.iter_mut() {
            *value -= mean;
        }
        let variance = sum(x, |value| value * value) / n;
        let factor = 1.0 / (variance + self.epsilon).sqrt();
        for ((value, scale), shift) in x.iter_mut().zip(&self.scale).zip(&self.shift) {
            *value = *value * factor * scale + shift;
        }
    }
}

/// The sum of `f` over `x`, in [`LANES`] partial sums.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += f(*value);
    }
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = lanes.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
        width /= 2;
    }
    lanes[0]
}

/// The values of `x` above zero; NaN stays, so that a broken row is seen as broken.
#[inline(always)]
fn rectify(x: &[f32], active: &mut Vec<(u32, f32)>) {
    active.clear();
    active.resize(x.len(), (0, 0.0));
    let mut count = 0;
    let kept = active.as_mut_slice();
    for (index, &value) in (0..).zip(x) {
        // Written always and kept sometimes: half of the values pass, which no branch predicts.
        kept[count] = (index, value);
        count += usize::from(value > 0.0 || value.is_nan());
    }
    active.truncate(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_of_the_registers_changes_no_bit() {
        let mut state = 7_u64;
        let mut values = |n: usize| -> Vec<f32> {
            let next = |_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
            };
            (0..n).map(next).collect()
        };
        let mut linear = |n: usize, m: usize| Linear {
            weight: values(n * m).as_slice().into(),
            bias: values(m),
        };
        let widths = [300, 77, 40, 33];
        let linears = [linear(300, 77), linear(77, 40), linear(40, 33)];
        let heads = [linear(33, 2), linear(33, 5)];
        let hidden = linears
            .into_iter()
            .zip(&widths[1..])
            .map(|(linear, m)| Hidden {
                linear,
                scale: values(*m),
                shift: values(*m),
                epsilon: 1e-5,
            });
        let detected = Network::new(hidden.collect(), &heads).unwrap();
        let plain = Network {
            arch: Arch::Scalar,
            ..detected.clone()
        };
        for active in [0, 1, 60, 300] {
            let indices: Vec<u32> = (0..active).map(|n| (n * 7) % 300).collect();
            let row = values(indices.len());
            let bits = |network: &Network| -> Vec<u32> {
                let mut scratch = network.scratch();
                let logits = network.run(&indices, &row, &mut scratch);
                logits.iter().map(|logit| logit.to_bits()).collect()
            };
            assert_eq!(bits(&detected), bits(&plain), "{active} values");
        }
    }
}
