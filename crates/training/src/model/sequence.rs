//! Layers over time: attention, the causal convolution and the masked mean.
//!
//! Sequences are padded on the right; `lengths` says how many positions of each are real. Padding
//! costs nothing: no layer here computes it.

use std::sync::Arc;

use candle_core::WithDType as _;
use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::op::{accumulate, dtype, output, read, slice, sum, tensor, vectorized, with_real};
use super::real::Real;

/// Cosine and sine of the rotary angles (Su et al. 2021, halves rotated), `[time, d_head / 2]` each.
#[derive(Clone)]
pub(super) struct Rotary {
    pub(super) cos: Arc<[f32]>,
    pub(super) sin: Arc<[f32]>,
}

impl Rotary {
    /// The angles `position / theta^(2i / d)`, rounded to f32 as the exported buffers are.
    pub(super) fn new(time: usize, d_head: usize, theta: f64) -> Self {
        let half = d_head / 2;
        let table = |function: fn(f64) -> f64| {
            (0..time * half)
                .map(|at| {
                    let (position, pair) = (at / half, at % half);
                    let frequency = 1.0 / theta.powf((2 * pair) as f64 / d_head as f64);
                    function(position as f64 * frequency) as f32
                })
                .collect()
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }

    /// Rotates every row of `x` (`[time, d_head]`) by its angle, or back when `sign` is -1.
    fn rotate<T: Real>(&self, x: &mut [T], d_head: usize, sign: T) {
        let half = d_head / 2;
        let angles = self.cos.chunks_exact(half).zip(self.sin.chunks_exact(half));
        for (row, (cos, sin)) in x.chunks_exact_mut(d_head).zip(angles) {
            let (low, high) = row.split_at_mut(half);
            for ((low, high), (cos, sin)) in low.iter_mut().zip(high).zip(cos.iter().zip(sin)) {
                let cos = T::from_f64(f64::from(*cos));
                let sin = T::from_f64(f64::from(*sin)) * sign;
                (*low, *high) = (*low * cos - *high * sin, *high * cos + *low * sin);
            }
        }
    }
}

/// Multi-head scaled dot-product attention (Vaswani et al. 2017) over packed queries, keys and
/// values: `[batch, time, 3 d]` to `[batch, time, d]`. Padding attends to nothing and gives zeros.
pub(super) struct Attention {
    pub(super) heads: usize,
    pub(super) lengths: Arc<[usize]>,
    pub(super) rotary: Option<Rotary>,
}

/// Queries, keys and values of one head of one sequence, `[length, d_head]` each, rotated.
struct Head<T> {
    parts: [Vec<T>; 3],
    length: usize,
    width: usize,
}

impl<T: Real> Head<T> {
    /// The softmax of the scaled scores, `[length, length]`.
    fn probabilities(&self) -> Result<Vec<T>> {
        let [queries, keys, _] = &self.parts;
        let mut scores = product(queries, keys, self.length, self.width, self.length, true)?;
        let scale = T::one() / Real::sqrt(T::from_f64(self.width as f64));
        vectorized(|| {
            for row in scores.chunks_exact_mut(self.length) {
                softmax(row, scale);
            }
        });
        Ok(scores)
    }
}

/// `softmax(scale x)` in place.
#[inline(always)]
fn softmax<T: Real>(row: &mut [T], scale: T) {
    let largest = largest(row);
    for x in row.iter_mut() {
        *x = Real::exp((*x - largest) * scale);
    }
    let inverse = T::one() / sum(row, row, |x, _| x);
    row.iter_mut().for_each(|x| *x *= inverse);
}

/// The largest element, in interleaved partial maxima.
#[inline(always)]
fn largest<T: Real>(row: &[T]) -> T {
    let mut lanes = [row[0]; 8];
    for group in row.chunks(lanes.len()) {
        for (lane, x) in lanes.iter_mut().zip(group) {
            *lane = x.largest(*lane);
        }
    }
    lanes.iter().fold(lanes[0], |a, b| a.largest(*b))
}

/// `a b` of `[m, k]` and `[k, n]`, or `a b^T` of `[m, k]` and `[n, k]` when `transposed`.
fn product<T: Real>(
    a: &[T],
    b: &[T],
    m: usize,
    k: usize,
    n: usize,
    transposed: bool,
) -> Result<Vec<T>> {
    let a = tensor(a.to_vec(), (m, k))?;
    let b = match transposed {
        true => tensor(b.to_vec(), (n, k))?.t()?,
        false => tensor(b.to_vec(), (k, n))?,
    };
    a.matmul(&b)?.flatten_all()?.to_vec1()
}

/// `a^T b` of `[k, m]` and `[k, n]`.
fn transposed_product<T: Real>(a: &[T], b: &[T], k: usize, m: usize, n: usize) -> Result<Vec<T>> {
    let a = tensor(a.to_vec(), (k, m))?.t()?;
    a.matmul(&tensor(b.to_vec(), (k, n))?)?
        .flatten_all()?
        .to_vec1()
}

impl Attention {
    fn head<T: Real>(&self, qkv: &[T], length: usize, d: usize, head: usize) -> Head<T> {
        let width = d / self.heads;
        let parts = std::array::from_fn(|part| {
            let start = part * d + head * width;
            let rows = qkv.chunks_exact(3 * d).take(length);
            let mut x: Vec<T> = rows
                .flat_map(|row| &row[start..start + width])
                .copied()
                .collect();
            if let Some(rotary) = self.rotary.as_ref().filter(|_| part < 2) {
                rotary.rotate(&mut x, width, T::one());
            }
            x
        });
        Head {
            parts,
            length,
            width,
        }
    }

