//! `vit` (Dosovitskiy et al. 2020): a Transformer encoder over the patches of a picture, as Hugging
//! Face's `ViTModel` and `ViTForImageClassification` store it.

use amphora_error::Result;
use serde_json::{Map, Value, json};

use super::config::{MAX_DEPTH, MAX_SIZE, Reader};
use super::{
    Activation, Axis, Head, Parameter, Port, Values, image_input, image_labels, layer_norm, linear,
};

/// Longest sequence of patches accepted: attention over it takes quadratic memory.
const MAX_PATCHES: u64 = 1 << 16;

/// A vision transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct VitConfig {
    /// Width of the residual stream.
    pub width: u64,
    /// Layers.
    pub layers: u64,
    /// Attention heads; `width` is a multiple of it.
    pub attention_heads: u64,
    /// Width inside the feed-forward layers.
    pub inner: u64,
    /// Between the feed-forward layers.
    pub activation: Activation,
    /// Epsilon of the layer normalizations.
    pub layer_norm_eps: f64,
    /// Channels, height and width of a picture.
    pub input: [u64; 3],
    /// Height and width of a patch; the picture's are multiples of them.
    pub patch: [u64; 2],
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Results of the pooler that a checkpoint may hold, of which no output comes.
    pub pooled: u64,
    /// Classes, where the class has a classifier: then `logits` come out, else `last_hidden_state`.
    pub labels: Option<u64>,
}

impl VitConfig {
    pub(super) fn read(object: &Map<String, Value>) -> Result<Self> {
        let mut reader = Reader::default();
        let width = reader.size_or(object, "hidden_size", 1..=MAX_SIZE, 768);
        let attention_heads = reader.size_or(object, "num_attention_heads", 1..=MAX_SIZE, 12);
        if reader.is_sound() && width % attention_heads != 0 {
            reader.invalid(format!(
                "the width {width} is not a multiple of the {attention_heads} attention heads"
            ));
        }
        let input = image_input(&mut reader, object, 224);
        let patch = super::sides(&mut reader, object, "patch_size", 16);
        let [rows, columns] = [input[1] / patch[0], input[2] / patch[1]];
        let divided = input[1].is_multiple_of(patch[0]) && input[2].is_multiple_of(patch[1]);
        if !divided || rows * columns > MAX_PATCHES {
            reader.invalid(format!(
                "`patch_size`: patches do not divide the picture into 1 to {MAX_PATCHES} parts"
            ));
        }
        let activation = Activation::read(&mut reader, object, "hidden_act", Activation::Gelu);
        let qkv_bias = reader.flag_or(object, "qkv_bias", true);
        let class = object.get("architectures").and_then(|list| list.get(0));
        let labels = match class.and_then(Value::as_str) {
            None | Some("ViTModel") => None,
            Some("ViTForImageClassification") => Some(image_labels(&mut reader, object, 2)),
            Some(_) => {
                reader.unsupported(
                    "`architectures`: only ViTModel and ViTForImageClassification are implemented",
                );
                None
            }
        };
        let config = Self {
            width,
            layers: reader.size_or(object, "num_hidden_layers", 1..=MAX_DEPTH, 12),
            attention_heads,
            inner: reader.size_or(object, "intermediate_size", 1..=MAX_SIZE, 3072),
            activation,
            layer_norm_eps: reader.epsilon_or(object, "layer_norm_eps", 1e-12),
            input,
            patch,
            qkv_bias,
            pooled: reader.size_or(object, "pooler_output_size", 1..=MAX_SIZE, width),
            labels,
        };
        reader.finish("vit", config)
    }

    /// Width of one attention head.
    pub fn d_head(&self) -> u64 {
        self.width / self.attention_heads
    }

    /// Patches of a picture; the sequence has one place more, for the class, before them.
    pub fn patches(&self) -> u64 {
        (self.input[1] / self.patch[0]) * (self.input[2] / self.patch[1])
    }

    /// The full name of a module of the encoder.
    pub fn module(&self, name: &str) -> String {
        match self.labels {
            None => name.to_owned(),
            Some(_) => format!("vit.{name}"),
        }
    }

    /// The full name of a module of one layer.
    pub fn layer_module(&self, layer: u64, name: &str) -> String {
        self.module(&format!("encoder.layer.{layer}.{name}"))
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let d = self.width;
        let [height, width] = self.patch;
        let embedding = |name: &str| self.module(&format!("embeddings.{name}"));
        let mut parameters = vec![
            Parameter::required(embedding("cls_token"), [1, 1, d]),
            Parameter::required(embedding("position_embeddings"), [1, self.patches() + 1, d]),
            Parameter::optional(embedding("mask_token"), [1, 1, d]),
            Parameter::required(
                embedding("patch_embeddings.projection.weight"),
                [d, self.input[0], height, width],
            ),
            Parameter::required(embedding("patch_embeddings.projection.bias"), [d]),
        ];
        for layer in 0..self.layers {
            let name = |module: &str| self.layer_module(layer, module);
            parameters.extend(layer_norm(&name("layernorm_before"), d));
            for module in ["query", "key", "value"] {
                let [weight, bias] = linear(&name(&format!("attention.attention.{module}")), d, d);
                parameters.push(weight);
                parameters.extend(self.qkv_bias.then_some(bias));
            }
            parameters.extend(linear(&name("attention.output.dense"), d, d));
            parameters.extend(layer_norm(&name("layernorm_after"), d));
            parameters.extend(linear(&name("intermediate.dense"), d, self.inner));
            parameters.extend(linear(&name("output.dense"), self.inner, d));
        }
        parameters.extend(layer_norm(&self.module("layernorm"), d));
        let pooler = linear(&self.module("pooler.dense"), d, self.pooled);
        parameters.extend(pooler.map(|p| Parameter::optional(p.name, p.shape)));
        if let Some(labels) = self.labels {
            parameters.extend(linear("classifier", d, labels));
        }
        parameters
    }

    pub(super) fn inputs(&self) -> Vec<Port> {
        vec![super::ports::pixel_values(self.input)]
    }

    pub(super) fn outputs(&self) -> Vec<Port> {
        let (name, shape) = match self.labels {
            Some(labels) => ("logits", vec![Axis::batch(), Axis::Fixed(labels)]),
            None => {
                let sequence = Axis::Fixed(self.patches() + 1);
                let shape = vec![Axis::batch(), sequence, Axis::Fixed(self.width)];
                ("last_hidden_state", shape)
            }
        };
        vec![Port::new(name, Values::Real, shape)]
    }

    pub(super) fn heads(&self) -> Vec<Head> {
        let head = |n_classes| Head {
            name: "logits".to_owned(),
            n_classes,
        };
        self.labels.map(head).into_iter().collect()
    }

    pub(super) fn document(&self) -> Value {
        let class = match self.labels {
            None => "ViTModel",
            Some(_) => "ViTForImageClassification",
        };
        json!({
            "architectures": [class],
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.attention_heads,
            "intermediate_size": self.inner,
            "hidden_act": self.activation.word(),
            "layer_norm_eps": self.layer_norm_eps,
            "num_channels": self.input[0],
            "image_size": [self.input[1], self.input[2]],
            "patch_size": self.patch,
            "qkv_bias": self.qkv_bias,
            "pooler_output_size": self.pooled,
            "num_labels": self.labels,
        })
    }
}
