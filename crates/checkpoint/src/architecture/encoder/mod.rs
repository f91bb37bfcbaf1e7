//! Text encoders of the BERT kind, as Hugging Face directories hold them: token, position and segment
//! embeddings, post-norm layers, and a classifier on top where the class has one.
//!
//! A family is one file: the names of its tensors, the spellings of its keys, and where it departs from
//! BERT.

mod bert;
mod distilbert;
mod roberta;

use amphora_error::Result;
use serde_json::{Map, Value, json};

use super::config::{MAX_DEPTH, MAX_SIZE, Reader, spelled};
use super::ports::{Axis, Port, Values};
use super::{Activation, Head, Parameter, layer_norm, linear};

/// Labels of a classifier whose configuration names none, as `transformers` has it.
const DEFAULT_LABELS: u64 = 2;

/// One family of text encoders: where it departs from the others.
#[derive(Debug, PartialEq, Eq)]
pub struct EncoderFamily {
    /// The `model_type`.
    pub model_type: &'static str,
    /// How the names of its classes begin.
    class: &'static str,
    /// What the encoder is called inside a class with a head.
    pub(super) prefix: &'static str,
    keys: Keys,
    /// The token id of padding where the configuration names none, as `transformers` has it.
    pad_id: u64,
    /// The position of the first token.
    pub positions: Positions,
    /// What it knows of segments.
    pub segments: Segments,
    /// The modules of one layer.
    pub layer: Layer,
    /// A dense layer over the first token that the bare encoder may hold; its result is no output.
    pooler: Option<&'static str>,
    /// The classifier of whole sequences.
    pub classifier: Classifier,
    /// The head that guesses tokens.
    pub masked_lm: MaskedLm,
    /// A further head of the class that was trained first, which no class here uses: its module and its
    /// results.
    pretrained: Option<(&'static str, u64)>,
}

/// How a family spells the keys of its configuration; the first that is there counts.
#[derive(Debug, PartialEq, Eq)]
struct Keys {
    width: &'static [&'static str],
    layers: &'static [&'static str],
    attention_heads: &'static [&'static str],
    inner: &'static [&'static str],
    activation: &'static str,
}

/// What a family knows of the segments of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segments {
    /// Nothing: there is no table of them.
    None,
    /// A table, of which every token takes the first row.
    First,
    /// A table, and `token_type_ids` as an input.
    Input,
}

/// Which row of the position table a token takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// Its place in the sequence, from 0.
    FromZero,
    /// Its place among the tokens that are not padding, from `pad_id + 1`; padding takes `pad_id`.
    AfterPadding,
}

/// The modules of one layer, beneath `<list>.<number>`.
#[derive(Debug, PartialEq, Eq)]
pub struct Layer {
    list: &'static str,
    /// Projects to queries.
    pub query: &'static str,
    /// Projects to keys.
    pub key: &'static str,
    /// Projects to values.
    pub value: &'static str,
    /// Projects what attention gathered.
    pub attended: &'static str,
    /// Normalizes the sum with it.
    pub attended_norm: &'static str,
    /// Widens.
    pub inner: &'static str,
    /// Narrows.
    pub outer: &'static str,
    /// Normalizes the sum with that.
    pub outer_norm: &'static str,
}

/// A classifier over the first token.
#[derive(Debug, PartialEq, Eq)]
pub struct Classifier {
    /// A dense layer, by its full name.
    pub dense: &'static str,
    /// Applied to its result.
    pub activation: Activation,
    /// From there to the logits.
    pub output: &'static str,
}

/// A head of logits over the vocabulary, for each token: dense, activated, normalized, then the products
/// with a row for each token id.
#[derive(Debug, PartialEq, Eq)]
pub struct MaskedLm {
    /// A dense layer.
    pub dense: &'static str,
    /// Applied to its result; that of the layers where there is none.
    activation: Option<Activation>,
    /// Normalizes that.
    pub norm: &'static str,
    /// The rows, where they are not the table of token embeddings.
    rows: &'static str,
    /// Added to the products.
    pub bias: &'static str,
    /// Another name under which a checkpoint may hold the same bias.
    bias_copy: Option<&'static str>,
}

