//! The model architectures that Amphora knows, read from a configuration.
//!
//! * [`Architecture`]: which model a configuration describes, one variant per `model_type`.
//! * [`Parameter`]: a tensor that the model's state dict holds, by name and shape.
//! * [`Port`]: an input or output of the model, with the values it takes.
//! * [`GraphRole`]: which of a model's graphs, where it is exported as several.
//! * [`Weights`]: a checkpoint proven to hold exactly the parameters of one architecture.
//!
//! ```
//! use amphora_checkpoint::architecture::Architecture;
//!
//! let config = serde_json::json!({
//!     "model_type": "mlp", "d_in": 16, "d_hidden": 8, "n_layers": 2, "heads": {"swarm": 2},
//! });
//! let architecture = Architecture::from_config(&config)?;
//! let first = &architecture.parameters()[0];
//! assert_eq!((first.name.as_str(), first.shape.as_slice()), ("trunk.0.weight", &[8, 16][..]));
//! assert_eq!(architecture.outputs()[0].name, "swarm");
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! A configuration is read strictly where it decides the computation (missing, mistyped or
//! out-of-range keys are one error that lists them all) and leniently elsewhere: training settings,
//! `dropout`, `onnx` and other keys that leave inference as it is are ignored. A key that asks for
//! a computation this crate does not know (`"activation": "tanh"`) is refused by name, never
//! ignored. Exporters and reference models both start from these types, and share nothing else.

mod activation;
mod config;
mod conv2d_fsq;
mod decoder;
mod document;
mod encoder;
mod image;
mod mlp;
mod ports;
mod resnet;
mod transformer;
mod urm;
mod vit;
mod weights;

pub use activation::Activation;
pub use conv2d_fsq::{Conv2dFsqConfig, Convolution};
pub use decoder::{
    DecoderConfig, DecoderFamily, DecoderPositions, DecoderTask, FeedForwardModules, LayerModules,
    MatrixLayout, Norm, Projections, Rotary, RotaryScaling,
};
pub use encoder::{
    Classifier, EncoderConfig, EncoderFamily, EncoderTask, Layer, MaskedLm, Positions, Segments,
};
pub use mlp::{MlpConfig, MlpLayer};
pub use ports::{Axis, GraphRole, Port, Values};
pub use resnet::{ConvolutionNorm, ResNetBlock, ResNetBlockKind, ResNetConfig, ResNetNames};
pub use transformer::TransformerConfig;
pub use urm::{FeedForward, UrmConfig};
pub use vit::VitConfig;
pub use weights::Weights;

use image::{image_input, image_labels, sides};

use amphora_error::{Error, Result, quoted};
use serde_json::Value;

use crate::Checkpoint;

/// A linear classifier on top of a model: one output of logits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The name of the output.
    pub name: String,
    /// The number of logits.
    pub n_classes: u64,
}

/// A tensor of a state dict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The name, as PyTorch's `state_dict()` gives it.
    pub name: String,
    /// The shape, outermost dimension first.
    pub shape: Vec<u64>,
    /// Whether a checkpoint may leave it out: buffers that follow from the configuration, and
    /// bookkeeping of training.
    pub optional: bool,
}

impl Parameter {
    fn required(name: impl Into<String>, shape: impl Into<Vec<u64>>) -> Self {
        Self {
            name: name.into(),
            shape: shape.into(),
            optional: false,
        }
    }

    fn optional(name: impl Into<String>, shape: impl Into<Vec<u64>>) -> Self {
        Self {
            optional: true,
            ..Self::required(name, shape)
        }
    }
}

/// A known model with its configuration.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Architecture {
    /// `mlp`: a multi-layer perceptron over a feature vector, with several heads.
    Mlp(MlpConfig),
    /// `transformer`: a pre-norm Transformer encoder over token ids, with several heads.
    Transformer(TransformerConfig),
    /// `urm`: one Transformer-style block applied in a loop, with several heads.
    Urm(UrmConfig),
    /// `conv2d_fsq`: a convolutional classifier of sensor windows with quantized codes.
    Conv2dFsq(Conv2dFsqConfig),
    /// `bert`, `roberta`, `distilbert`: a text encoder as a Hugging Face directory holds it.
    Encoder(EncoderConfig),
    /// `gpt2`, `llama`, `qwen2`, `qwen3`: a language model as a Hugging Face directory holds it.
    Decoder(DecoderConfig),
    /// `resnet`: a residual convolutional network over pictures.
    ResNet(ResNetConfig),
    /// `vit`: a Transformer encoder over the patches of a picture.
    Vit(VitConfig),
}

impl Architecture {
    /// Every `model_type` that is understood.
    pub const MODEL_TYPES: [&'static str; 13] = [
        "mlp",
        "transformer",
        "urm",
        "conv2d_fsq",
        "bert",
        "roberta",
        "distilbert",
        "gpt2",
        "llama",
        "qwen2",
        "qwen3",
        "resnet",
        "vit",
    ];

