//! Tensors of safetensors files, which `amphora-checkpoint` reads and writes.

use std::collections::BTreeMap;
use std::path::Path;

use amphora_checkpoint::{self as checkpoint, Limits, Safetensors};
use amphora_error::{Error, Result, quoted};
use amphora_files::OpenedFile;
use amphora_onnx::Dtype;

use super::Tensor;

/// Reads every tensor of a safetensors file that a person named, by name. The file may be at most
/// `limit` bytes.
pub fn read_safetensors(path: impl AsRef<Path>, limit: u64) -> Result<BTreeMap<String, Tensor>> {
    let path = path.as_ref();
    let bytes = OpenedFile::open(path)?.contents(limit)?;
    let read = || -> Result<BTreeMap<String, Tensor>> {
        let file = Safetensors::from_bytes(&bytes, &Limits::default())?;
        let tensors = file.tensors.iter();
        tensors
            .map(|(name, tensor)| {
                let tensor = Tensor::try_from(tensor);
                let tensor = tensor.map_err(|e| e.at(format!("tensor {}", quoted(name))))?;
                Ok((name.clone(), tensor))
            })
            .collect()
    };
    read().map_err(|error| error.in_file(path))
}

/// Element types of the two formats that are the same.
const DTYPES: [(checkpoint::Dtype, Dtype); 13] = [
    (checkpoint::Dtype::Bool, Dtype::Bool),
    (checkpoint::Dtype::U8, Dtype::Uint8),
    (checkpoint::Dtype::I8, Dtype::Int8),
    (checkpoint::Dtype::U16, Dtype::Uint16),
    (checkpoint::Dtype::I16, Dtype::Int16),
    (checkpoint::Dtype::U32, Dtype::Uint32),
    (checkpoint::Dtype::I32, Dtype::Int32),
    (checkpoint::Dtype::U64, Dtype::Uint64),
    (checkpoint::Dtype::I64, Dtype::Int64),
    (checkpoint::Dtype::F16, Dtype::Float16),
    (checkpoint::Dtype::BF16, Dtype::Bfloat16),
    (checkpoint::Dtype::F32, Dtype::Float32),
    (checkpoint::Dtype::F64, Dtype::Float64),
];

impl TryFrom<&checkpoint::Tensor> for Tensor {
    type Error = Error;

    fn try_from(tensor: &checkpoint::Tensor) -> Result<Self> {
        let found = DTYPES.iter().find(|(dtype, _)| *dtype == tensor.dtype());
        let (_, dtype) = found.ok_or_else(|| {
            Error::unsupported(
                "tensor-dtype",
                format!("the element type {} is unknown here", tensor.dtype()),
            )
        })?;
        let shape: Option<Vec<usize>> = tensor
            .shape()
            .iter()
            .map(|&dim| usize::try_from(dim).ok())
            .collect();
        let shape = shape
            .ok_or_else(|| Error::limit("tensor-elements", "a dimension is larger than memory"))?;
        Self::from_le_bytes(*dtype, shape, &tensor.data()?)
    }
}

impl TryFrom<&Tensor> for checkpoint::Tensor {
    type Error = Error;

    /// Refuses element types that safetensors files have no name for here: strings, complex numbers
    /// and everything packed.
    fn try_from(tensor: &Tensor) -> Result<Self> {
        let found = DTYPES.iter().find(|(_, dtype)| *dtype == tensor.dtype());
        let (dtype, _) = found.ok_or_else(|| {
            Error::unsupported(
                "tensor-dtype",
                format!(
                    "a tensor of type {} cannot be stored as safetensors",
                    tensor.dtype()
                ),
            )
        })?;
        let shape = tensor.shape().iter().map(|&dim| dim as u64).collect();
        Self::new(*dtype, shape, tensor.to_le_bytes()?.into())
    }
}
