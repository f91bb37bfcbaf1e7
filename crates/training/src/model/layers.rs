//! Layers with a hand-written gradient: one pass over memory where candle's own operators take ten.
//!
//! Every sum over rows runs in the order of the rows and never over threads, so that the result does
//! not depend on their number.

use std::sync::Arc;

use candle_core::WithDType as _;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::op::{
    accumulate, dtype, output, read, slice, sum, tensor, vectorized, width, with_real,
};
use super::real::Real;

/// `x W^T + b` with `W` of shape `[out, in]`; `x` is `[.., in]`.
pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    let rows = x.elem_count() / inputs.max(1);
    let y = x.reshape((rows, inputs))?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.apply_op2(bias, AddRow)?,
        None => y,
    };
    y.reshape(shape)
}

/// `x` (`[.., n]`) plus the same row (`[n]`) everywhere.
pub(super) struct AddRow;

impl CustomOp2 for AddRow {
    fn name(&self) -> &'static str {
        "add-row"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        row: &CpuStorage,
        rl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_real!(dtype(x), T => {
            let (mut y, row) = (slice::<T>(x, xl)?.to_vec(), slice::<T>(row, rl)?);
            y.chunks_exact_mut(row.len().max(1)).for_each(|y| accumulate(y, row));
            Ok(output(y, xl.shape()))
        })
    }

    fn bwd(
        &self,
        _: &Tensor,
        row: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let sum = with_real!(grad.dtype(), T => {
            let mut total = vec![T::default(); row.elem_count()];
            read::<T, _>(grad, |grad| {
                grad.chunks_exact(total.len().max(1)).for_each(|row| accumulate(&mut total, row));
            })?;
            tensor(total, row.shape())?
        });
        Ok((Some(grad.clone()), Some(sum)))
    }
}

/// Layer normalization over the last dimension with the biased variance (Ba et al. 2016).
pub(super) struct LayerNorm {
    pub(super) eps: f64,
}

