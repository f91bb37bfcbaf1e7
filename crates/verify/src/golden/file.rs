//! Golden vectors as a safetensors file.
//!
//! One batch stores its tensors under the names of the graph's inputs and outputs; several batches
//! store them as `NUMBER/NAME`. The metadata says what they are.

use std::collections::BTreeMap;

use amphora_bundle::manifest::GoldenKind;
use amphora_checkpoint::{Dtype as Stored, Limits, Safetensors, Tensor as StoredTensor};
use amphora_error::{Error, Result, quoted};
use amphora_onnx::{Contract, Dtype};
use amphora_runtime::Tensor;
use bytes::Bytes;

use super::{Batch, Golden};

/// The value of `format` in the metadata.
const FORMAT: &str = "amphora.golden.v1";
/// The name of the tensor of rounding margins; a graph with an output of this name cannot have
/// golden vectors with margins, and no known architecture does.
const MARGIN: &str = "#rounding_margin";
/// Most batches in one file.
const MAX_BATCHES: usize = 10_000;
/// Most cases stacked in one batch.
const MAX_CASES: usize = 1_000_000;

/// The element types that both safetensors and ONNX have.
const DTYPES: [(Dtype, Stored); 13] = [
    (Dtype::Bool, Stored::Bool),
    (Dtype::Uint8, Stored::U8),
    (Dtype::Int8, Stored::I8),
    (Dtype::Uint16, Stored::U16),
    (Dtype::Int16, Stored::I16),
    (Dtype::Uint32, Stored::U32),
    (Dtype::Int32, Stored::I32),
    (Dtype::Uint64, Stored::U64),
    (Dtype::Int64, Stored::I64),
    (Dtype::Float16, Stored::F16),
    (Dtype::Bfloat16, Stored::BF16),
    (Dtype::Float32, Stored::F32),
    (Dtype::Float64, Stored::F64),
];

impl Golden {
    /// The content of the safetensors file; the same vectors always give the same bytes.
    ///
    /// # Errors
    ///
    /// Unsupported (`golden-dtype`) for element types that safetensors does not have, such as
    /// strings.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut file = Safetensors::default();
        for (number, batch) in self.batches.iter().enumerate() {
            let prefix = prefix(number, self.batches.len());
            for (name, tensor) in batch.inputs.iter().chain(&batch.outputs) {
                file.tensors
                    .insert(format!("{prefix}{name}"), to_stored(name, tensor)?);
            }
            if let Some(margin) = &batch.rounding_margin {
                let tensor = Tensor::new([margin.len()], margin.clone())?;
                file.tensors
                    .insert(format!("{prefix}{MARGIN}"), to_stored(MARGIN, &tensor)?);
            }
        }
        let cases: Vec<String> = self
            .batches
            .iter()
            .map(|batch| {
                batch
                    .stacked
                    .map_or("-".to_owned(), |cases| cases.to_string())
            })
            .collect();
        let kind = match self.kind {
            GoldenKind::Equivalence => "equivalence",
            GoldenKind::Reproducibility => "reproducibility",
            GoldenKind::Supplied => "supplied",
        };
        file.metadata = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("kind".to_owned(), kind.to_owned()),
            ("producer".to_owned(), self.producer.clone()),
            ("cases".to_owned(), self.cases().to_string()),
            ("stacked".to_owned(), cases.join(",")),
        ]);
        if let Some(seed) = self.seed {
            file.metadata.insert("seed".to_owned(), seed.to_string());
        }
        file.to_bytes()
    }

    /// Reads what [`Golden::to_bytes`] wrote. `contract` says which tensors are inputs.
    ///
    /// # Errors
    ///
    /// Malformed (`golden-metadata`) when the metadata does not say what the vectors are or the
    /// tensors contradict it; unsupported (`golden-format`) for vectors of another format.
    pub fn from_bytes(bytes: &Bytes, contract: &Contract) -> Result<Self> {
        let Safetensors {
            mut tensors,
            metadata,
        } = Safetensors::from_bytes(bytes, &Limits::default())?;
        let stated = |key: &str| {
            let text = metadata.get(key).map(String::as_str);
            text.ok_or_else(|| {
                fault("the golden vectors do not say what they are").at(format!("key '{key}'"))
            })
        };
        let format = stated("format")?;
        if format != FORMAT {
            return Err(Error::unsupported(
                "golden-format",
                "the golden vectors have an unknown format",
            )
            .expected(FORMAT)
            .found(quoted(format).to_string()));
        }
        let kind = match stated("kind")? {
            "equivalence" => GoldenKind::Equivalence,
            "reproducibility" => GoldenKind::Reproducibility,
            "supplied" => GoldenKind::Supplied,
            _ => return Err(fault("the golden vectors are of an unknown kind")),
        };
        let stacked = parse_stacked(stated("stacked")?)?;
        let batches = stacked.iter().enumerate().map(|(number, cases)| {
            let prefix = prefix(number, stacked.len());
            take_batch(&mut tensors, &prefix, *cases, contract)
        });
        let batches = batches.collect::<Result<Vec<_>>>()?;
        if let Some(name) = tensors.keys().next() {
            return Err(fault("the golden vectors hold a tensor of no batch")
                .at(format!("tensor {}", quoted(name))));
        }
        Ok(Self {
            kind,
            producer: stated("producer")?.to_owned(),
            seed: metadata.get("seed").and_then(|seed| seed.parse().ok()),
            batches,
            notes: Vec::new(),
            scaled: false,
        })
    }
}

