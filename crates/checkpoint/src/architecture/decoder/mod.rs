//! Decoders, the language models that write from left to right: token embeddings, pre-norm layers of
//! causal attention and feed-forward parts, and a head of logits over the vocabulary where the class
//! has one.
//!
//! A family is one file: the names of its tensors, the spellings of its keys, and which of the known
//! parts it is made of.

mod family;
mod gpt2;
mod llama;
mod qwen2;
mod qwen3;
mod rotary;

use amphora_error::Result;
use serde_json::{Map, Value, json};

use super::config::{MAX_DEPTH, MAX_SIZE, Reader, spelled};
use super::ports::{Axis, GraphRole, Port, Values};
use super::{Activation, Parameter, layer_norm};

use family::{Bias, Biases, Keys};
pub use family::{
    DecoderFamily, DecoderPositions, FeedForwardModules, LayerModules, MatrixLayout, Norm,
    Projections,
};
pub use rotary::{Rotary, RotaryScaling};

/// What comes out of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecoderTask {
    /// `last_hidden_state`: a vector for each token, from which embeddings are pooled.
    Features,
    /// `logits` over the vocabulary for each token, and the keys and values of every layer: one graph
    /// that reads a prompt, one that goes on from there.
    CausalLm,
}

/// A decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// The family.
    pub family: &'static DecoderFamily,
    /// Token ids.
    pub vocab_size: u64,
    /// Width of the residual stream.
    pub width: u64,
    /// Layers.
    pub layers: u64,
    /// Heads of queries; a multiple of `kv_heads`.
    pub attention_heads: u64,
    /// Heads of keys and values.
    pub kv_heads: u64,
    /// Width of one head.
    pub d_head: u64,
    /// Width inside the feed-forward layers.
    pub inner: u64,
    /// The longest sequence, with everything in the cache.
    pub context: u64,
    /// Epsilon of the normalizations.
    pub norm_eps: f64,
    /// Inside the feed-forward layers.
    pub activation: Activation,
    /// How positions turn queries and keys; `None` where a table holds positions.
    pub rotary: Option<Rotary>,
    /// Whether the projections to queries, keys and values have biases.
    pub projection_bias: bool,
    /// Whether the projection of what attention gathered has one.
    pub attended_bias: bool,
    /// Whether the feed-forward layers have some.
    pub feed_forward_bias: bool,
    /// Whether the head of logits is the table of token embeddings.
    pub tied: bool,
    /// What comes out.
    pub task: DecoderTask,
}

