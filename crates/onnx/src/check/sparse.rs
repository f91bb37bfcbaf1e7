//! Sparse tensors: where their values lie.

use amphora_error::{Error, Result};

use super::Checker;
use crate::Dtype;
use crate::proto::{SparseTensorProto, TensorProto};
use crate::visit::Place;

impl Checker<'_> {
    pub(super) fn sparse(&mut self, pair: &SparseTensorProto, what: &str, place: &Place<'_>) {
        if let Err(error) = self.sparse_layout(pair) {
            let message = format!("{what}: {error}");
            self.findings.malformed(error.rule(), place, message);
        }
    }

    /// The rules of `SparseTensorProto` in `onnx.proto3`: values of rank 1; indices ascending, either
    /// one linear index or one index per dimension for each value.
    fn sparse_layout(&self, pair: &SparseTensorProto) -> Result<()> {
        let broken = |message: &str| Err(Error::malformed("sparse-tensor", message));
        let Some(values) = &pair.values else {
            return broken("there are no values");
        };
        let [count] = values.dims[..] else {
            return broken("the values have not exactly one dimension");
        };
        if pair.dims.is_empty() || pair.dims.iter().any(|dim| *dim <= 0) {
            return broken("the dimensions are not all positive");
        }
        if pair.dims.len() > self.limits.rank {
            return broken("there are too many dimensions");
        }
        let Some(indices) = &pair.indices else {
            return match count {
                0 => Ok(()),
                _ => broken("there are no indices"),
            };
        };
        if indices.data_type != Some(Dtype::Int64.to_onnx()) {
            return broken("the indices are not int64");
        }
        let rank = pair.dims.len();
        let linear = match indices.dims[..] {
            [n] if n == count => true,
            [n, r] if n == count && usize::try_from(r) == Ok(rank) => false,
            _ => return broken("the shape of the indices fits neither values nor dimensions"),
        };
        let size = pair
            .dims
            .iter()
            .try_fold(1_i64, |size, dim| size.checked_mul(*dim));
        let Some(size) = size else {
            return broken("the dimensions exceed 64 bits");
        };
        let mut previous = -1;
        let dims: &[i64] = if linear { &[size] } else { &pair.dims };
        for row in self.int64s(indices)?.chunks(dims.len()) {
            let mut position = 0;
            for (index, dim) in row.iter().zip(dims) {
                if !(0..*dim).contains(index) {
                    return broken("an index is out of range");
                }
                // Below `size`, which fits.
                position = position * dim + index;
            }
            if position <= previous {
                return broken("the indices are not in ascending order");
            }
            previous = position;
        }
        Ok(())
    }

    fn int64s(&self, tensor: &TensorProto) -> Result<Vec<i64>> {
        let bytes = self.model.tensor_bytes(tensor)?;
        let (values, _) = bytes.as_chunks::<8>();
        Ok(values
            .iter()
            .map(|value| i64::from_le_bytes(*value))
            .collect())
    }
}
