//! `resnet` (He et al. 2015): residual convolutional networks, as torchvision and as Hugging Face's
//! `ResNetForImageClassification` store them.

use amphora_error::Result;
use serde_json::{Map, Value, json};

use super::config::{MAX_DEPTH, MAX_SIZE, Reader};
use super::{Axis, Head, Parameter, Port, Values, image_input, image_labels, linear};

/// Channels in a bottleneck's result for each one inside.
const EXPANSION: u64 = 4;
/// Stages of the largest network accepted; each halves the picture.
const MAX_STAGES: usize = 8;

/// What one block computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResNetBlockKind {
    /// Two convolutions of 3 x 3.
    Basic,
    /// Convolutions of 1 x 1, 3 x 3 and 1 x 1; the middle one has the stride.
    Bottleneck,
}

/// How the tensors are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResNetNames {
    /// `conv1`, `layer1.0.conv1`, `fc`.
    Torchvision,
    /// `resnet.embedder.embedder.convolution`, ..., `classifier.1`.
    HuggingFace,
}

/// A residual network over pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResNetConfig {
    /// How the tensors are named.
    pub names: ResNetNames,
    /// What one block computes.
    pub block: ResNetBlockKind,
    /// Channels after the first convolution.
    pub stem_width: u64,
    /// Channels inside the blocks of each stage; a bottleneck gives four times as many.
    pub widths: Vec<u64>,
    /// Blocks in each stage.
    pub blocks: Vec<u64>,
    /// Channels, height and width of a picture.
    pub input: [u64; 3],
    /// Classes.
    pub labels: u64,
}

/// A convolution without bias, followed by batch normalization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvolutionNorm {
    /// Module name of the convolution.
    pub conv: String,
    /// Module name of the batch normalization.
    pub norm: String,
    /// Channels that go in.
    pub from: u64,
    /// Channels that come out.
    pub to: u64,
    /// Height and width of the kernel.
    pub kernel: u64,
    /// Stride, in both directions.
    pub stride: u64,
}

impl ConvolutionNorm {
    /// Zeros around the picture: as many as keep its size at stride 1.
    pub fn padding(&self) -> u64 {
        self.kernel / 2
    }

    fn parameters(&self) -> Vec<Parameter> {
        let (conv, norm) = (&self.conv, &self.norm);
        let shape = [self.to, self.from, self.kernel, self.kernel];
        vec![
            Parameter::required(format!("{conv}.weight"), shape),
            Parameter::required(format!("{norm}.weight"), [self.to]),
            Parameter::required(format!("{norm}.bias"), [self.to]),
            Parameter::required(format!("{norm}.running_mean"), [self.to]),
            Parameter::required(format!("{norm}.running_var"), [self.to]),
            Parameter::optional(format!("{norm}.num_batches_tracked"), []),
        ]
    }
}

/// A residual block: convolutions with ReLU between them, added to the shortcut, then ReLU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResNetBlock {
    /// First to last.
    pub convolutions: Vec<ConvolutionNorm>,
    /// What is added; the block's input as it is where there is none.
    pub shortcut: Option<ConvolutionNorm>,
}

impl ResNetConfig {
    /// Whether a `model_type` names a residual network: `resnet`, `resnet50`, `resnet_tiny`...
    pub(super) fn is_named(model_type: &str) -> bool {
        model_type.starts_with("resnet")
    }

    pub(super) fn read(model_type: &str, object: &Map<String, Value>) -> Result<Self> {
        let mut reader = Reader::default();
        let config = match object.contains_key("hidden_sizes") || object.contains_key("depths") {
            true => Self::read_hugging_face(&mut reader, object),
            false => Self::read_torchvision(&mut reader, model_type, object),
        };
        if config.widths.len() != config.blocks.len() {
            reader.invalid(format!(
                "there are widths for {} stages, and blocks for {}",
                config.widths.len(),
                config.blocks.len()
            ));
        }
        reader.finish("resnet", config)
    }