    /// Model types whose inputs and outputs are known, but not what they compute: they are packed as
    /// ONNX files that others exported.
    const NOT_EXPORTED: [&'static str; 12] = [
        "albert", "deit", "electra", "gpt", "gpt-j", "gpt-neo", "gpt_neo", "gptj", "mt5", "swin",
        "t5", "ul2",
    ];

    /// Reads a configuration: document 000's form, with heads as integers or as
    /// `{"n_classes": n}`; for `conv2d_fsq` also document 003's, with the model under `model`.
    ///
    /// # Errors
    ///
    /// Malformed (`config-invalid`) with every missing, mistyped or out-of-range key in the fault
    /// list; unsupported (`model-type`) for an unknown `model_type`, and (`config-unsupported`) for
    /// keys that ask for a computation that is not implemented.
    pub fn from_config(config: &Value) -> Result<Self> {
        let Some(object) = config.as_object() else {
            return Err(Error::malformed(
                "config-invalid",
                "the configuration is not a mapping of keys to values",
            ));
        };
        let nested = object.get("model").and_then(Value::as_object);
        let model_type = object.get("model_type").or_else(|| {
            let model = nested?;
            model.get("model_type").or_else(|| model.get("name"))
        });
        let Some(model_type) = model_type.and_then(Value::as_str) else {
            return Err(Error::malformed(
                "config-invalid",
                "the configuration has no `model_type`",
            )
            .expected(known_model_types())
            .hint("add `model_type` to the configuration"));
        };
        match model_type {
            "mlp" => MlpConfig::read(object).map(Self::Mlp),
            "transformer" => TransformerConfig::read(object).map(Self::Transformer),
            "urm" => UrmConfig::read(object).map(Self::Urm),
            "conv2d_fsq" => Conv2dFsqConfig::read(object).map(Self::Conv2dFsq),
            "vit" => VitConfig::read(object).map(Self::Vit),
            other if ResNetConfig::is_named(other) => {
                ResNetConfig::read(other, object).map(Self::ResNet)
            }
            other if let Some(family) = EncoderConfig::family(other) => {
                EncoderConfig::read(family, object).map(Self::Encoder)
            }
            other if let Some(family) = DecoderConfig::family(other) => {
                DecoderConfig::read(family, object).map(Self::Decoder)
            }
            other => {
                let what = match Self::NOT_EXPORTED.contains(&other) {
                    true => "is known, but there is no exporter for it",
                    false => "is unknown",
                };
                Err(Error::unsupported(
                    "model-type",
                    format!("the model type {} {what}", quoted(other)),
                )
                .expected(known_model_types())
                .hint("export the model to ONNX yourself and pack that file"))
            }
        }
    }

    /// [`Self::from_config`] of the model without a head, whatever class the configuration names: the
    /// hidden states that embeddings are pooled from.
    ///
    /// # Errors
    ///
    /// Those of [`Self::from_config`].
    pub fn without_head(config: &Value) -> Result<Self> {
        let mut config = config.clone();
        if let Some(object) = config.as_object_mut() {
            object.remove("architectures");
        }
        Self::from_config(&config)
    }

