//! Golden vectors that the packer supplies as a file.

use std::collections::BTreeMap;
use std::path::Path;

use amphora_bundle::manifest::GoldenKind;
use amphora_checkpoint::{Limits, Safetensors};
use amphora_error::{Error, Result, printable, quoted};
use amphora_files::OpenedFile;
use amphora_onnx::{Contract, Dim, Dtype, TensorSpec};
use amphora_runtime::{Tensor, from_npz};
use bytes::Bytes;

use super::file::from_stored;
use super::{Batch, Golden};
use crate::numeric::is_whole;

/// Largest file accepted, in bytes.
const MAX_FILE: u64 = 1 << 30;
/// The first bytes of a ZIP archive, which every `.npz` is.
const ZIP: &[u8] = b"PK\x03\x04";

impl Golden {
    /// Reads a `.safetensors` or `.npz` file whose arrays are named after the graph's inputs and
    /// outputs and form one batch.
    ///
    /// When every input and output of `contract` starts with the same symbolic dimension, each row
    /// is a case. Integers and booleans may be stored narrower than the graph's integers and are
    /// widened, which [`Golden::notes`] tells; reference outputs of floating-point numbers may be
    /// stored in any floating-point type.
    ///
    /// # Errors
    ///
    /// Malformed when the file is neither format; incompatible (`golden-contract`) listing every
    /// missing, unknown, mistyped or misshapen array.
    pub fn supplied(path: impl AsRef<Path>, contract: &Contract) -> Result<Self> {
        let path = path.as_ref();
        let bytes = OpenedFile::open(path)?.contents(MAX_FILE)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let arrays = read(&bytes).map_err(|error| error.in_file(path))?;
        Self::from_arrays(arrays, contract, &printable(&name)).map_err(|error| error.in_file(path))
    }

    fn from_arrays(
        mut arrays: BTreeMap<String, Tensor>,
        contract: &Contract,
        file: &str,
    ) -> Result<Self> {
        let mut faults = Vec::new();
        let mut notes = Vec::new();
        let mut bound = BTreeMap::new();
        let mut take = |spec: &TensorSpec, output: bool| {
            let name = quoted(&spec.name);
            let Some(array) = arrays.remove(&spec.name) else {
                faults.push(format!("{name} is missing"));
                return None;
            };
            faults.extend(
                shape_faults(spec, array.shape(), &mut bound)
                    .into_iter()
                    .map(|fault| format!("{name}: {fault}")),
            );
            let found = array.dtype();
            match fitted(array, spec.dtype, output) {
                Some((array, widened)) => {
                    if widened {
                        notes.push(format!("{name} was widened from {found} to {}", spec.dtype));
                    }
                    Some((spec.name.clone(), array))
                }
                None => {
                    faults.push(format!("{name}: expected {}, found {found}", spec.dtype));
                    None
                }
            }
        };
        let inputs = contract
            .inputs
            .iter()
            .filter_map(|spec| take(spec, false))
            .collect();
        let outputs = contract
            .outputs
            .iter()
            .filter_map(|spec| take(spec, true))
            .collect();
        let unknown = arrays.keys();
        faults.extend(
            unknown.map(|name| format!("{} is neither an input nor an output", quoted(name))),
        );
        if !faults.is_empty() {
            return Err(Error::incompatible(
                "golden-contract",
                "the golden vectors do not fit the graph",
            )
            .faults(faults)
            .hint("name each array after an input or output of the graph (amphora contract MODEL lists them)"));
        }
        let mut batch = Batch {
            inputs,
            outputs,
            stacked: None,
            rounding_margin: None,
        };
        batch.stacked = stacked(&batch, contract);
        Ok(Self {
            kind: GoldenKind::Supplied,
            producer: format!("the file {file}"),
            seed: None,
            batches: vec![batch],
            notes,
            scaled: false,
        })
    }
}

fn read(bytes: &Bytes) -> Result<BTreeMap<String, Tensor>> {
    if bytes.starts_with(ZIP) {
        return from_npz(bytes, MAX_FILE);
    }
    let file = Safetensors::from_bytes(bytes, &Limits::default())?;
    let tensors = file.tensors.iter();
    tensors
        .map(|(name, stored)| {
            let tensor = from_stored(stored)
                .map_err(|error| error.at(format!("tensor {}", quoted(name))))?;
            Ok((name.clone(), tensor))
        })
        .collect()
}

