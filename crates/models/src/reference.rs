//! The public door: build from a checkpoint, run by name.

use std::collections::BTreeMap;

use amphora_checkpoint::Checkpoint;
use amphora_checkpoint::architecture::{Architecture, GraphRole};
use amphora_error::{Error, Result, quoted};
use candle_core::{DType, Device, Tensor};

use crate::conv2d_fsq::Conv2dFsq;
use crate::decoder::{Decoder, KeysAndValues};
use crate::encoder::Encoder;
use crate::layers::evaluating;
use crate::mlp::Mlp;
use crate::resnet::ResNet;
use crate::transformer::Transformer;
use crate::urm::Urm;
use crate::vit::Vit;
use crate::weights::Weights;
use crate::{Array, Data, inputs};

/// The arithmetic of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// IEEE 754 binary32, as engines compute.
    F32,
    /// IEEE 754 binary64: the truth that engines are compared with.
    F64,
}

impl Precision {
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        }
    }
}

/// A model of a known architecture with the weights of a checkpoint.
pub struct Reference {
    architecture: Architecture,
    precision: Precision,
    model: Model,
}

/// What one forward pass gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The outputs by name, as [`Architecture::outputs`] declares them.
    pub outputs: BTreeMap<String, Array>,
    /// For a quantizing model, one number in `[0, 0.5]` per row: the distance of the row's nearest
    /// coordinate to a rounding border. A row with a small margin may get another code under other
    /// arithmetic.
    pub rounding_margin: Option<Vec<f64>>,
}

enum Model {
    Mlp(Mlp),
    Transformer(Transformer),
    Urm(Urm),
    Conv2dFsq(Conv2dFsq),
    Encoder(Box<Encoder>),
    Decoder(Box<Decoder>),
    ResNet(ResNet),
    Vit(Box<Vit>),
}

/// Builds the model that `architecture` describes with the weights of `checkpoint`.
///
/// # Errors
///
/// Those of [`Architecture::bind`] when the checkpoint does not hold the architecture's tensors;
/// unsupported (`reference-architecture`) for an architecture without a reference.
pub fn reference(
    architecture: &Architecture,
    checkpoint: &Checkpoint,
    precision: Precision,
) -> Result<Reference> {
    let weights = Weights {
        bound: architecture.bind(checkpoint)?,
        precision,
    };
    let model = match architecture {
        Architecture::Mlp(config) => Model::Mlp(Mlp::new(config, &weights)?),
        Architecture::Transformer(config) => {
            Model::Transformer(Transformer::new(config, &weights)?)
        }
        Architecture::Urm(config) => Model::Urm(Urm::new(config, &weights)?),
        Architecture::Conv2dFsq(config) => Model::Conv2dFsq(Conv2dFsq::new(config, &weights)?),
        Architecture::Encoder(config) => Model::Encoder(Box::new(Encoder::new(config, &weights)?)),
        Architecture::Decoder(config) => Model::Decoder(Box::new(Decoder::new(config, &weights)?)),
        Architecture::ResNet(config) => Model::ResNet(ResNet::new(config, &weights)?),
        Architecture::Vit(config) => Model::Vit(Box::new(Vit::new(config, &weights)?)),
        other => {
            return Err(Error::unsupported(
                "reference-architecture",
                format!(
                    "there is no reference model for {}",
                    quoted(other.model_type())
                ),
            ));
        }
    };
    Ok(Reference {
        architecture: architecture.clone(),
        precision,
        model,
    })
}

impl Reference {
    /// One forward pass over the inputs that [`Architecture::inputs`] declares: those of the first
    /// graph.
    ///
    /// # Errors
    ///
    /// Incompatible (`reference-inputs`), listing every fault: a name missing or unknown, an
    /// element type, a rank, a fixed size, a sequence longer than the model's positions, a token id
    /// outside the vocabulary, a mask that is not 0 or 1.
    pub fn forward(&self, inputs: &BTreeMap<String, Array>) -> Result<Answer> {
        let first = self.architecture.roles().first().copied();
        self.forward_graph(first.unwrap_or(GraphRole::Single), inputs)
    }

