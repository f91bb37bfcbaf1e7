//! The graph under construction, together with the weights it draws on.

use std::collections::BTreeMap;

use amphora_checkpoint::architecture::{Activation, Architecture, Head, Weights};
use amphora_checkpoint::{Checkpoint, Dtype as Stored, Format, Tensor};
use amphora_error::{Error, Result};
use amphora_onnx::Dtype;
use amphora_onnx::build::{Attribute, ExternalRange, GraphBuilder, Value};
use bytes::Bytes;

use crate::Links;

/// Weights in the form in which they were stored for one graph, for the next to share: those that the
/// checkpoint does not hold that way, by the name in the graph.
pub(crate) type Converted = BTreeMap<String, Bytes>;

pub(crate) struct Emitter<'a> {
    pub(crate) graph: GraphBuilder,
    weights: Weights<'a>,
    link: Option<&'a Links>,
    /// Parameters that are in the graph already: tied weights are stored once.
    placed: BTreeMap<String, Value>,
    converted: &'a mut Converted,
}

impl<'a> Emitter<'a> {
    pub(crate) fn new(
        architecture: &Architecture,
        checkpoint: &'a Checkpoint,
        opset: u64,
        link: Option<&'a Links>,
        converted: &'a mut Converted,
    ) -> Result<Self> {
        let weights = architecture.bind(checkpoint)?;
        if let Some(locations) = link {
            refuse_unlinkable(checkpoint, locations)?;
        }
        Ok(Self {
            graph: GraphBuilder::new(architecture.model_type(), opset)?,
            weights,
            link,
            placed: BTreeMap::new(),
            converted,
        })
    }

    /// A parameter as it is stored.
    pub(crate) fn weight(&mut self, name: &str) -> Result<Value> {
        if let Some(value) = self.placed.get(name) {
            return Ok(value.clone());
        }
        let tensor = self.weights.required(name)?;
        let linked = self.link.zip(tensor.place());
        let value = match linked.and_then(|(links, place)| links.get(&*place.file).zip(Some(place)))
        {
            Some((location, place)) => {
                let range = ExternalRange {
                    location: location.as_str(),
                    offset: place.offset,
                    length: tensor.size(),
                };
                self.graph
                    .linked_initializer(name, Dtype::Float32, tensor.shape(), range)
            }
            None => {
                let data = match self.converted.get(name) {
                    Some(data) => data.clone(),
                    None => float32(name, tensor)?,
                };
                if tensor.dtype() != Stored::F32 {
                    self.converted.insert(name.to_owned(), data.clone());
                }
                self.graph
                    .initializer(name, Dtype::Float32, tensor.shape(), data)
            }
        };
        self.placed.insert(name.to_owned(), value.clone());
        Ok(value)
    }

    /// A buffer that the checkpoint may hold, else the one computed from the configuration.
    pub(crate) fn buffer(
        &mut self,
        name: &str,
        shape: &[u64],
        compute: impl FnOnce() -> Vec<f64>,
    ) -> Result<Value> {
        if self.weights.get(name).is_some() {
            return self.weight(name);
        }
        let computed = compute().into_iter().map(|value| value as f32);
        let data: Vec<u8> = computed.flat_map(f32::to_le_bytes).collect();
        Ok(self
            .graph
            .initializer(name, Dtype::Float32, shape, data.into()))
    }

    /// A matrix transposed: stored that way, or by a node where weights are linked.
    fn transposed(&mut self, name: &str) -> Result<Value> {
        let key = format!("{name}.T");
        if let Some(value) = self.placed.get(&key) {
            return Ok(value.clone());
        }
        let value = if self.link.is_some() {
            let stored = self.weight(name)?;
            self.graph.transpose(&stored, &[1, 0])
        } else {
            let tensor = self.weights.required(name)?;
            let &[rows, columns] = tensor.shape() else {
                return Err(Error::internal(
                    "matrix-rank",
                    format!("{name} is not a matrix"),
                ));
            };
            let data = match self.converted.get(&key) {
                Some(data) => data.clone(),
                None => {
                    let data = transpose(&float32(name, tensor)?, columns as usize);
                    self.converted.insert(key.clone(), data.clone());
                    data
                }
            };
            self.graph
                .initializer(&key, Dtype::Float32, &[columns, rows], data)
        };
        self.placed.insert(key, value.clone());
        Ok(value)
    }

    /// An `nn.Linear` over a matrix of one row per example.
    pub(crate) fn linear(&mut self, x: &Value, module: &str) -> Result<Value> {
        let weight = self.weight(&format!("{module}.weight"))?;
        let bias = self.weight(&format!("{module}.bias"))?;
        Ok(self.graph.linear(x, &weight, &bias))
    }

    /// A product with the transpose of a weight matrix, over the last axis of a sequence.
    pub(crate) fn project(&mut self, x: &Value, weight: &str) -> Result<Value> {
        let weight = self.transposed(weight)?;
        Ok(self.graph.binary("MatMul", x, &weight))
    }

    /// [`Self::project`] plus a bias.
    pub(crate) fn affine(&mut self, x: &Value, weight: &str, bias: &str) -> Result<Value> {
        let product = self.project(x, weight)?;
        let bias = self.weight(bias)?;
        Ok(self.graph.binary("Add", &product, &bias))
    }