    /// The `model_type`, one of [`Self::MODEL_TYPES`].
    pub fn model_type(&self) -> &'static str {
        match self {
            Self::Mlp(_) => "mlp",
            Self::Transformer(_) => "transformer",
            Self::Urm(_) => "urm",
            Self::Conv2dFsq(_) => "conv2d_fsq",
            Self::Encoder(config) => config.family.model_type,
            Self::Decoder(config) => config.family.model_type,
            Self::ResNet(_) => "resnet",
            Self::Vit(_) => "vit",
        }
    }

    /// Every tensor of the model's state dict, in the order of the layers.
    pub fn parameters(&self) -> Vec<Parameter> {
        match self {
            Self::Mlp(config) => config.parameters(),
            Self::Transformer(config) => config.parameters(),
            Self::Urm(config) => config.parameters(),
            Self::Conv2dFsq(config) => config.parameters(),
            Self::Encoder(config) => config.parameters(),
            Self::Decoder(config) => config.parameters(),
            Self::ResNet(config) => config.parameters(),
            Self::Vit(config) => config.parameters(),
        }
    }

    /// Matches a checkpoint with [`Self::parameters`].
    ///
    /// # Errors
    ///
    /// Incompatible (`checkpoint-parameters`) when a tensor is missing, extra, of the wrong shape or
    /// not of floating-point numbers, or when stored FSQ buffers contradict the levels: both files
    /// are sound, but they do not describe the same model. The fault list names every tensor.
    pub fn bind<'a>(&self, checkpoint: &'a Checkpoint) -> Result<Weights<'a>> {
        Weights::bind(self, checkpoint)
    }

    /// The graphs that the model is exported as, in the order of their use.
    pub fn roles(&self) -> &'static [GraphRole] {
        match self {
            Self::Decoder(config) => config.roles(),
            _ => &[GraphRole::Single],
        }
    }

    /// The inputs of the first graph, in its order.
    pub fn inputs(&self) -> Vec<Port> {
        self.graph_inputs(self.first_role())
    }

    /// The outputs of the first graph, in its order.
    pub fn outputs(&self) -> Vec<Port> {
        self.graph_outputs(self.first_role())
    }

    fn first_role(&self) -> GraphRole {
        self.roles().first().copied().unwrap_or(GraphRole::Single)
    }

    /// The inputs of one graph, in its order; none for a role that is not one of [`Self::roles`].
    pub fn graph_inputs(&self, role: GraphRole) -> Vec<Port> {
        if !self.roles().contains(&role) {
            return Vec::new();
        }
        match self {
            Self::Mlp(config) => vec![Port::new(
                "input",
                Values::Real,
                [Axis::batch(), Axis::Fixed(config.d_in)],
            )],
            Self::Transformer(config) => ports::token_inputs(config.vocab_size, config.max_len),
            Self::Urm(config) => ports::token_inputs(config.vocab_size, config.max_len),
            Self::Conv2dFsq(config) => config.inputs(),
            Self::Encoder(config) => config.inputs(),
            Self::Decoder(config) => config.inputs(role),
            Self::ResNet(config) => config.inputs(),
            Self::Vit(config) => config.inputs(),
        }
    }

    /// The outputs of one graph, in its order; none for a role that is not one of [`Self::roles`].
    pub fn graph_outputs(&self, role: GraphRole) -> Vec<Port> {
        if !self.roles().contains(&role) {
            return Vec::new();
        }
        match self {
            Self::Mlp(config) => ports::head_outputs(&config.heads),
            Self::Transformer(config) => ports::head_outputs(&config.heads),
            Self::Urm(config) => ports::head_outputs(&config.heads),
            Self::Conv2dFsq(config) => config.outputs(),
            Self::Encoder(config) => config.outputs(),
            Self::Decoder(config) => config.outputs(role),
            Self::ResNet(config) => config.outputs(),
            Self::Vit(config) => config.outputs(),
        }
    }

    /// The first segment of parameter names that the class has around the bare model, and that a
    /// checkpoint may leave out or add.
    fn prefix(&self) -> Option<&'static str> {
        match self {
            Self::Encoder(config) => Some(config.family.prefix),
            Self::Decoder(config) => Some(config.family.prefix),
            Self::Vit(_) => Some("vit"),
            _ => None,
        }
    }

    /// Tensors that a checkpoint may hold twice: the copy, and what it is a copy of.
    fn copies(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Encoder(config) => config.copies(),
            Self::Decoder(config) => config.copies(),
            _ => Vec::new(),
        }
    }

    /// The classifiers: one for each output of logits, in the order of the configuration.
    pub fn heads(&self) -> Vec<Head> {
        match self {
            Self::Mlp(config) => config.heads.clone(),
            Self::Transformer(config) => config.heads.clone(),
            Self::Urm(config) => config.heads.clone(),
            Self::Conv2dFsq(config) => vec![Head {
                name: "logits".to_owned(),
                n_classes: config.n_classes,
            }],
            Self::Encoder(config) => config.heads(),
            Self::Decoder(_) => Vec::new(),
            Self::ResNet(config) => config.heads(),
            Self::Vit(config) => config.heads(),
        }
    }

    /// The ONNX opset an export uses unless told otherwise: 14 as in document 000, for
    /// `conv2d_fsq` 11 as in document 003.
    pub fn default_opset(&self) -> u64 {
        match self {
            Self::Conv2dFsq(_) => 11,
            _ => 14,
        }
    }

    /// The configuration in document 000's completed form: heads as `{"n_classes": n}`, no
    /// dropout, and the `onnx` block for a graph of `opset`. Reading it back gives an equal value.
    pub fn to_config_json(&self, opset: u64) -> Value {
        document::write(self, opset)
    }
}

fn known_model_types() -> String {
    format!("one of {}", Architecture::MODEL_TYPES.join(", "))
}

/// Weight and bias of a PyTorch `nn.Linear`.
fn linear(name: &str, d_in: u64, d_out: u64) -> [Parameter; 2] {
    [
        Parameter::required(format!("{name}.weight"), [d_out, d_in]),
        Parameter::required(format!("{name}.bias"), [d_out]),
    ]
}

/// Weight and bias of a PyTorch `nn.LayerNorm`.
fn layer_norm(name: &str, d: u64) -> [Parameter; 2] {
    [
        Parameter::required(format!("{name}.weight"), [d]),
        Parameter::required(format!("{name}.bias"), [d]),
    ]
}

fn head_parameters(heads: &[Head], d: u64) -> impl Iterator<Item = Parameter> {
    heads
        .iter()
        .flat_map(move |head| linear(&format!("{}_head", head.name), d, head.n_classes))
}