    /// `widths`, `blocks` (one number or one for each stage), `block`, `stem_width`, `num_labels` or
    /// `id2label`, `input`; a `model_type` such as `resnet50` gives the numbers that it stands for.
    fn read_torchvision(
        reader: &mut Reader,
        model_type: &str,
        object: &Map<String, Value>,
    ) -> Self {
        let widths = reader.sizes(object, "widths", 1..=MAX_STAGES, 1..=MAX_SIZE / EXPANSION);
        let widths = widths.unwrap_or_else(|| vec![64, 128, 256, 512]);
        let (known_block, known_blocks) = match model_type {
            "resnet18" => (ResNetBlockKind::Basic, Some([2, 2, 2, 2])),
            "resnet34" => (ResNetBlockKind::Basic, Some([3, 4, 6, 3])),
            "resnet50" => (ResNetBlockKind::Bottleneck, Some([3, 4, 6, 3])),
            "resnet101" => (ResNetBlockKind::Bottleneck, Some([3, 4, 23, 3])),
            "resnet152" => (ResNetBlockKind::Bottleneck, Some([3, 8, 36, 3])),
            _ => (ResNetBlockKind::Basic, None),
        };
        let blocks = match (object.get("blocks"), known_blocks) {
            (None | Some(Value::Null), Some(known)) => known.to_vec(),
            (Some(Value::Array(_)), _) => reader
                .sizes(object, "blocks", 1..=MAX_STAGES, 1..=MAX_DEPTH)
                .unwrap_or_default(),
            _ => vec![reader.size(object, "blocks", 1..=MAX_DEPTH); widths.len()],
        };
        for (key, implemented) in [("groups", 1), ("width_per_group", 64)] {
            if object
                .get(key)
                .is_some_and(|found| found.as_u64() != Some(implemented))
            {
                reader.unsupported(format!("`{key}`: only {implemented} is implemented"));
            }
        }
        let stem = widths.first().copied().unwrap_or(1);
        Self {
            names: ResNetNames::Torchvision,
            block: Self::block_kind(reader, object, "block", known_block),
            stem_width: reader.size_or(object, "stem_width", 1..=MAX_SIZE, stem),
            widths,
            blocks,
            input: image_input(reader, object, 224),
            labels: image_labels(reader, object, 1000),
        }
    }

    fn read_hugging_face(reader: &mut Reader, object: &Map<String, Value>) -> Self {
        let class = object.get("architectures").and_then(|list| list.get(0));
        if !matches!(
            class.and_then(Value::as_str),
            None | Some("ResNetForImageClassification")
        ) {
            reader.unsupported("`architectures`: only ResNetForImageClassification is implemented");
        }
        reader.only(object, "hidden_act", "relu");
        for key in ["downsample_in_first_stage", "downsample_in_bottleneck"] {
            if object.get(key) == Some(&Value::Bool(true)) {
                reader.unsupported(format!("`{key}`: only false is implemented"));
            }
        }
        let block = Self::block_kind(reader, object, "layer_type", ResNetBlockKind::Bottleneck);
        let sizes = reader.sizes(object, "hidden_sizes", 1..=MAX_STAGES, 1..=MAX_SIZE);
        let sizes = sizes.unwrap_or_else(|| vec![256, 512, 1024, 2048]);
        let inside = match block {
            ResNetBlockKind::Basic => 1,
            ResNetBlockKind::Bottleneck => EXPANSION,
        };
        if sizes.iter().any(|size| size % inside != 0) {
            reader.invalid(format!(
                "`hidden_sizes`: a bottleneck needs multiples of {inside}"
            ));
        }
        let depths = reader.sizes(object, "depths", 1..=MAX_STAGES, 1..=MAX_DEPTH);
        Self {
            names: ResNetNames::HuggingFace,
            block,
            stem_width: reader.size_or(object, "embedding_size", 1..=MAX_SIZE, 64),
            widths: sizes.into_iter().map(|size| size / inside).collect(),
            blocks: depths.unwrap_or_else(|| vec![3, 4, 6, 3]),
            input: image_input(reader, object, 224),
            labels: image_labels(reader, object, 2),
        }
    }

    fn block_kind(
        reader: &mut Reader,
        object: &Map<String, Value>,
        key: &str,
        default: ResNetBlockKind,
    ) -> ResNetBlockKind {
        match object.get(key).map(Value::as_str) {
            None => default,
            Some(Some("basic")) => ResNetBlockKind::Basic,
            Some(Some("bottleneck")) => ResNetBlockKind::Bottleneck,
            Some(_) => {
                reader.unsupported(format!(
                    "`{key}`: only basic and bottleneck are implemented"
                ));
                default
            }
        }
    }

    /// The first convolution, before the pooling.
    pub fn stem(&self) -> ConvolutionNorm {
        let (conv, norm) = match self.names {
            ResNetNames::Torchvision => ("conv1", "bn1"),
            ResNetNames::HuggingFace => (
                "resnet.embedder.embedder.convolution",
                "resnet.embedder.embedder.normalization",
            ),
        };
        ConvolutionNorm {
            conv: conv.to_owned(),
            norm: norm.to_owned(),
            from: self.input[0],
            to: self.stem_width,
            kernel: 7,
            stride: 2,
        }
    }

