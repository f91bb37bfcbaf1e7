//! The layers that the architectures share, each written from its definition.
//!
//! candle's own LayerNorm and RMSNorm take an f32 epsilon or refuse f64, and its `round` rounds
//! half away from zero; the three are therefore spelled out here.

use amphora_checkpoint::architecture::Activation;
use amphora_error::Error;
use candle_core::{D, DType, Device, Tensor};

/// Wraps an error of candle met while evaluating `what`.
pub(crate) fn evaluating(what: &'static str) -> impl Fn(candle_core::Error) -> Error {
    move |source| {
        let text = source.to_string();
        let reason = text.lines().next().unwrap_or_default().to_owned();
        Error::internal(
            "reference-arithmetic",
            format!("the reference forward pass failed in {what}: {reason}"),
        )
    }
}

/// `x W^T + b`, with `W` of shape `[out, in]` as PyTorch stores it.
pub(crate) struct Linear {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
}

impl Linear {
    /// `x` of shape `[.., in]` to `[.., out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (outputs, inputs) = self.weight.dims2()?;
        let mut shape = x.dims().to_vec();
        let rows = x.elem_count() / inputs.max(1);
        let y = x.reshape((rows, inputs))?.matmul(&self.weight.t()?)?;
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        y.reshape(shape)
    }
}

/// Layer normalization over the last dimension: `(x - mean) / sqrt(var + eps) * weight + bias`
/// with the biased variance (Ba et al. 2016, as `torch.nn.LayerNorm`).
pub(crate) struct LayerNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) eps: f64,
}

impl LayerNorm {
    pub(crate) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
        centered
            .broadcast_div(&(variance + self.eps)?.sqrt()?)?
            .broadcast_mul(&self.weight)?
            .broadcast_add(&self.bias)
    }
}

/// Root-mean-square normalization over the last dimension: `x / sqrt(mean(x^2) + eps) * weight`
/// (Zhang and Sennrich 2019).
pub(crate) struct RmsNorm {
    pub(crate) weight: Tensor,
    pub(crate) eps: f64,
}

impl RmsNorm {
    pub(crate) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
        x.broadcast_div(&(mean + self.eps)?.sqrt()?)?
            .broadcast_mul(&self.weight)
    }
}

/// `exp(x - max) / sum` over the last dimension.
pub(crate) fn softmax(x: &Tensor) -> candle_core::Result<Tensor> {
    let e = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

/// The rows of `table` (`[vocabulary, d]`) that `ids` (u32, `[batch, time]`) name: `[batch, time, d]`.
pub(crate) fn embed(table: &Tensor, ids: &Tensor) -> candle_core::Result<Tensor> {
    let (batch, time) = ids.dims2()?;
    table
        .index_select(&ids.flatten_all()?, 0)?
        .reshape((batch, time, table.dim(1)?))
}

/// Rounds half to even, as `torch.round` and the ONNX operator `Round` do.
pub(crate) fn round_half_even(x: &Tensor) -> candle_core::Result<Tensor> {
    let values: Vec<f64> = x
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1::<f64>()?
        .into_iter()
        .map(f64::round_ties_even)
        .collect();
    Tensor::from_vec(values, x.shape(), &Device::Cpu)?.to_dtype(x.dtype())
}

/// `softmax(q k^T / sqrt(d) + bias) v` for `q`, `k`, `v` of shape `[batch, heads, time, d]` and a
/// `bias` that broadcasts to `[batch, heads, time, time]`.
pub(crate) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    bias: &Tensor,
) -> candle_core::Result<Tensor> {
    let width = q.dim(D::Minus1)? as f64;
    let scores = (q
        .contiguous()?
        .matmul(&k.transpose(D::Minus1, D::Minus2)?.contiguous()?)?
        / width.sqrt())?;
    softmax(&scores.broadcast_add(bias)?)?.matmul(&v.contiguous()?)
}

/// An element-wise function. The tanh form of GELU is spelled out: candle's own multiplies in another
/// order.
pub(crate) fn activate(activation: Activation, x: &Tensor) -> candle_core::Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => {
            let inner = (x + (x.powf(3.0)? * 0.044_715)?)?;
            let bent = (inner * (2.0 / std::f64::consts::PI).sqrt())?.tanh()?;
            (x * 0.5)? * (bent + 1.0)?
        }
        Activation::Relu => x.relu(),
        Activation::Silu => x / (x.neg()?.exp()? + 1.0)?,
        Activation::Tanh => x.tanh(),
    }
}

/// The mean over time of the positions whose mask is 1: `[batch, time, d]` to `[batch, d]`. A row
/// without any such position gives zeros.
pub(crate) fn masked_mean(x: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
    let mask = mask.unsqueeze(D::Minus1)?;
    let total = x.broadcast_mul(&mask)?.sum(1)?;
    total.broadcast_div(&mask.sum(1)?.maximum(1.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_the_even_neighbor() {
        let x = Tensor::new(&[-2.5f64, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4999], &Device::Cpu).unwrap();
        let rounded = round_half_even(&x).unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(rounded, [-2., -2., 0., 0., 2., 2., 2.]);
    }

    #[test]
    fn a_row_without_tokens_has_a_zero_mean() {
        let x = Tensor::ones((1, 2, 3), DType::F64, &Device::Cpu).unwrap();
        let mask = Tensor::zeros((1, 2), DType::F64, &Device::Cpu).unwrap();
        let mean = masked_mean(&x, &mask).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(mean, [[0.0; 3]]);
    }
}