/// The number of rows, when all inputs and outputs start with the same symbolic dimension.
fn stacked(batch: &Batch, contract: &Contract) -> Option<usize> {
    let first = |spec: &TensorSpec| match spec.shape.as_deref()?.first()? {
        Dim::Symbol(name) => Some(name.clone()),
        Dim::Fixed(_) | Dim::Unknown => None,
    };
    let mut specs = contract.inputs.iter().chain(&contract.outputs);
    let symbol = first(specs.next()?)?;
    if !specs.all(|spec| first(spec).as_ref() == Some(&symbol)) {
        return None;
    }
    let mut tensors = batch.inputs.values().chain(batch.outputs.values());
    let rows = tensors
        .next()?
        .shape()
        .first()
        .copied()
        .filter(|rows| *rows > 0)?;
    tensors
        .all(|tensor| tensor.shape().first() == Some(&rows))
        .then_some(rows)
}

/// `array` as `wanted`, and whether it was widened for that; `None` when it cannot be.
fn fitted(array: Tensor, wanted: Dtype, output: bool) -> Option<(Tensor, bool)> {
    let found = array.dtype();
    if found == wanted {
        return Some((array, false));
    }
    let real = |dtype| {
        matches!(
            dtype,
            Dtype::Float16 | Dtype::Bfloat16 | Dtype::Float32 | Dtype::Float64
        )
    };
    if output && real(found) && real(wanted) {
        return Some((array, false));
    }
    if !is_whole(found) || !is_whole(wanted) || wanted == Dtype::Bool || !fits(found, wanted) {
        return None;
    }
    let values = array.to_f64()?;
    let shape = array.shape();
    let widened = match wanted {
        Dtype::Int16 => Tensor::new(shape, values.iter().map(|v| *v as i16).collect::<Vec<_>>()),
        Dtype::Int32 => Tensor::new(shape, values.iter().map(|v| *v as i32).collect::<Vec<_>>()),
        Dtype::Int64 => Tensor::new(shape, values.iter().map(|v| *v as i64).collect::<Vec<_>>()),
        Dtype::Uint16 => Tensor::new(shape, values.iter().map(|v| *v as u16).collect::<Vec<_>>()),
        Dtype::Uint32 => Tensor::new(shape, values.iter().map(|v| *v as u32).collect::<Vec<_>>()),
        Dtype::Uint64 => Tensor::new(shape, values.iter().map(|v| *v as u64).collect::<Vec<_>>()),
        _ => return None,
    };
    Some((widened.ok()?, true))
}

/// Whether every value of the integer type `from` is one of `to`; both at most 32 bits wide where
/// values pass through f64.
fn fits(from: Dtype, to: Dtype) -> bool {
    let signed = |dtype| {
        matches!(
            dtype,
            Dtype::Int8 | Dtype::Int16 | Dtype::Int32 | Dtype::Int64
        )
    };
    match (from, signed(from), signed(to)) {
        (Dtype::Bool, _, _) => true,
        (_, true, false) => false,
        (_, false, true) | (_, true, true) | (_, false, false) => from.bits() < to.bits(),
    }
}

fn shape_faults(
    spec: &TensorSpec,
    shape: &[usize],
    bound: &mut BTreeMap<String, usize>,
) -> Vec<String> {
    let Some(dims) = &spec.shape else {
        return Vec::new();
    };
    if dims.len() != shape.len() {
        return vec![format!(
            "expected rank {}, found shape {shape:?}",
            dims.len()
        )];
    }
    let pairs = dims.iter().zip(shape).enumerate();
    pairs
        .filter_map(|(axis, (dim, &size))| match dim {
            Dim::Fixed(fixed) if *fixed != size as u64 => {
                Some(format!("dimension {axis}: expected {fixed}, found {size}"))
            }
            Dim::Symbol(symbol) => {
                let other = *bound.entry(symbol.clone()).or_insert(size);
                (other != size).then(|| {
                    format!(
                        "dimension {axis} ({}): expected {other} as elsewhere, found {size}",
                        printable(symbol)
                    )
                })
            }
            Dim::Fixed(_) | Dim::Unknown => None,
        })
        .collect()
}
