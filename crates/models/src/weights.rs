//! The weights of a checkpoint as candle tensors of one precision.

use amphora_checkpoint::{Tensor as Stored, architecture};
use amphora_error::{Error, Result};
use candle_core::{Device, Tensor};

use crate::Precision;
use crate::layers::{LayerNorm, Linear, RmsNorm, evaluating};

pub(crate) struct Weights<'a> {
    pub(crate) bound: architecture::Weights<'a>,
    pub(crate) precision: Precision,
}

impl Weights<'_> {
    /// A required parameter.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        self.convert(self.bound.required(name)?)
    }

    /// A buffer that a checkpoint may leave out; then `computed` (f64) is rounded to f32 first, as
    /// PyTorch registers its buffers.
    pub(crate) fn buffer(
        &self,
        name: &str,
        shape: &[usize],
        computed: impl FnOnce() -> Vec<f64>,
    ) -> Result<Tensor> {
        match self.bound.get(name) {
            Some(stored) => self.convert(stored),
            None => Tensor::from_vec(computed(), shape, &Device::Cpu)
                .and_then(|t| t.to_dtype(candle_core::DType::F32)?.to_dtype(self.dtype()))
                .map_err(evaluating("a buffer")),
        }
    }

    pub(crate) fn linear(&self, prefix: &str) -> Result<Linear> {
        Ok(Linear {
            weight: self.tensor(&format!("{prefix}.weight"))?,
            bias: Some(self.tensor(&format!("{prefix}.bias"))?),
        })
    }

    pub(crate) fn linear_without_bias(&self, prefix: &str) -> Result<Linear> {
        Ok(Linear {
            weight: self.tensor(&format!("{prefix}.weight"))?,
            bias: None,
        })
    }

    pub(crate) fn layer_norm(&self, prefix: &str, eps: f64) -> Result<LayerNorm> {
        Ok(LayerNorm {
            weight: self.tensor(&format!("{prefix}.weight"))?,
            bias: self.tensor(&format!("{prefix}.bias"))?,
            eps,
        })
    }

    pub(crate) fn rms_norm(&self, prefix: &str, eps: f64) -> Result<RmsNorm> {
        Ok(RmsNorm {
            weight: self.tensor(&format!("{prefix}.weight"))?,
            eps,
        })
    }

    /// One linear layer per head, named after its output.
    pub(crate) fn heads(&self, heads: &[architecture::Head]) -> Result<Vec<(String, Linear)>> {
        heads
            .iter()
            .map(|head| {
                let linear = self.linear(&format!("{}_head", head.name))?;
                Ok((head.name.clone(), linear))
            })
            .collect()
    }

    fn dtype(&self) -> candle_core::DType {
        self.precision.dtype()
    }

    fn convert(&self, stored: &Stored) -> Result<Tensor> {
        let shape = stored
            .shape()
            .iter()
            .map(|&extent| size(extent))
            .collect::<Result<Vec<_>>>()?;
        match self.precision {
            Precision::F32 => Tensor::from_vec(stored.to_f32()?, shape, &Device::Cpu),
            Precision::F64 => Tensor::from_vec(stored.to_f64()?, shape, &Device::Cpu),
        }
        .map_err(evaluating("a weight"))
    }
}

/// A size of a configuration as this machine counts.
pub(crate) fn size(extent: u64) -> Result<usize> {
    usize::try_from(extent).map_err(|_| {
        Error::limit("size", "a size is larger than this machine can address")
            .found(extent.to_string())
    })
}
