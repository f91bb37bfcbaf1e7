//! What the fused layers share: reading tensors as slices of one of two float types.

use candle_core::{CpuStorage, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};

use super::real::Real;

/// Evaluates a body with `$real` bound to the float type of a tensor or storage.
macro_rules! with_real {
    ($dtype:expr, $real:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $real = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $real = f64;
                $body
            }
            other => candle_core::bail!("no layer computes in {other:?}"),
        }
    };
}
pub(super) use with_real;

/// The elements of a contiguous argument.
pub(super) fn slice<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => bail!("a layer needs contiguous arguments"),
    }
}

/// Runs `f` on the elements of `tensor` in row-major order.
pub(super) fn read<T: Real, R>(tensor: &Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(slice(storage, layout)?)),
        _ => bail!("a layer runs on the processor only"),
    }
}

/// A tensor on the processor out of row-major elements.
pub(super) fn tensor<T: Real>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// What a layer's forward pass returns to candle.
pub(super) fn output<T: Real>(values: Vec<T>, shape: &Shape) -> (CpuStorage, Shape) {
    (T::to_cpu_storage_owned(values), shape.clone())
}

/// The extent of the last dimension.
pub(super) fn width(shape: &Shape) -> usize {
    shape.dims().last().copied().unwrap_or(1).max(1)
}

/// Runs `f` compiled for the widest vectors of this processor. The operations and their order stay the
/// same, and so do the bits of the result.
#[inline(always)]
pub(crate) fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Adds `row` to `sum`, element by element.
#[inline(always)]
pub(super) fn accumulate<T: Real>(sum: &mut [T], row: &[T]) {
    for (sum, value) in sum.iter_mut().zip(row) {
        *sum += *value;
    }
}

/// The float type of a storage.
pub(super) fn dtype(storage: &CpuStorage) -> DType {
    use candle_core::backend::BackendStorage as _;
    storage.dtype()
}

/// The sum of `f` over the elements of two slices, in eight interleaved partial sums: a fixed order
/// that the compiler may vectorize.
#[inline(always)]
pub(super) fn sum<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    const LANES: usize = 8;
    let mut lanes = [T::default(); LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    let rest = rest.fold(T::default(), |sum, (a, b)| sum + f(*a, *b));
    for (a, b) in a.zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(*a, *b);
        }
    }
    lanes.iter().fold(rest, |sum, lane| sum + *lane)
}