fn fault(what: &str) -> Error {
    Error::malformed("golden-metadata", what)
}

fn prefix(number: usize, batches: usize) -> String {
    match batches {
        1 => String::new(),
        _ => format!("{number}/"),
    }
}

/// For each batch the number of stacked cases, or `-` for a batch that is one case.
fn parse_stacked(text: &str) -> Result<Vec<Option<usize>>> {
    let batches = text.split(',').map(|cases| match cases {
        "-" => Some(None),
        number => number
            .parse()
            .ok()
            .filter(|cases| (1..=MAX_CASES).contains(cases))
            .map(Some),
    });
    batches
        .take(MAX_BATCHES + 1)
        .collect::<Option<Vec<_>>>()
        .filter(|batches| batches.len() <= MAX_BATCHES)
        .ok_or_else(|| fault("the golden vectors do not say how their cases are stacked"))
}

/// Takes the tensors of one batch out of `tensors`.
fn take_batch(
    tensors: &mut BTreeMap<String, StoredTensor>,
    prefix: &str,
    stacked: Option<usize>,
    contract: &Contract,
) -> Result<Batch> {
    let names: Vec<String> = match prefix {
        "" => tensors.keys().cloned().collect(),
        _ => {
            let from = tensors.range(prefix.to_owned()..);
            let names = from.map(|(name, _)| name);
            names
                .take_while(|name| name.starts_with(prefix))
                .cloned()
                .collect()
        }
    };
    let mut batch = Batch {
        inputs: BTreeMap::new(),
        outputs: BTreeMap::new(),
        stacked,
        rounding_margin: None,
    };
    for stored_name in names {
        let Some(stored) = tensors.remove(&stored_name) else {
            continue;
        };
        let name = stored_name[prefix.len()..].to_owned();
        let tensor = from_stored(&stored)
            .map_err(|error| error.at(format!("tensor {}", quoted(&stored_name))))?;
        if stacked.is_some() && tensor.shape().first().copied() != stacked {
            return Err(fault("a tensor does not have one row for each case")
                .at(format!("tensor {}", quoted(&stored_name))));
        }
        if name == MARGIN {
            batch.rounding_margin = tensor.to_f64();
        } else if contract.inputs.iter().any(|spec| spec.name == name) {
            batch.inputs.insert(name, tensor);
        } else {
            batch.outputs.insert(name, tensor);
        }
    }
    Ok(batch)
}

/// A stored tensor as the engines take it; unsupported (`golden-dtype`) for a type ONNX lacks.
pub(super) fn from_stored(stored: &StoredTensor) -> Result<Tensor> {
    let dtype = DTYPES
        .iter()
        .find(|(_, of_file)| *of_file == stored.dtype());
    let (dtype, _) = dtype.ok_or_else(|| {
        Error::unsupported("golden-dtype", "graphs have no such element type")
            .found(stored.dtype().to_string())
    })?;
    let shape = stored
        .shape()
        .iter()
        .map(|&extent| usize::try_from(extent).ok())
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Error::limit("golden-size", "a dimension is larger than memory"))?;
    Tensor::from_le_bytes(*dtype, shape, &stored.data()?)
}

fn to_stored(name: &str, tensor: &Tensor) -> Result<StoredTensor> {
    let dtype = DTYPES
        .iter()
        .find(|(of_graph, _)| *of_graph == tensor.dtype());
    let (_, dtype) = dtype.ok_or_else(|| {
        Error::unsupported(
            "golden-dtype",
            "golden vectors of this element type cannot be stored",
        )
        .at(format!("tensor {}", quoted(name)))
        .found(tensor.dtype().to_string())
    })?;
    let shape = tensor.shape().iter().map(|&extent| extent as u64).collect();
    StoredTensor::new(*dtype, shape, tensor.to_le_bytes()?.into())
}