/// Mean and inverse standard deviation of a row.
#[inline(always)]
fn moments<T: Real>(row: &[T], eps: T) -> (T, T) {
    let count = T::from_f64(row.len() as f64);
    let mean = sum(row, row, |x, _| x) / count;
    let squares = sum(row, row, |x, _| (x - mean) * (x - mean));
    (mean, T::one() / Real::sqrt(squares / count + eps))
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        weight: &CpuStorage,
        wl: &Layout,
        bias: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_real!(dtype(x), T => {
            let (weight, bias) = (slice::<T>(weight, wl)?, slice::<T>(bias, bl)?);
            let mut y = slice::<T>(x, xl)?.to_vec();
            vectorized(|| {
                for row in y.chunks_exact_mut(width(xl.shape())) {
                    let (mean, scale) = moments(row, T::from_f64(self.eps));
                    for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
                        *x = (*x - mean) * scale * *w + *b;
                    }
                }
            });
            Ok(output(y, xl.shape()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        with_real!(grad.dtype(), T => {
            let n = width(x.shape());
            let (mut dw, mut db) = (vec![T::default(); n], vec![T::default(); n]);
            let dx = read::<T, _>(x, |x| read::<T, _>(weight, |weight| read::<T, _>(grad, |grad| {
                let mut dx = grad.to_vec();
                vectorized(|| {
                    for (dx, x) in dx.chunks_exact_mut(n).zip(x.chunks_exact(n)) {
                        accumulate(&mut db, dx);
                        layer_norm_row(dx, x, weight, &mut dw, T::from_f64(self.eps));
                    }
                });
                dx
            })))???;
            let (dw, db) = (tensor(dw, n)?, tensor(db, n)?);
            Ok((Some(tensor(dx, x.shape())?), Some(dw), Some(db)))
        })
    }
}

/// Turns a row's gradient of the result into that of the argument and adds to that of the weight.
#[inline(always)]
fn layer_norm_row<T: Real>(dx: &mut [T], x: &[T], weight: &[T], dw: &mut [T], eps: T) {
    let (mean, scale) = moments(x, eps);
    let count = T::from_f64(x.len() as f64);
    for (((g, x), w), dw) in dx.iter_mut().zip(x).zip(weight).zip(dw) {
        *dw += *g * (*x - mean) * scale;
        *g *= *w;
    }
    let level = sum(dx, x, |g, _| g) / count;
    let along = sum(dx, x, |g, x| g * (x - mean)) * scale * scale / count;
    for (g, x) in dx.iter_mut().zip(x) {
        *g = (*g - level - (*x - mean) * along) * scale;
    }
}

/// Root-mean-square normalization over the last dimension (Zhang and Sennrich 2019).
pub(super) struct RmsNorm {
    pub(super) eps: f64,
}

impl RmsNorm {
    fn scale<T: Real>(&self, row: &[T]) -> T {
        let squares = sum(row, row, |x, y| x * y);
        let mean = squares / T::from_f64(row.len() as f64);
        T::one() / Real::sqrt(mean + T::from_f64(self.eps))
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        weight: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_real!(dtype(x), T => {
            let weight = slice::<T>(weight, wl)?;
            let mut y = slice::<T>(x, xl)?.to_vec();
            for row in y.chunks_exact_mut(width(xl.shape())) {
                let scale = self.scale(row);
                for (x, w) in row.iter_mut().zip(weight) {
                    *x = *x * scale * *w;
                }
            }
            Ok(output(y, xl.shape()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        with_real!(grad.dtype(), T => {
            let n = width(x.shape());
            let count = T::from_f64(n as f64);
            let mut dw = vec![T::default(); n];
            let dx = read::<T, _>(x, |x| read::<T, _>(weight, |weight| read::<T, _>(grad, |grad| {
                let mut dx = grad.to_vec();
                for (dx, x) in dx.chunks_exact_mut(n).zip(x.chunks_exact(n)) {
                    let scale = self.scale(x);
                    for (((g, x), w), dw) in dx.iter_mut().zip(x).zip(weight).zip(&mut dw) {
                        *dw += *g * *x * scale;
                        *g *= *w;
                    }
                    let along = sum(dx, x, |g, x| g * x) * scale * scale / count;
                    for (g, x) in dx.iter_mut().zip(x) {
                        *g = (*g - *x * along) * scale;
                    }
                }
                dx
            })))???;
            Ok((Some(tensor(dx, x.shape())?), Some(tensor(dw, n)?)))
        })
    }
}

/// A function of single elements with its derivative.
#[derive(Clone, Copy)]
pub(super) enum Activation {
    /// `x Phi(x)` (Hendrycks and Gimpel 2016), exact.
    Gelu,
    /// `x / (1 + e^-x)`.
    Silu,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    #[inline(always)]
    fn value<T: Real>(self, x: T) -> T {
        match self {
            Self::Gelu => x * normal_cdf(x),
            Self::Silu => x * sigmoid(x),
            Self::Relu => x.largest(T::zero()),
        }
    }

    #[inline(always)]
    fn derivative<T: Real>(self, x: T) -> T {
        match self {
            Self::Gelu => {
                let density = Real::exp(x * x * T::from_f64(-0.5)) * T::from_f64(INV_SQRT_TAU);
                normal_cdf(x) + x * density
            }
            Self::Silu => {
                let s = sigmoid(x);
                s * (T::one() + x * (T::one() - s))
            }
            Self::Relu if x > T::zero() => T::one(),
            Self::Relu => T::zero(),
        }
    }
}

/// Elements that one task computes.
const CHUNK: usize = 1 << 14;

/// Replaces every element by `f` of it.
fn map<T: Real>(values: &mut [T], f: impl Fn(T) -> T + Sync) {
    values
        .par_chunks_mut(CHUNK)
        .for_each(|values| vectorized(|| values.iter_mut().for_each(|x| *x = f(*x))));
}

/// Multiplies every element by `f` of its argument.
fn scale<T: Real>(values: &mut [T], arguments: &[T], f: impl Fn(T) -> T + Sync) {
    values
        .par_chunks_mut(CHUNK)
        .zip(arguments.par_chunks(CHUNK))
        .for_each(|(values, arguments)| {
            vectorized(|| {
                for (value, argument) in values.iter_mut().zip(arguments) {
                    *value *= f(*argument);
                }
            });
        });
}

/// `1 / sqrt(2 pi)`.
const INV_SQRT_TAU: f64 = 0.398_942_280_401_432_7;

#[inline(always)]
fn normal_cdf<T: Real>(x: T) -> T {
    let half = T::from_f64(0.5);
    half + half * Real::erf(x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + Real::exp(-x))
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!(dtype(x), T => {
            let mut y = slice::<T>(x, xl)?.to_vec();
            match self {
                Self::Gelu => map(&mut y, |x| Self::Gelu.value(x)),
                Self::Silu => map(&mut y, |x| Self::Silu.value(x)),
                Self::Relu => map(&mut y, |x| Self::Relu.value(x)),
            }
            Ok(output(y, xl.shape()))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        with_real!(grad.dtype(), T => {
            let dx = read::<T, _>(x, |x| read::<T, _>(grad, |grad| {
                let mut dx = grad.to_vec();
                match self {
                    Self::Gelu => scale(&mut dx, x, |x| Self::Gelu.derivative(x)),
                    Self::Silu => scale(&mut dx, x, |x| Self::Silu.derivative(x)),
                    Self::Relu => scale(&mut dx, x, |x| Self::Relu.derivative(x)),
                }
                dx
            }))??;
            Ok(Some(tensor(dx, x.shape())?))
        })
    }
}

/// `silu(gate) * up` (Shazeer 2020): `[.., 2 n]`, the gate first, to `[.., n]`.
pub(super) struct SwiGlu;

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        let n = width(xl.shape()) / 2;
        let mut shape = xl.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = n;
        }
        with_real!(dtype(x), T => {
            let x = slice::<T>(x, xl)?;
            let mut y = Vec::with_capacity(x.len() / 2);
            for row in x.chunks_exact(2 * n) {
                let (gate, up) = row.split_at(n);
                y.extend(gate.iter().zip(up).map(|(g, u)| Activation::Silu.value(*g) * *u));
            }
            Ok(output(y, &Shape::from(shape)))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let n = width(x.shape()) / 2;
        with_real!(grad.dtype(), T => {
            let dx = read::<T, _>(x, |x| read::<T, _>(grad, |grad| {
                let mut dx = x.to_vec();
                for (dx, grad) in dx.chunks_exact_mut(2 * n).zip(grad.chunks_exact(n)) {
                    let (gate, up) = dx.split_at_mut(n);
                    for ((gate, up), g) in gate.iter_mut().zip(up).zip(grad) {
                        let value = Activation::Silu.value(*gate);
                        *gate = *g * *up * Activation::Silu.derivative(*gate);
                        *up = *g * value;
                    }
                }
                dx
            }))??;
            Ok(Some(tensor(dx, x.shape())?))
        })
    }
}

/// Inverted dropout (Srivastava et al. 2014): dropped elements become zero, the others grow by
/// `scale`.
pub(super) struct Dropout {
    pub(super) kept: Arc<[bool]>,
    pub(super) scale: f64,
}

impl Dropout {
    fn apply<T: Real>(&self, x: &[T]) -> Vec<T> {
        let scale = T::from_f64(self.scale);
        let factor = |kept: &bool| if *kept { scale } else { T::zero() };
        x.iter()
            .zip(&*self.kept)
            .map(|(x, kept)| *x * factor(kept))
            .collect()
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!(dtype(x), T => Ok(output(self.apply(slice::<T>(x, xl)?), xl.shape())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        with_real!(grad.dtype(), T => {
            let dx = read::<T, _>(grad, |grad| self.apply(grad))?;
            Ok(Some(tensor(dx, grad.shape())?))
        })
    }
}