/// What comes out of a text encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderTask {
    /// `last_hidden_state`: a vector for each token.
    Features,
    /// `logits` for each sequence.
    SequenceClassification {
        /// The number of labels.
        labels: u64,
    },
    /// `logits` for each token.
    TokenClassification {
        /// The number of labels.
        labels: u64,
    },
    /// `logits` over the vocabulary for each token: which one stands there, or was left out.
    MaskedLm {
        /// Whether the rows of the head are the table of token embeddings.
        tied: bool,
    },
}

/// A text encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// The family.
    pub family: &'static EncoderFamily,
    /// Token ids.
    pub vocab_size: u64,
    /// Width of the residual stream.
    pub width: u64,
    /// Layers.
    pub layers: u64,
    /// Attention heads; `width` is a multiple of it.
    pub attention_heads: u64,
    /// Width inside the feed-forward layers.
    pub inner: u64,
    /// Rows of the position table.
    pub positions: u64,
    /// Rows of the segment table; 0 where the family has none.
    pub segments: u64,
    /// Epsilon of the layer normalizations.
    pub layer_norm_eps: f64,
    /// The token id of padding.
    pub pad_id: u64,
    /// Between the feed-forward layers.
    pub activation: Activation,
    /// What comes out.
    pub task: EncoderTask,
}