impl DecoderConfig {
    /// The family of a `model_type`.
    pub(super) fn family(model_type: &str) -> Option<&'static DecoderFamily> {
        const FAMILIES: [&DecoderFamily; 4] =
            [&gpt2::GPT2, &llama::LLAMA, &qwen2::QWEN2, &qwen3::QWEN3];
        FAMILIES
            .into_iter()
            .find(|family| family.model_type == model_type)
    }

    pub(super) fn read(
        family: &'static DecoderFamily,
        object: &Map<String, Value>,
    ) -> Result<Self> {
        let mut reader = Reader::default();
        let keys = &family.keys;
        let vocab_size = reader.size(object, "vocab_size", 1..=MAX_SIZE);
        let width = reader.size(object, spelled(object, keys.width), 1..=MAX_SIZE);
        let heads_key = spelled(object, keys.attention_heads);
        let attention_heads = reader.size(object, heads_key, 1..=MAX_SIZE);
        let kv_heads = match family.grouped {
            true => reader.size_or(object, "num_key_value_heads", 1..=MAX_SIZE, attention_heads),
            false => attention_heads,
        };
        if reader.is_sound() && attention_heads % kv_heads != 0 {
            reader.invalid(format!(
                "`num_key_value_heads` = {kv_heads} does not divide the {attention_heads} \
                 attention heads"
            ));
        }
        let stated = family.grouped && object.get("head_dim").is_some_and(|dim| !dim.is_null());
        let d_head = match stated {
            true => reader.size(object, "head_dim", 1..=MAX_SIZE / attention_heads),
            false => (width / attention_heads).max(1),
        };
        if reader.is_sound() && !stated && width % attention_heads != 0 {
            reader.invalid(format!(
                "the width {width} is not a multiple of the {attention_heads} attention heads"
            ));
        }
        let inner_key = spelled(object, keys.inner);
        let inner = match family.inner_default {
            None => reader.size(object, inner_key, 1..=MAX_SIZE),
            Some(times) => {
                let default = (times * width).min(MAX_SIZE);
                reader.size_or(object, inner_key, 1..=MAX_SIZE, default)
            }
        };
        let layers = reader.size(object, spelled(object, keys.layers), 1..=MAX_DEPTH);
        let context = reader.size(object, spelled(object, keys.context), 2..=MAX_SIZE);
        let rotary = match family.positions {
            DecoderPositions::Table(_) => None,
            DecoderPositions::Rotary => Some(Rotary::read(object, context, &mut reader)),
        };
        if reader.is_sound() && rotary.is_some() && d_head % 2 != 0 {
            reader.invalid(format!(
                "rotary positions turn pairs, and the width {d_head} of a head is odd"
            ));
        }
        refuse_windows(object, layers, context, &mut reader);
        refuse_others(family, object, &mut reader);
        let bias = |bias: Bias, reader: &mut Reader| match bias {
            Bias::Always => true,
            Bias::Never => false,
            Bias::When(key) => reader.flag_or(object, key, false),
        };
        let config = Self {
            family,
            vocab_size,
            width,
            layers,
            attention_heads,
            kv_heads,
            d_head,
            inner,
            context,
            norm_eps: reader.epsilon_or(object, keys.norm_eps, family.norm.default_epsilon()),
            activation: Activation::read(&mut reader, object, keys.activation, family.activation),
            rotary,
            projection_bias: bias(family.biases.projections, &mut reader),
            attended_bias: bias(family.biases.attended, &mut reader),
            feed_forward_bias: bias(family.biases.feed_forward, &mut reader),
            tied: reader.flag_or(object, "tie_word_embeddings", family.tied),
            task: task(family, object, &mut reader),
        };
        reader.finish(family.model_type, config)
    }

    /// The full name of a module of the decoder.
    pub fn module(&self, name: &str) -> String {
        match self.task {
            DecoderTask::Features => name.to_owned(),
            DecoderTask::CausalLm => format!("{}.{name}", self.family.prefix),
        }
    }

    /// The full name of a module of one layer.
    pub fn layer_module(&self, layer: u64, name: &str) -> String {
        self.module(&format!("{}.{layer}.{name}", self.family.list))
    }

    /// The matrix of the head: a row for each token id.
    pub fn head(&self) -> String {
        match self.tied {
            true => self.module(&format!("{}.weight", self.family.tokens)),
            false => HEAD.to_owned(),
        }
    }

    pub(super) fn roles(&self) -> &'static [GraphRole] {
        match self.task {
            DecoderTask::Features => &[GraphRole::Single],
            DecoderTask::CausalLm => &[GraphRole::Prefill, GraphRole::Decode],
        }
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let family = self.family;
        let d = self.width;
        let table = |name: &str| self.module(&format!("{name}.weight"));
        let mut parameters = vec![Parameter::required(
            table(family.tokens),
            [self.vocab_size, d],
        )];
        if let DecoderPositions::Table(name) = family.positions {
            parameters.push(Parameter::required(table(name), [self.context, d]));
        }
        for layer in 0..self.layers {
            self.add_layer(layer, &mut parameters);
        }
        parameters.extend(self.norm(self.module(family.final_norm), d));
        parameters.push(Parameter {
            // A checkpoint of the class with a head serves the bare decoder too.
            optional: self.tied || self.task == DecoderTask::Features,
            ..Parameter::required(HEAD, [self.vocab_size, d])
        });
        parameters
    }

    fn add_layer(&self, layer: u64, parameters: &mut Vec<Parameter>) {
        let family = self.family;
        let modules = &family.layer;
        let d = self.width;
        let name = |module: &str| self.layer_module(layer, module);
        let (queries, keys) = (
            self.attention_heads * self.d_head,
            self.kv_heads * self.d_head,
        );
        let bias = self.projection_bias;
        parameters.extend(self.norm(name(modules.attention_norm), d));
        match modules.projections {
            Projections::Packed(packed) => {
                let width = queries + 2 * keys;
                parameters.extend(family.layout.matrix(name(packed), d, width, bias));
            }
            Projections::Separate { query, key, value } => {
                for (module, width) in [(query, queries), (key, keys), (value, keys)] {
                    parameters.extend(family.layout.matrix(name(module), d, width, bias));
                }
            }
        }
        for norm in modules.query_key_norms.into_iter().flatten() {
            parameters.extend(self.norm(name(norm), self.d_head));
        }
        let attended = name(modules.attended);
        let bias = self.attended_bias;
        parameters.extend(family.layout.matrix(attended, queries, d, bias));
        parameters.extend(self.norm(name(modules.feed_forward_norm), d));
        let (inner, bias) = (self.inner, self.feed_forward_bias);
        let rows = match modules.feed_forward {
            FeedForwardModules::Plain { inner: wide, outer } => {
                vec![(wide, d, inner), (outer, inner, d)]
            }
            FeedForwardModules::Gated { gate, up, down } => {
                vec![(gate, d, inner), (up, d, inner), (down, inner, d)]
            }
        };
        for (module, from, to) in rows {
            parameters.extend(family.layout.matrix(name(module), from, to, bias));
        }
        let optional = |module: &&str, shape: &[u64]| Parameter::optional(name(module), shape);
        let half = [self.d_head / 2];
        let square = [1, 1, self.context, self.context];
        parameters.extend(family.unused.iter().map(|it| optional(it, &half)));
        parameters.extend(family.causal_masks.iter().map(|it| optional(it, &square)));
        parameters.extend(family.scalars.iter().map(|it| optional(it, &[])));
    }

    fn norm(&self, name: String, d: u64) -> Vec<Parameter> {
        match self.family.norm {
            Norm::Layer => layer_norm(&name, d).into(),
            Norm::RootMeanSquare => vec![Parameter::required(format!("{name}.weight"), [d])],
        }
    }

    pub(super) fn inputs(&self, role: GraphRole) -> Vec<Port> {
        let sequence = || Axis::named(Axis::SEQUENCE, self.context);
        let seen = match role {
            GraphRole::Decode => Axis::named(Axis::TOTAL, self.context),
            GraphRole::Single | GraphRole::Prefill => sequence(),
        };
        let ids = Values::Index {
            below: self.vocab_size,
        };
        let mut ports = vec![
            Port::new("input_ids", ids, [Axis::rows(), sequence()]),
            Port::new("attention_mask", Values::Mask, [Axis::rows(), seen]),
        ];
        if role == GraphRole::Decode {
            // At least one token follows the past.
            ports.extend(self.cache("past", &Axis::named(Axis::PAST, self.context - 1)));
        }
        ports
    }

    pub(super) fn outputs(&self, role: GraphRole) -> Vec<Port> {
        let sequence = Axis::named(Axis::SEQUENCE, self.context);
        let (name, width) = match self.task {
            DecoderTask::Features => ("last_hidden_state", self.width),
            DecoderTask::CausalLm => ("logits", self.vocab_size),
        };
        let shape = [Axis::rows(), sequence.clone(), Axis::Fixed(width)];
        let mut ports = vec![Port::new(name, Values::Real, shape)];
        match role {
            GraphRole::Single => {}
            GraphRole::Prefill => ports.extend(self.cache("present", &sequence)),
            GraphRole::Decode => {
                let total = Axis::named(Axis::TOTAL, self.context);
                ports.extend(self.cache("present", &total));
            }
        }
        ports
    }

    /// Keys and values of every layer.
    fn cache(&self, when: &str, length: &Axis) -> Vec<Port> {
        let shape = [
            Axis::rows(),
            Axis::Fixed(self.kv_heads),
            length.clone(),
            Axis::Fixed(self.d_head),
        ];
        let layer = |layer| {
            ["key", "value"].map(|what| {
                let name = format!("{when}_{what}_{layer}");
                Port::new(name, Values::Real, shape.clone())
            })
        };
        (0..self.layers).flat_map(layer).collect()
    }

    pub(super) fn document(&self) -> Value {
        let family = self.family;
        let keys = &family.keys;
        let key = |spellings: &[&'static str]| spellings.first().copied().unwrap_or_default();
        let class = match self.task {
            DecoderTask::Features => family.bare_class,
            DecoderTask::CausalLm => family.causal_class,
        };
        let mut document = json!({
            "architectures": [class],
            "vocab_size": self.vocab_size,
            key(keys.width): self.width,
            key(keys.layers): self.layers,
            key(keys.attention_heads): self.attention_heads,
            key(keys.inner): self.inner,
            key(keys.context): self.context,
            keys.norm_eps: self.norm_eps,
            keys.activation: self.activation.word(),
            "tie_word_embeddings": self.tied,
        });
        if family.grouped {
            document["num_key_value_heads"] = self.kv_heads.into();
            document["head_dim"] = self.d_head.into();
        }
        if let Some(rotary) = &self.rotary {
            document["rope_parameters"] = rotary.document();
        }
        let biases = [
            (family.biases.projections, self.projection_bias),
            (family.biases.attended, self.attended_bias),
            (family.biases.feed_forward, self.feed_forward_bias),
        ];
        for (bias, value) in biases {
            if let Bias::When(key) = bias {
                document[key] = value.into();
            }
        }
        document
    }

    /// Tensors that a checkpoint may hold twice: the copy, and what it is a copy of.
    pub(super) fn copies(&self) -> Vec<(&'static str, String)> {
        match self.tied {
            true => vec![(HEAD, self.head())],
            false => Vec::new(),
        }
    }
}