    /// One forward pass over the inputs that [`Architecture::graph_inputs`] declares for a graph; the
    /// answer has the outputs of [`Architecture::graph_outputs`].
    ///
    /// # Errors
    ///
    /// Those of [`Self::forward`]; also incompatible (`reference-inputs`) when a mask is not as long as
    /// past and present together, and usage (`graph-role`) for a role that the architecture does not
    /// have.
    pub fn forward_graph(
        &self,
        role: GraphRole,
        inputs: &BTreeMap<String, Array>,
    ) -> Result<Answer> {
        if !self.architecture.roles().contains(&role) {
            let model = self.architecture.model_type();
            return Err(Error::usage(
                "graph-role",
                format!("the {model} model has no graph '{}'", role.word()),
            ));
        }
        inputs::check(&self.architecture.graph_inputs(role), inputs)?;
        let mut rounding_margin = None;
        let outputs = match &self.model {
            Model::Mlp(model) => model.forward(&self.real(inputs, "input")?)?,
            Model::Transformer(model) => {
                let (ids, mask) = self.tokens(inputs)?;
                model.forward(&ids, &mask)?
            }
            Model::Urm(model) => {
                let (ids, mask) = self.tokens(inputs)?;
                model.forward(&ids, &mask)?
            }
            Model::Encoder(model) => {
                let (ids, mask) = self.tokens(inputs)?;
                let segments = match inputs.contains_key("token_type_ids") {
                    true => Some(indices(inputs, "token_type_ids")?),
                    false => None,
                };
                model.forward(&ids, &mask, segments.as_ref())?
            }
            Model::Decoder(model) => {
                let (ids, mask) = self.tokens(inputs)?;
                model.forward(&ids, &mask, &self.past(inputs)?)?
            }
            Model::ResNet(model) => model.forward(&self.real(inputs, "pixel_values")?)?,
            Model::Vit(model) => model.forward(&self.real(inputs, "pixel_values")?)?,
            Model::Conv2dFsq(model) => {
                let answer = model.forward(&self.real(inputs, "imu_input")?)?;
                let margin = array(&answer.rounding_margin)?;
                rounding_margin = margin.as_f64().map(<[f64]>::to_vec);
                vec![
                    ("behavioral_codes".to_owned(), answer.codes),
                    ("confidence".to_owned(), answer.confidence),
                    ("logits".to_owned(), answer.logits),
                ]
            }
        };
        let outputs = outputs
            .into_iter()
            .map(|(name, tensor)| Ok((name, array(&tensor)?)))
            .collect::<Result<_>>()?;
        Ok(Answer {
            outputs,
            rounding_margin,
        })
    }

    fn real(&self, inputs: &BTreeMap<String, Array>, name: &str) -> Result<Tensor> {
        tensor(inputs, name)?
            .to_dtype(self.precision.dtype())
            .map_err(evaluating("an input"))
    }

    /// The keys and values of every layer, none where the graph takes none.
    fn past(&self, inputs: &BTreeMap<String, Array>) -> Result<Vec<KeysAndValues>> {
        (0..)
            .map(|layer| (format!("past_key_{layer}"), format!("past_value_{layer}")))
            .take_while(|(key, _)| inputs.contains_key(key))
            .map(|(key, value)| Ok((self.real(inputs, &key)?, self.real(inputs, &value)?)))
            .collect()
    }

    fn tokens(&self, inputs: &BTreeMap<String, Array>) -> Result<(Tensor, Tensor)> {
        let ids = indices(inputs, "input_ids")?;
        Ok((ids, self.real(inputs, "attention_mask")?))
    }
}

fn indices(inputs: &BTreeMap<String, Array>, name: &str) -> Result<Tensor> {
    tensor(inputs, name)?
        .to_dtype(DType::U32)
        .map_err(evaluating("an input"))
}

fn tensor(inputs: &BTreeMap<String, Array>, name: &str) -> Result<Tensor> {
    let array = inputs.get(name).ok_or_else(|| {
        Error::internal("reference-port", "an input was not checked").at(name.to_owned())
    })?;
    match array.data() {
        Data::F64(values) => Tensor::from_slice(values, array.shape(), &Device::Cpu),
        Data::I64(values) => Tensor::from_slice(values, array.shape(), &Device::Cpu),
    }
    .map_err(evaluating("an input"))
}

fn array(tensor: &Tensor) -> Result<Array> {
    let flat = || tensor.flatten_all();
    let data = match tensor.dtype() {
        DType::I64 => flat().and_then(|t| t.to_vec1()).map(Data::I64),
        _ => flat()
            .and_then(|t| t.to_dtype(DType::F64)?.to_vec1())
            .map(Data::F64),
    };
    Array::new(
        tensor.dims().to_vec(),
        data.map_err(evaluating("an output"))?,
    )
}