    /// The blocks, first to last. All stages but the first halve the picture.
    pub fn residual_blocks(&self) -> Vec<ResNetBlock> {
        let mut blocks = Vec::new();
        let mut from = self.stem_width;
        for (stage, (width, count)) in self.widths.iter().zip(&self.blocks).enumerate() {
            for place in 0..*count {
                let stride = if stage > 0 && place == 0 { 2 } else { 1 };
                let block = self.residual_block(stage, place, from, *width, stride);
                from = block.convolutions.last().map_or(from, |last| last.to);
                blocks.push(block);
            }
        }
        blocks
    }

    fn residual_block(
        &self,
        stage: usize,
        place: u64,
        from: u64,
        width: u64,
        stride: u64,
    ) -> ResNetBlock {
        let shapes = match self.block {
            ResNetBlockKind::Basic => vec![(width, 3, stride), (width, 3, 1)],
            ResNetBlockKind::Bottleneck => {
                vec![(width, 1, 1), (width, 3, stride), (width * EXPANSION, 1, 1)]
            }
        };
        let names = |index: usize| match self.names {
            ResNetNames::Torchvision => {
                let block = format!("layer{}.{place}", stage + 1);
                (
                    format!("{block}.conv{}", index + 1),
                    format!("{block}.bn{}", index + 1),
                )
            }
            ResNetNames::HuggingFace => {
                let layer = format!("resnet.encoder.stages.{stage}.layers.{place}.layer.{index}");
                (
                    format!("{layer}.convolution"),
                    format!("{layer}.normalization"),
                )
            }
        };
        let mut channels = from;
        let convolutions: Vec<ConvolutionNorm> = shapes
            .into_iter()
            .enumerate()
            .map(|(index, (to, kernel, stride))| {
                let (conv, norm) = names(index);
                let from = std::mem::replace(&mut channels, to);
                ConvolutionNorm {
                    conv,
                    norm,
                    from,
                    to,
                    kernel,
                    stride,
                }
            })
            .collect();
        let (conv, norm) = match self.names {
            ResNetNames::Torchvision => {
                let module = format!("layer{}.{place}.downsample", stage + 1);
                (format!("{module}.0"), format!("{module}.1"))
            }
            ResNetNames::HuggingFace => {
                let module = format!("resnet.encoder.stages.{stage}.layers.{place}.shortcut");
                (
                    format!("{module}.convolution"),
                    format!("{module}.normalization"),
                )
            }
        };
        let shortcut = (stride != 1 || from != channels).then_some(ConvolutionNorm {
            conv,
            norm,
            from,
            to: channels,
            kernel: 1,
            stride,
        });
        ResNetBlock {
            convolutions,
            shortcut,
        }
    }

    /// Module name of the classifier.
    pub fn classifier(&self) -> &'static str {
        match self.names {
            ResNetNames::Torchvision => "fc",
            ResNetNames::HuggingFace => "classifier.1",
        }
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = self.stem().parameters();
        let mut features = self.stem_width;
        for block in self.residual_blocks() {
            for convolution in block.convolutions.iter().chain(&block.shortcut) {
                parameters.extend(convolution.parameters());
                features = convolution.to;
            }
        }
        parameters.extend(linear(self.classifier(), features, self.labels));
        parameters
    }

    pub(super) fn inputs(&self) -> Vec<Port> {
        vec![super::ports::pixel_values(self.input)]
    }

    pub(super) fn outputs(&self) -> Vec<Port> {
        let shape = [Axis::batch(), Axis::Fixed(self.labels)];
        vec![Port::new("logits", Values::Real, shape)]
    }

    pub(super) fn heads(&self) -> Vec<Head> {
        vec![Head {
            name: "logits".to_owned(),
            n_classes: self.labels,
        }]
    }

    pub(super) fn document(&self) -> Value {
        let block = match self.block {
            ResNetBlockKind::Basic => "basic",
            ResNetBlockKind::Bottleneck => "bottleneck",
        };
        match self.names {
            ResNetNames::Torchvision => json!({
                "widths": self.widths,
                "blocks": self.blocks,
                "block": block,
                "stem_width": self.stem_width,
                "num_labels": self.labels,
                "input": self.input,
            }),
            ResNetNames::HuggingFace => {
                let inside = match self.block {
                    ResNetBlockKind::Basic => 1,
                    ResNetBlockKind::Bottleneck => EXPANSION,
                };
                json!({
                    "architectures": ["ResNetForImageClassification"],
                    "hidden_sizes": self.widths.iter().map(|w| w * inside).collect::<Vec<_>>(),
                    "depths": self.blocks,
                    "layer_type": block,
                    "embedding_size": self.stem_width,
                    "num_labels": self.labels,
                    "input": self.input,
                })
            }
        }
    }
}