/// The matrix of a head that is not tied.
const HEAD: &str = "lm_head.weight";

/// What the class that the weights were saved from computes; the bare decoder where none is named.
fn task(family: &DecoderFamily, object: &Map<String, Value>, reader: &mut Reader) -> DecoderTask {
    let class = object.get("architectures").and_then(|list| list.get(0));
    match class.and_then(Value::as_str) {
        None => DecoderTask::Features,
        Some(class) if class == family.bare_class => DecoderTask::Features,
        Some(class) if class == family.causal_class => DecoderTask::CausalLm,
        Some(class) => {
            reader.unsupported(format!(
                "`architectures`: only {} and {} are implemented, found {}",
                family.bare_class,
                family.causal_class,
                amphora_error::quoted(class)
            ));
            DecoderTask::Features
        }
    }
}

/// Layers that see only the last tokens are not implemented: refused where one really would.
fn refuse_windows(object: &Map<String, Value>, layers: u64, context: u64, reader: &mut Reader) {
    let kinds = object.get("layer_types").and_then(Value::as_array);
    if let Some(kind) = kinds
        .into_iter()
        .flatten()
        .find(|kind| kind.as_str() != Some("full_attention"))
    {
        reader.unsupported(format!(
            "`layer_types`: only full_attention is implemented, found {kind}"
        ));
    }
    if kinds.is_some() || !reader.flag_or(object, "use_sliding_window", false) {
        return;
    }
    let window = object.get("sliding_window").and_then(Value::as_u64);
    let first = object.get("max_window_layers").and_then(Value::as_u64);
    let windowed = first.is_none_or(|first| first < layers);
    if windowed && window.is_some_and(|window| window < context) {
        reader.unsupported("`use_sliding_window`: only full attention is implemented");
    }
}

/// Keys that would change the computation.
fn refuse_others(family: &DecoderFamily, object: &Map<String, Value>, reader: &mut Reader) {
    for (key, implemented) in family.required {
        if reader.flag_or(object, key, *implemented) != *implemented {
            reader.unsupported(format!("`{key}`: only {implemented} is implemented"));
        }
    }
    if object
        .get("quantization_config")
        .is_some_and(|value| !value.is_null())
    {
        reader.unsupported("`quantization_config`: quantized weights are not implemented");
    }
}