impl EncoderConfig {
    /// The family of a `model_type`.
    pub(super) fn family(model_type: &str) -> Option<&'static EncoderFamily> {
        const FAMILIES: [&EncoderFamily; 3] =
            [&bert::BERT, &roberta::ROBERTA, &distilbert::DISTILBERT];
        FAMILIES
            .into_iter()
            .find(|family| family.model_type == model_type)
    }

    pub(super) fn read(
        family: &'static EncoderFamily,
        object: &Map<String, Value>,
    ) -> Result<Self> {
        let mut reader = Reader::default();
        let keys = &family.keys;
        let spelled = |spellings: &[&'static str]| spelled(object, spellings);
        let vocab_size = reader.size(object, "vocab_size", 1..=MAX_SIZE);
        let width = reader.size(object, spelled(keys.width), 1..=MAX_SIZE);
        let attention_heads = reader.size(object, spelled(keys.attention_heads), 1..=MAX_SIZE);
        if reader.is_sound() && width % attention_heads != 0 {
            reader.invalid(format!(
                "the width {width} is not a multiple of the {attention_heads} attention heads"
            ));
        }
        reader.only(object, "position_embedding_type", "absolute");
        for key in ["is_decoder", "add_cross_attention"] {
            if object.get(key) == Some(&Value::Bool(true)) {
                reader.unsupported(format!("`{key}`: only encoders are implemented"));
            }
        }
        let last_id = match reader.is_sound() {
            true => vocab_size - 1,
            false => MAX_SIZE,
        };
        let pad_id = reader.size_or(object, "pad_token_id", 0..=last_id, family.pad_id);
        let least = match family.positions {
            Positions::FromZero => 2,
            Positions::AfterPadding => pad_id + 3,
        };
        let config = Self {
            family,
            vocab_size,
            width,
            layers: reader.size(object, spelled(keys.layers), 1..=MAX_DEPTH),
            attention_heads,
            inner: reader.size(object, spelled(keys.inner), 1..=MAX_SIZE),
            positions: reader.size(object, "max_position_embeddings", least..=MAX_SIZE),
            segments: match family.segments {
                Segments::None => 0,
                Segments::First | Segments::Input => {
                    reader.size_or(object, "type_vocab_size", 1..=MAX_SIZE, 2)
                }
            },
            layer_norm_eps: reader.epsilon_or(object, "layer_norm_eps", 1e-12),
            pad_id,
            activation: Activation::read(&mut reader, object, keys.activation, Activation::Gelu),
            task: task(family, object, &mut reader),
        };
        reader.finish(family.model_type, config)
    }

    /// Width of one attention head.
    pub fn d_head(&self) -> u64 {
        self.width / self.attention_heads
    }

    /// The longest sequence.
    pub fn max_len(&self) -> u64 {
        match self.family.positions {
            Positions::FromZero => self.positions,
            Positions::AfterPadding => self.positions - self.pad_id - 1,
        }
    }

    /// The full name of a module of the encoder.
    pub fn module(&self, name: &str) -> String {
        match self.task {
            EncoderTask::Features => name.to_owned(),
            _ => format!("{}.{name}", self.family.prefix),
        }
    }

    /// The full name of a module of one layer.
    pub fn layer_module(&self, layer: u64, name: &str) -> String {
        self.module(&format!("{}.{layer}.{name}", self.family.layer.list))
    }

    /// The table of token embeddings: a row for each token id.
    pub fn words(&self) -> String {
        self.module("embeddings.word_embeddings.weight")
    }

    /// The rows of the head of logits over the vocabulary.
    pub fn masked_lm_rows(&self) -> String {
        match self.task {
            EncoderTask::MaskedLm { tied: false } => self.family.masked_lm.rows.to_owned(),
            _ => self.words(),
        }
    }

    /// Inside the head of logits over the vocabulary.
    pub fn masked_lm_activation(&self) -> Activation {
        self.family.masked_lm.activation.unwrap_or(self.activation)
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let d = self.width;
        let embedding = |name: &str| self.module(&format!("embeddings.{name}"));
        let mut parameters = vec![
            Parameter::required(self.words(), [self.vocab_size, d]),
            Parameter::required(embedding("position_embeddings.weight"), [self.positions, d]),
            Parameter::optional(embedding("position_ids"), [1, self.positions]),
        ];
        if self.segments > 0 {
            let name = embedding("token_type_embeddings.weight");
            parameters.push(Parameter::required(name, [self.segments, d]));
        }
        parameters.extend(layer_norm(&embedding("LayerNorm"), d));
        let names = &self.family.layer;
        for layer in 0..self.layers {
            let name = |module: &str| self.layer_module(layer, module);
            for module in [names.query, names.key, names.value, names.attended] {
                parameters.extend(linear(&name(module), d, d));
            }
            parameters.extend(layer_norm(&name(names.attended_norm), d));
            parameters.extend(linear(&name(names.inner), d, self.inner));
            parameters.extend(linear(&name(names.outer), self.inner, d));
            parameters.extend(layer_norm(&name(names.outer_norm), d));
        }
        let classifier = &self.family.classifier;
        match self.task {
            EncoderTask::Features => {}
            EncoderTask::SequenceClassification { labels } => {
                parameters.extend(linear(classifier.dense, d, d));
                parameters.extend(linear(classifier.output, d, labels));
            }
            EncoderTask::TokenClassification { labels } => {
                parameters.extend(linear("classifier", d, labels));
            }
            EncoderTask::MaskedLm { tied } => {
                parameters.extend(self.masked_lm_parameters(tied));
            }
        }
        let known: Vec<String> = parameters.iter().map(|p| p.name.clone()).collect();
        let unused = self.unused().into_iter();
        let unused = unused.filter(|p| !known.contains(&p.name));
        parameters.extend(unused.map(|p| Parameter::optional(p.name, p.shape)));
        parameters
    }

    fn masked_lm_parameters(&self, tied: bool) -> Vec<Parameter> {
        let head = &self.family.masked_lm;
        let mut parameters: Vec<Parameter> = linear(head.dense, self.width, self.width).into();
        parameters.extend(layer_norm(head.norm, self.width));
        parameters.push(Parameter {
            optional: tied,
            ..Parameter::required(head.rows, [self.vocab_size, self.width])
        });
        parameters.push(Parameter::required(head.bias, [self.vocab_size]));
        let copy = head.bias_copy.into_iter();
        parameters.extend(copy.map(|name| Parameter::optional(name, [self.vocab_size])));
        parameters
    }

    /// What a checkpoint may hold although no output comes of it: a pooler, and where no classifier was
    /// trained the heads of the class that was trained first.
    fn unused(&self) -> Vec<Parameter> {
        let d = self.width;
        let mut unused = Vec::new();
        if let Some(pooler) = self.family.pooler {
            unused.extend(linear(&self.module(pooler), d, d));
        }
        if let EncoderTask::Features | EncoderTask::MaskedLm { .. } = self.task {
            unused.extend(self.masked_lm_parameters(true));
            let pretrained = self.family.pretrained.iter();
            unused.extend(pretrained.flat_map(|(module, results)| linear(module, d, *results)));
        }
        unused
    }

    /// Tensors that a checkpoint may hold twice: the copy, and what it is a copy of.
    pub(super) fn copies(&self) -> Vec<(&'static str, String)> {
        let head = &self.family.masked_lm;
        let bias = head.bias_copy.map(|copy| (copy, head.bias.to_owned()));
        match self.task {
            EncoderTask::MaskedLm { tied } => {
                let rows = tied.then(|| (head.rows, self.words()));
                rows.into_iter().chain(bias).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn inputs(&self) -> Vec<Port> {
        let mut ports = super::ports::token_inputs(self.vocab_size, self.max_len());
        if self.family.segments == Segments::Input {
            let shape = [Axis::batch(), Axis::sequence(self.max_len())];
            let values = Values::Index {
                below: self.segments,
            };
            ports.push(Port::new("token_type_ids", values, shape));
        }
        ports
    }

    pub(super) fn outputs(&self) -> Vec<Port> {
        let sequence = || Axis::sequence(self.max_len());
        let (name, shape) = match self.task {
            EncoderTask::Features => (
                "last_hidden_state",
                vec![Axis::batch(), sequence(), Axis::Fixed(self.width)],
            ),
            EncoderTask::SequenceClassification { labels } => {
                ("logits", vec![Axis::batch(), Axis::Fixed(labels)])
            }
            EncoderTask::TokenClassification { labels } => (
                "logits",
                vec![Axis::batch(), sequence(), Axis::Fixed(labels)],
            ),
            EncoderTask::MaskedLm { .. } => (
                "logits",
                vec![Axis::batch(), sequence(), Axis::Fixed(self.vocab_size)],
            ),
        };
        vec![Port::new(name, Values::Real, shape)]
    }

    pub(super) fn heads(&self) -> Vec<Head> {
        match self.task {
            EncoderTask::SequenceClassification { labels } => vec![Head {
                name: "logits".to_owned(),
                n_classes: labels,
            }],
            EncoderTask::Features
            | EncoderTask::TokenClassification { .. }
            | EncoderTask::MaskedLm { .. } => Vec::new(),
        }
    }

    pub(super) fn document(&self) -> Value {
        let keys = &self.family.keys;
        let key = |spellings: &[&'static str]| spellings.first().copied().unwrap_or_default();
        let (class, labels) = match self.task {
            EncoderTask::Features => ("Model", None),
            EncoderTask::SequenceClassification { labels } => {
                ("ForSequenceClassification", Some(labels))
            }
            EncoderTask::TokenClassification { labels } => ("ForTokenClassification", Some(labels)),
            EncoderTask::MaskedLm { .. } => ("ForMaskedLM", None),
        };
        let tied = match self.task {
            EncoderTask::MaskedLm { tied } => Some(tied),
            _ => None,
        };
        json!({
            "architectures": [format!("{}{class}", self.family.class)],
            "vocab_size": self.vocab_size,
            key(keys.width): self.width,
            key(keys.layers): self.layers,
            key(keys.attention_heads): self.attention_heads,
            key(keys.inner): self.inner,
            "max_position_embeddings": self.positions,
            "type_vocab_size": (self.segments > 0).then_some(self.segments),
            "layer_norm_eps": self.layer_norm_eps,
            "pad_token_id": self.pad_id,
            keys.activation: self.activation.word(),
            "num_labels": labels,
            "tie_word_embeddings": tied,
        })
    }
}

/// What the class that the weights were saved from computes; the bare encoder where none is named.
fn task(family: &EncoderFamily, object: &Map<String, Value>, reader: &mut Reader) -> EncoderTask {
    let class = object.get("architectures").and_then(|list| list.get(0));
    let class = class.and_then(Value::as_str).unwrap_or("");
    let named = object.get("id2label").and_then(Value::as_object);
    let labels = match named {
        Some(labels) if !labels.is_empty() => labels.len() as u64,
        _ => reader.size_or(object, "num_labels", 1..=MAX_SIZE, DEFAULT_LABELS),
    };
    match class.strip_prefix(family.class).unwrap_or(class) {
        "" | "Model" => EncoderTask::Features,
        "ForSequenceClassification" => EncoderTask::SequenceClassification { labels },
        "ForTokenClassification" => EncoderTask::TokenClassification { labels },
        "ForMaskedLM" => EncoderTask::MaskedLm {
            tied: reader.flag_or(object, "tie_word_embeddings", true),
        },
        _ => {
            let found = amphora_error::quoted(class);
            let class = family.class;
            reader.unsupported(format!(
                "`architectures`: only {class}Model, {class}ForMaskedLM, \
                 {class}ForSequenceClassification and {class}ForTokenClassification are \
                 implemented, found {found}"
            ));
            EncoderTask::Features
        }
    }
}
