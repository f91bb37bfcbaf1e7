//! tract: pure Rust, a feature of the build.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use amphora_error::{Error, Result, quoted};
use amphora_onnx::{Contract, Dtype, Model};
use tract_onnx::prelude::{
    Datum, Framework, InferenceModelExt, IntoRunnable, IntoTValue, TDim, TValue, TVec,
    Tensor as TractTensor, TypedRunnableModel,
};

use crate::engine::{Engine, Executable, shortened};
use crate::engines::handover::self_contained;
use crate::operators::{Table, UnsupportedOperator};
use crate::tensor::Data;
use crate::{SessionOptions, Tensor};

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::parse(include_str!("../../operators/tract.tsv")));

/// The engine tract. It runs one thread, whatever the options say.
#[derive(Debug)]
pub(crate) struct Tract;

impl Engine for Tract {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn version(&self) -> String {
        TABLE.version.to_owned()
    }

    fn unsupported(&self, model: &Model) -> Vec<UnsupportedOperator> {
        TABLE.unsupported(model, false)
    }

    fn load(&self, model: &Model, _: &SessionOptions) -> Result<Box<dyn Executable>> {
        let contract = model.contract()?;
        let values = contract.inputs.iter().chain(&contract.outputs);
        let faults: Vec<String> = values
            .filter(|spec| !has_values(spec.dtype))
            .map(|spec| format!("{} is {}", quoted(&spec.name), spec.dtype))
            .collect();
        if !faults.is_empty() {
            return Err(Error::unsupported(
                "engine-dtype",
                "tract cannot be given or asked for all element types of the graph",
            )
            .faults(faults));
        }
        let graph = self_contained(model)?;
        let loaded = tract_onnx::onnx()
            .model_for_read(&mut graph.as_slice())
            .and_then(|model| model.into_optimized())
            .and_then(|model| model.into_runnable())
            .map_err(|source| {
                Error::unsupported("engine-load", "tract cannot load the model")
                    .found(shortened(&format!("{source:#}")))
            })?;
        Ok(Box::new(Loaded {
            model: loaded,
            contract,
        }))
    }
}

fn has_values(dtype: Dtype) -> bool {
    matches!(
        dtype,
        Dtype::Float32
            | Dtype::Float64
            | Dtype::Float16
            | Dtype::Int8
            | Dtype::Int16
            | Dtype::Int32
            | Dtype::Int64
            | Dtype::Uint8
            | Dtype::Uint16
            | Dtype::Uint32
            | Dtype::Uint64
            | Dtype::Bool
    )
}

struct Loaded {
    model: Arc<TypedRunnableModel>,
    contract: Contract,
}

impl Executable for Loaded {
    fn run(&mut self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        let mut values: TVec<TValue> = TVec::new();
        for spec in &self.contract.inputs {
            let (_, tensor) = inputs
                .iter()
                .find(|(name, _)| *name == spec.name)
                .ok_or_else(|| {
                    Error::usage("inputs", format!("{} is missing", quoted(&spec.name)))
                })?;
            values.push(input(&spec.name, tensor)?.into_tvalue());
        }
        let answers = self.model.run(values).map_err(|source| {
            Error::unsupported("engine-run", "tract failed to run the model")
                .found(shortened(&format!("{source:#}")))
        })?;
        outputs
            .iter()
            .map(|name| {
                let position = self
                    .contract
                    .outputs
                    .iter()
                    .position(|spec| spec.name == *name);
                let answer =
                    position.and_then(|p| Some((self.contract.outputs.get(p)?, answers.get(p)?)));
                let (spec, value) = answer.ok_or_else(|| {
                    let message = format!("tract did not answer {}", quoted(name));
                    Error::unsupported("engine-value", message)
                })?;
                output(name, spec.dtype, value)
            })
            .collect()
    }
}

fn input(name: &str, tensor: &Tensor) -> Result<TractTensor> {
    let shape = tensor.shape();
    let value = match tensor.data() {
        Data::F32(e) => TractTensor::from_shape(shape, e),
        Data::F64(e) => TractTensor::from_shape(shape, e),
        Data::F16(e) => TractTensor::from_shape(shape, e),
        Data::I8(e) => TractTensor::from_shape(shape, e),
        Data::I16(e) => TractTensor::from_shape(shape, e),
        Data::I32(e) => TractTensor::from_shape(shape, e),
        Data::I64(e) => TractTensor::from_shape(shape, e),
        Data::U8(e) => TractTensor::from_shape(shape, e),
        Data::U16(e) => TractTensor::from_shape(shape, e),
        Data::U32(e) => TractTensor::from_shape(shape, e),
        Data::U64(e) => TractTensor::from_shape(shape, e),
        Data::Bool(e) => TractTensor::from_shape(shape, e),
        Data::Bf16(_) | Data::String(_) | Data::Packed(_) => {
            return Err(Error::unsupported(
                "engine-dtype",
                format!("tract has no values of type {}", tensor.dtype()),
            )
            .at(format!("input {}", quoted(name))));
        }
    };
    value.map_err(|source| refused(name, &source.to_string()))
}

fn output(name: &str, dtype: Dtype, value: &TractTensor) -> Result<Tensor> {
    let shape = value.shape().to_vec();
    // Integers that may become dimensions have a type of their own in tract.
    let dimensions = value.datum_type() == TDim::datum_type() && dtype == Dtype::Int64;
    let value = match dimensions {
        true => value
            .cast_to::<i64>()
            .map_err(|source| refused(name, &source.to_string()))?,
        false => Cow::Borrowed(value),
    };
    let value = value
        .try_as_plain_ram()
        .map_err(|source| refused(name, &source.to_string()))?;
    macro_rules! copied {
        ($type:ty) => {{
            let elements = value.as_slice::<$type>();
            let elements = elements.map_err(|source| refused(name, &source.to_string()))?;
            Tensor::new(shape, elements.to_vec())
        }};
    }
    match dtype {
        Dtype::Float32 => copied!(f32),
        Dtype::Float64 => copied!(f64),
        Dtype::Float16 => copied!(half::f16),
        Dtype::Int8 => copied!(i8),
        Dtype::Int16 => copied!(i16),
        Dtype::Int32 => copied!(i32),
        Dtype::Int64 => copied!(i64),
        Dtype::Uint8 => copied!(u8),
        Dtype::Uint16 => copied!(u16),
        Dtype::Uint32 => copied!(u32),
        Dtype::Uint64 => copied!(u64),
        Dtype::Bool => copied!(bool),
        other => Err(refused(name, &format!("the type {other} is not carried"))),
    }
}

fn refused(name: &str, reason: &str) -> Error {
    Error::unsupported("engine-value", "tract refused a tensor")
        .at(format!("value {}", quoted(name)))
        .found(shortened(reason))
}