    /// An `nn.LayerNorm` over the last axis.
    pub(crate) fn layer_norm(&mut self, x: &Value, module: &str, epsilon: f64) -> Result<Value> {
        let weight = self.weight(&format!("{module}.weight"))?;
        let bias = self.weight(&format!("{module}.bias"))?;
        Ok(self.graph.layer_norm(x, &weight, &bias, epsilon as f32))
    }

    /// An `nn.BatchNorm2d` with its recorded statistics.
    pub(crate) fn batch_norm(&mut self, x: &Value, module: &str, epsilon: f64) -> Result<Value> {
        let mut inputs = vec![x.clone()];
        for statistic in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.weight(&format!("{module}.{statistic}"))?);
        }
        Ok(self.graph.node(
            "BatchNormalization",
            &inputs.iter().collect::<Vec<_>>(),
            &[("epsilon", Attribute::Float(epsilon as f32))],
        ))
    }

    /// An RMS normalization over the last axis.
    pub(crate) fn rms_norm(&mut self, x: &Value, module: &str, epsilon: f64) -> Result<Value> {
        let weight = self.weight(&format!("{module}.weight"))?;
        Ok(self.graph.rms_norm(x, &weight, epsilon as f32))
    }

    /// Logits over the vocabulary for a sequence like `ids`: the products with the rows of a matrix, which
    /// stays as it is stored, since it may be the table of embeddings as well.
    pub(crate) fn vocabulary(
        &mut self,
        x: &Value,
        ids: &Value,
        rows: &str,
        bias: Option<&str>,
    ) -> Result<Value> {
        let &[classes, width] = self.weights.required(rows)?.shape() else {
            return Err(Error::internal(
                "matrix-rank",
                format!("{rows} is not a matrix"),
            ));
        };
        let rows = self.weight(rows)?;
        let bias = bias.map(|bias| self.weight(bias)).transpose()?;
        let graph = &mut self.graph;
        let shape = graph.unary("Shape", ids);
        let classes = graph.int64s(&[classes as i64]);
        let axis = [("axis", Attribute::Int(0))];
        let shape = graph.node("Concat", &[&shape, &classes], &axis);
        let x = graph.reshape(x, &[-1, width as i64]);
        let across = [("transB", Attribute::Int(1))];
        let inputs: Vec<&Value> = [&x, &rows].into_iter().chain(&bias).collect();
        let products = graph.node("Gemm", &inputs, &across);
        Ok(graph.node("Reshape", &[&products, &shape], &[]))
    }

    /// An element-wise function.
    pub(crate) fn activate(&mut self, activation: Activation, x: &Value) -> Value {
        match activation {
            Activation::Gelu => self.graph.gelu(x),
            Activation::GeluTanh => self.graph.gelu_tanh(x),
            Activation::Relu => self.graph.unary("Relu", x),
            Activation::Silu => self.graph.silu(x),
            Activation::Tanh => self.graph.unary("Tanh", x),
        }
    }

    /// The linear heads over the same features, one result each.
    pub(crate) fn heads(&mut self, features: &Value, heads: &[Head]) -> Result<Vec<Value>> {
        heads
            .iter()
            .map(|head| self.linear(features, &format!("{}_head", head.name)))
            .collect()
    }
}

/// Linking uses bytes where they lie, so they must lie in safetensors files, as float32.
fn refuse_unlinkable(checkpoint: &Checkpoint, links: &Links) -> Result<()> {
    let hint = "export without linking; the weights are then copied into the model";
    let place = |tensor: &Tensor| links.contains_key(&*tensor.place()?.file).then_some(());
    if checkpoint.format() != Format::Safetensors {
        return Err(Error::unsupported(
            "link-format",
            "only weights in safetensors files can be linked",
        )
        .found(format!("a {} file", checkpoint.format()))
        .hint(hint));
    }
    if !checkpoint
        .tensors()
        .values()
        .all(|tensor| place(tensor).is_some())
    {
        return Err(Error::usage(
            "link-location",
            "not every file of the checkpoint has a place for the model to point to",
        ));
    }
    let faults: Vec<String> = checkpoint
        .tensors()
        .iter()
        .filter(|(_, tensor)| tensor.dtype().is_float() && tensor.dtype() != Stored::F32)
        .map(|(name, tensor)| format!("{name}: expected F32, found {}", tensor.dtype()))
        .collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(
            Error::unsupported("link-dtype", "only float32 weights can be linked")
                .faults(faults)
                .hint(hint),
        ),
    }
}

fn float32(name: &str, tensor: &Tensor) -> Result<Bytes> {
    if tensor.dtype() == Stored::F32 {
        return tensor.data().map_err(|error| error.at(name));
    }
    let values = tensor.to_f32().map_err(|error| error.at(name))?;
    let data: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
    Ok(data.into())
}

/// The transpose of a row-major matrix of 4-byte elements, a band of rows at a time: the cache lines
/// of a band are read once, and written in runs.
fn transpose(data: &[u8], columns: usize) -> Bytes {
    const BAND: usize = 16;
    let (elements, _) = data.as_chunks::<4>();
    let rows = elements.len() / columns;
    let mut transposed = vec![[0; 4]; elements.len()];
    for (band, band_rows) in elements.chunks(columns * BAND).enumerate() {
        for column in 0..columns {
            for (row, row_elements) in band_rows.chunks(columns).enumerate() {
                transposed[column * rows + band * BAND + row] = row_elements[column];
            }
        }
    }
    transposed.into_flattened().into()
}
