//! Golden vectors: inputs with the outputs that every engine must come close to.

mod draw;
mod file;
mod foreign;
mod random;
mod reference;
mod supplied;

use std::collections::BTreeMap;

use amphora_bundle::manifest::{self, GoldenKind, Tolerance};
use amphora_error::{Error, Result, quoted};
use amphora_files::RelativePath;
use amphora_onnx::{Contract, Dtype};
use amphora_runtime::Tensor;

pub use reference::ReferenceTime;

use crate::numeric::is_whole;

/// How many cases are recorded unless told otherwise.
pub const DEFAULT_CASES: usize = 100;
/// Fewer cases are recorded when their inputs would be larger than this together.
pub const MAX_BYTES: u64 = 16 << 20;
/// The seed of every drawing, so that packing twice gives the same bytes.
const SEED: u64 = 7;

/// Golden vectors of one graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    kind: GoldenKind,
    producer: String,
    seed: Option<u64>,
    batches: Vec<Batch>,
    notes: Vec<String>,
    /// Whether closeness is measured by the size of an output's values: hidden states and logits of
    /// language models have no natural unit.
    scaled: bool,
}

/// One set of inputs and the outputs that belong to them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    pub(crate) inputs: BTreeMap<String, Tensor>,
    pub(crate) outputs: BTreeMap<String, Tensor>,
    /// Cases stacked along the first dimension of every tensor; `None` when the batch is one case.
    pub(crate) stacked: Option<usize>,
    /// For a quantizing reference, one per case: the distance to the nearest rounding border.
    pub(crate) rounding_margin: Option<Vec<f64>>,
}

impl Batch {
    pub(crate) fn cases(&self) -> usize {
        self.stacked.unwrap_or(1)
    }
}

impl Golden {
    /// What agreement proves.
    pub fn kind(&self) -> GoldenKind {
        self.kind
    }

    /// Who computed the outputs.
    pub fn producer(&self) -> &str {
        &self.producer
    }

    /// How many cases there are.
    pub fn cases(&self) -> u64 {
        self.batches.iter().map(|batch| batch.cases() as u64).sum()
    }

    /// What was done to the vectors on the way in, for people: element types that were widened.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(crate) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// The policy for every output of `contract` that the vectors hold.
    ///
    /// Integers must be equal. Floating-point numbers must come closer than 1e-5 to an independent
    /// reference (document 000), for text and vision models than 1e-5 of the largest value where that
    /// exceeds 1; vectors that the packer supplied allow 1e-5 of the value besides;
    /// one engine against another 1e-4 and 1e-4 of the value. 16-bit outputs, whose precision is
    /// about 1e-3, allow 1e-2 and 1e-2 of the value.
    pub fn tolerances(&self, contract: &Contract) -> BTreeMap<String, Tolerance> {
        let held = |name: &str| {
            self.batches
                .iter()
                .any(|batch| batch.outputs.contains_key(name))
        };
        let policy = |name: &str, dtype: Dtype| match (dtype, self.kind) {
            (dtype, _) if is_whole(dtype) => Tolerance::exact(),
            (Dtype::Float16 | Dtype::Bfloat16, _) => Tolerance::close(1e-2, 1e-2),
            (_, GoldenKind::Equivalence) => Tolerance {
                absolute: Some(1e-5 * self.scale(name)),
                ..Tolerance::default()
            },
            (_, GoldenKind::Supplied) => Tolerance::close(1e-5, 1e-5),
            (_, GoldenKind::Reproducibility) => Tolerance::close(1e-4, 1e-4),
        };
        let outputs = contract.outputs.iter().filter(|spec| held(&spec.name));
        outputs
            .map(|spec| (spec.name.clone(), policy(&spec.name, spec.dtype)))
            .collect()
    }

    /// The largest value of an output, at least 1; 1 where values have a unit.
    fn scale(&self, output: &str) -> f64 {
        if !self.scaled {
            return 1.0;
        }
        let values = self.batches.iter().filter_map(|batch| {
            let values = batch.outputs.get(output)?.as_slice::<f64>()?;
            Some(
                values
                    .iter()
                    .fold(0.0_f64, |most, value| most.max(value.abs())),
            )
        });
        values.fold(1.0, f64::max)
    }

    /// The manifest's entry for these vectors in `file`.
    pub fn manifest_entry(&self, file: RelativePath, contract: &Contract) -> manifest::Golden {
        manifest::Golden {
            file,
            kind: self.kind,
            producer: self.producer.clone(),
            cases: self.cases(),
            tolerance: self.tolerances(contract),
        }
    }
}

/// The rows of a tensor whose first dimension is `cases`, each a batch of one.
pub(crate) fn rows_of(tensor: &Tensor, cases: usize) -> Result<Vec<Tensor>> {
    if tensor.shape().first() != Some(&cases) || cases == 0 {
        return Err(Error::malformed(
            "golden-cases",
            "a tensor does not have one row for each case",
        )
        .expected(format!("{cases} rows"))
        .found(format!("shape {:?}", tensor.shape())));
    }
    let bytes = tensor.to_le_bytes()?;
    let size = bytes.len() / cases;
    let mut shape = tensor.shape().to_vec();
    shape[0] = 1;
    (0..cases)
        .map(|row| {
            let row = bytes.get(row * size..(row + 1) * size).unwrap_or_default();
            Tensor::from_le_bytes(tensor.dtype(), shape.clone(), row)
        })
        .collect()
}

/// Refuses outputs that the graph does not have, and policies for outputs that are not recorded:
/// what is not compared must not look as if it had passed.
pub(crate) fn check_outputs(
    batch: &Batch,
    contract: &Contract,
    tolerances: &BTreeMap<String, Tolerance>,
) -> Result<()> {
    let known = |name: &String| contract.outputs.iter().any(|spec| spec.name == *name);
    let strangers = batch.outputs.keys().filter(|name| !known(name));
    let strangers = strangers.map(|name| format!("{} is not an output of the graph", quoted(name)));
    let absent = tolerances
        .keys()
        .filter(|name| !batch.outputs.contains_key(*name));
    let absent = absent.map(|name| format!("{} has a tolerance but no reference", quoted(name)));
    let faults: Vec<String> = strangers.chain(absent).collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(
        Error::incompatible("golden-outputs", "the golden vectors are not this graph's")
            .faults(faults),
    )
}