    fn sequence<T: Real>(&self, qkv: &[T], out: &mut [T], length: usize, d: usize) -> Result<()> {
        for head in 0..self.heads {
            let h = self.head(qkv, length, d, head);
            let context = product(
                &h.probabilities()?,
                &h.parts[2],
                length,
                length,
                h.width,
                false,
            )?;
            let start = head * h.width;
            for (out, row) in out.chunks_exact_mut(d).zip(context.chunks_exact(h.width)) {
                out[start..start + h.width].copy_from_slice(row);
            }
        }
        Ok(())
    }

    fn sequence_gradient<T: Real>(
        &self,
        qkv: &[T],
        grad: &[T],
        dqkv: &mut [T],
        length: usize,
        d: usize,
    ) -> Result<()> {
        for head in 0..self.heads {
            let h = self.head(qkv, length, d, head);
            let (n, width) = (length, h.width);
            let start = head * width;
            let rows = grad.chunks_exact(d).take(n);
            let dout: Vec<T> = rows
                .flat_map(|row| &row[start..start + width])
                .copied()
                .collect();

            let p = h.probabilities()?;
            let dv = transposed_product(&p, &dout, n, n, width)?;
            let mut ds = product(&dout, &h.parts[2], n, width, n, true)?;
            let scale = T::one() / Real::sqrt(T::from_f64(width as f64));
            vectorized(|| {
                for (ds, p) in ds.chunks_exact_mut(n).zip(p.chunks_exact(n)) {
                    let along = sum(ds, p, |ds, p| ds * p);
                    for (ds, p) in ds.iter_mut().zip(p) {
                        *ds = (*ds - along) * *p * scale;
                    }
                }
            });
            let mut dq = product(&ds, &h.parts[1], n, n, width, false)?;
            let mut dk = transposed_product(&ds, &h.parts[0], n, n, width)?;
            if let Some(rotary) = &self.rotary {
                rotary.rotate(&mut dq, width, -T::one());
                rotary.rotate(&mut dk, width, -T::one());
            }
            for (part, values) in [dq, dk, dv].into_iter().enumerate() {
                let start = part * d + start;
                let rows = dqkv.chunks_exact_mut(3 * d).zip(values.chunks_exact(width));
                rows.for_each(|(out, row)| out[start..start + width].copy_from_slice(row));
            }
        }
        Ok(())
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, time, packed) = layout.shape().dims3()?;
        let d = packed / 3;
        with_real!(dtype(qkv), T => {
            let qkv = slice::<T>(qkv, layout)?;
            let mut out = vec![T::default(); batch * time * d];
            out.par_chunks_mut(time * d)
                .zip(qkv.par_chunks(time * packed))
                .zip(self.lengths.par_iter())
                .try_for_each(|((out, qkv), length)| self.sequence(qkv, out, *length, d))?;
            Ok(output(out, &Shape::from((batch, time, d))))
        })
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, time, packed) = qkv.dims3()?;
        let d = packed / 3;
        with_real!(grad.dtype(), T => {
            let dqkv = read::<T, _>(qkv, |qkv| read::<T, _>(grad, |grad| {
                let mut dqkv = vec![T::default(); qkv.len()];
                dqkv.par_chunks_mut(time * packed)
                    .zip(qkv.par_chunks(time * packed))
                    .zip(grad.par_chunks(time * d))
                    .zip(self.lengths.par_iter())
                    .try_for_each(|(((dqkv, qkv), grad), length)| {
                        self.sequence_gradient(qkv, grad, dqkv, *length, d)
                    })?;
                Ok::<_, candle_core::Error>(dqkv)
            }))???;
            Ok(Some(tensor(dqkv, qkv.shape())?))
        })
    }
}

/// The mean over the real positions: `[batch, time, d]` to `[batch, d]`, zero for an empty sequence.
pub(super) struct MaskedMean {
    pub(super) lengths: Arc<[usize]>,
}

impl CustomOp1 for MaskedMean {
    fn name(&self) -> &'static str {
        "masked-mean"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, time, d) = layout.shape().dims3()?;
        with_real!(dtype(x), T => {
            let x = slice::<T>(x, layout)?;
            let mut mean = vec![T::default(); batch * d];
            let rows = mean.chunks_exact_mut(d).zip(x.chunks_exact(time * d));
            for ((mean, x), length) in rows.zip(&*self.lengths) {
                x.chunks_exact(d).take(*length).for_each(|row| accumulate(mean, row));
                let count = T::from_f64((*length).max(1) as f64);
                mean.iter_mut().for_each(|sum| *sum /= count);
            }
            Ok(output(mean, &Shape::from((batch, d))))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, time, d) = x.dims3()?;
        with_real!(grad.dtype(), T => {
            let mut dx = vec![T::default(); x.elem_count()];
            read::<T, _>(grad, |grad| {
                let rows = dx.chunks_exact_mut(time * d).zip(grad.chunks_exact(d));
                for ((dx, grad), length) in rows.zip(&*self.lengths) {
                    let count = T::from_f64((*length).max(1) as f64);
                    for row in dx.chunks_exact_mut(d).take(*length) {
                        row.iter_mut().zip(grad).for_each(|(dx, g)| *dx = *g / count);
                    }
                }
            })?;
            Ok(Some(tensor(dx, x.shape())?))
        })
    }
}

/// Each channel of `x` (`[batch, time, channels]`) convolved over time with its own kernel
/// (`[channels, 1, taps]`) plus a bias (`[channels]`); a position sees itself and those before it.
pub(super) struct CausalConvolution;

impl CustomOp3 for CausalConvolution {
    fn name(&self) -> &'static str {
        "causal-convolution"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        kernel: &CpuStorage,
        kl: &Layout,
        bias: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, time, channels) = xl.shape().dims3()?;
        let taps = kl.shape().dims3()?.2;
        with_real!(dtype(x), T => {
            let (x, bias) = (slice::<T>(x, xl)?, slice::<T>(bias, bl)?);
            let by_tap = transpose(slice::<T>(kernel, kl)?, channels, taps);
            let mut y = Vec::with_capacity(x.len());
            for sequence in x.chunks_exact(time * channels) {
                for at in 0..time {
                    y.extend_from_slice(bias);
                    let out = y.len() - channels;
                    for (tap, weights) in by_tap.chunks_exact(channels).enumerate() {
                        let Some(from) = (at + tap + 1).checked_sub(taps) else { continue };
                        let row = &sequence[from * channels..][..channels];
                        let terms = row.iter().zip(weights);
                        y[out..].iter_mut().zip(terms).for_each(|(y, (x, w))| *y += *x * *w);
                    }
                }
            }
            Ok(output(y, xl.shape()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, time, channels) = x.dims3()?;
        let taps = kernel.dim(2)?;
        if channels == 0 {
            bail!("a convolution without channels");
        }
        with_real!(grad.dtype(), T => {
            let mut dx = vec![T::default(); x.elem_count()];
            let mut dk = vec![T::default(); taps * channels];
            let mut db = vec![T::default(); channels];
            read::<T, _>(x, |x| read::<T, _>(kernel, |kernel| read::<T, _>(grad, |grad| {
                let by_tap = transpose(kernel, channels, taps);
                let block = time * channels;
                let sequences = x.chunks_exact(block).zip(grad.chunks_exact(block));
                for ((x, grad), dx) in sequences.zip(dx.chunks_exact_mut(block)) {
                    for (at, g) in grad.chunks_exact(channels).enumerate() {
                        accumulate(&mut db, g);
                        for tap in 0..taps {
                            let Some(from) = (at + tap + 1).checked_sub(taps) else { continue };
                            let (x, dx) = (&x[from * channels..], &mut dx[from * channels..]);
                            let (w, dk) = (&by_tap[tap * channels..], &mut dk[tap * channels..]);
                            for channel in 0..channels {
                                dx[channel] += g[channel] * w[channel];
                                dk[channel] += g[channel] * x[channel];
                            }
                        }
                    }
                }
            })))???;
            let dk = tensor(transpose(&dk, taps, channels), kernel.shape())?;
            Ok((Some(tensor(dx, x.shape())?), Some(dk), Some(tensor(db, channels)?)))
        })
    }
}

/// `[rows, columns]` to `[columns, rows]`.
pub(crate) fn transpose<T: Copy>(x: &[T], rows: usize, columns: usize) -> Vec<T> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| x[row * columns + column]))
        .collect()
}
