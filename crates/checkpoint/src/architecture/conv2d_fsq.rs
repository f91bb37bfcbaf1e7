//! `conv2d_fsq`: three convolutions over a sensor window, finite scalar quantization of the pooled
//! features into a code, and a linear classifier that reads the quantized features.

use std::collections::BTreeMap;

use amphora_error::Result;
use serde_json::{Map, Value};

use super::config::{MAX_SIZE, Reader};
use super::{Activation, Axis, Parameter, Port, Values, layer_norm, linear};
use crate::Tensor;

/// Channels after each convolution.
const CHANNELS: [u64; 3] = [32, 64, 64];
/// Groups of the third convolution.
const GROUPS: u64 = 4;
/// Width of the features that the classifier reads.
const EMBEDDING: u64 = 32;
/// Codes are summed in float32, which counts exactly up to here.
const MAX_CODEBOOK: u64 = 1 << 24;

/// Sizes of the `conv2d_fsq` architecture.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv2dFsqConfig {
    /// Measured channels of one sensor.
    pub channels: u64,
    /// Sensors; the second convolution spans two of them.
    pub sensors: u64,
    /// Time steps in the window.
    pub window: u64,
    /// Quantization levels of each code dimension.
    pub fsq_levels: Vec<u64>,
    /// By how much the quantizer's range is widened: `(level - 1) * (1 + eps) / 2`.
    pub fsq_eps: f64,
    /// Classes of the classifier.
    pub n_classes: u64,
}

impl Conv2dFsqConfig {
    pub(super) fn read(object: &Map<String, Value>) -> Result<Self> {
        let mut reader = Reader::default();
        let config = match object.get("model") {
            Some(Value::Object(model)) => Self::read_nested(&mut reader, object, model),
            _ => Self::read_flat(&mut reader, object),
        };
        let codes = config.codebook_size();
        if codes.is_none() {
            reader.invalid(format!(
                "`fsq_levels`: expected a product of at most {MAX_CODEBOOK} codes"
            ));
        }
        if let (Some(stated), Some(codes)) = (object.get("codebook_size"), codes)
            && stated.as_u64() != Some(codes)
        {
            reader.invalid(format!(
                "`codebook_size`: expected {codes}, the product of `fsq_levels`"
            ));
        }
        reader.finish("conv2d_fsq", config)
    }

    fn read_flat(reader: &mut Reader, object: &Map<String, Value>) -> Self {
        let [channels, sensors, window] = Self::input_shape(reader, object).unwrap_or_else(|| {
            reader.invalid("`input_shape` is missing");
            [1, 2, 1]
        });
        let fsq_levels = Self::levels(reader, object, "fsq_levels").unwrap_or_else(|| {
            reader.invalid("`fsq_levels` is missing");
            vec![2]
        });
        Self {
            channels,
            sensors,
            window,
            fsq_levels,
            fsq_eps: Self::epsilon(reader, object),
            n_classes: reader.size(object, "n_classes", 1..=MAX_SIZE),
        }
    }

    /// Document 003's form. What its example leaves out has the values it describes elsewhere: an
    /// input of 9 channels, 2 sensors and 100 steps, levels 8, 6, 5, and 4 classes. A wrong guess
    /// cannot pass: the shapes in the checkpoint contradict it.
    fn read_nested(
        reader: &mut Reader,
        object: &Map<String, Value>,
        model: &Map<String, Value>,
    ) -> Self {
        let empty = Map::new();
        let part = |parent: &Map<String, Value>, key: &str| match parent.get(key) {
            Some(Value::Object(part)) => part.clone(),
            _ => empty.clone(),
        };
        let quantization = part(&part(model, "architecture"), "quantization");
        reader.only(&quantization, "type", "fsq");
        let data = part(object, "data");
        let [channels, sensors, window] = Self::input_shape(reader, model).unwrap_or_else(|| {
            [
                reader.size_or(&data, "channels", 1..=MAX_SIZE, 9),
                reader.size_or(&data, "sensors", 2..=MAX_SIZE, 2),
                reader.size_or(&data, "window_size", 1..=MAX_SIZE, 100),
            ]
        });
        let fsq_levels = Self::levels(reader, model, "fsq_levels")
            .or_else(|| Self::levels(reader, &quantization, "levels"))
            .unwrap_or_else(|| vec![8, 6, 5]);
        Self {
            channels,
            sensors,
            window,
            fsq_levels,
            fsq_eps: Self::epsilon(reader, model),
            n_classes: reader.size_or(model, "n_classes", 1..=MAX_SIZE, 4),
        }
    }

    /// `[batch, channels, sensors, window]`; the batch may be a name, a number or null.
    fn input_shape(reader: &mut Reader, object: &Map<String, Value>) -> Option<[u64; 3]> {
        match object.get("input_shape")? {
            Value::Array(list) if list.len() == 4 => {
                let smallest = [1, 2, 1];
                Some(std::array::from_fn(|axis| {
                    let range = smallest[axis]..=MAX_SIZE;
                    reader.whole(
                        &format!("input_shape[{}]", axis + 1),
                        &list[axis + 1],
                        range,
                    )
                }))
            }
            _ => {
                reader.invalid(
                    "`input_shape`: expected a list of batch, channels, sensors and time steps",
                );
                Some([1, 2, 1])
            }
        }
    }

    fn levels(reader: &mut Reader, object: &Map<String, Value>, key: &str) -> Option<Vec<u64>> {
        reader.sizes(object, key, 1..=16, 2..=MAX_CODEBOOK)
    }

    fn epsilon(reader: &mut Reader, object: &Map<String, Value>) -> f64 {
        // With 0, two levels would need the inverse hyperbolic tangent of 1.
        reader.real_or(object, "fsq_eps", 1e-3, "a number from 1e-6 to 1", |real| {
            (1e-6..=1.0).contains(&real)
        })
    }

    /// The number of codes: the product of the levels, if float32 counts that far.
    fn codebook_size(&self) -> Option<u64> {
        self.fsq_levels
            .iter()
            .try_fold(1_u64, |product, level| product.checked_mul(*level))
            .filter(|product| *product <= MAX_CODEBOOK)
    }

    /// What `fsq.half_width` and `fsq.basis` hold for these levels, as far as a checkpoint stores them.
    pub(super) fn quantizer_faults(&self, tensors: &BTreeMap<String, Tensor>) -> Vec<String> {
        let half_width = self
            .fsq_levels
            .iter()
            .map(|level| (level / 2) as f64)
            .collect();
        let basis = self.fsq_levels.iter().scan(1_u64, |product, level| {
            let basis = *product;
            *product = product.saturating_mul(*level);
            Some(basis as f64)
        });
        let rows: [(&str, Vec<f64>); 2] = [
            ("fsq.half_width", half_width),
            ("fsq.basis", basis.collect()),
        ];
        rows.into_iter()
            .filter(|(name, expected)| {
                let stored = tensors.get(*name).and_then(|tensor| tensor.to_f64().ok());
                stored.is_some_and(|stored| stored != *expected)
            })
            .map(|(name, expected)| {
                format!("{name}: expected {expected:?} for the levels in the configuration")
            })
            .collect()
    }

    pub(super) fn inputs(&self) -> Vec<Port> {
        vec![Port::new(
            "imu_input",
            Values::Real,
            [
                Axis::batch(),
                Axis::Fixed(self.channels),
                Axis::Fixed(self.sensors),
                Axis::Fixed(self.window),
            ],
        )]
    }

    pub(super) fn outputs(&self) -> Vec<Port> {
        let below = self.codebook_size().unwrap_or(MAX_CODEBOOK);
        vec![
            Port::new("behavioral_codes", Values::Index { below }, [Axis::batch()]),
            Port::new("confidence", Values::Real, [Axis::batch()]),
            Port::new(
                "logits",
                Values::Real,
                [Axis::batch(), Axis::Fixed(self.n_classes)],
            ),
        ]
    }

    /// The convolutions, first to last.
    pub fn convolutions(&self) -> [Convolution; 3] {
        let [first, second, third] = CHANNELS;
        let layer = |conv: &'static str, norm, activation, shape, padding, groups| Convolution {
            conv,
            norm,
            activation,
            shape,
            stride: 2,
            padding,
            groups,
        };
        [
            layer(
                "encoder.0",
                "encoder.1",
                Activation::Relu,
                [first, self.channels, 1, 5],
                2,
                1,
            ),
            layer(
                "encoder.3",
                "encoder.4",
                Activation::Gelu,
                [second, first, 2, 5],
                2,
                1,
            ),
            layer(
                "encoder.6",
                "encoder.7",
                Activation::Silu,
                [third, second / GROUPS, 1, 3],
                1,
                GROUPS,
            ),
        ]
    }

    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        for Convolution {
            conv, norm, shape, ..
        } in self.convolutions()
        {
            let channels = shape[0];
            parameters.extend([
                Parameter::required(format!("{conv}.weight"), shape),
                Parameter::required(format!("{conv}.bias"), [channels]),
                Parameter::required(format!("{norm}.weight"), [channels]),
                Parameter::required(format!("{norm}.bias"), [channels]),
                Parameter::required(format!("{norm}.running_mean"), [channels]),
                Parameter::required(format!("{norm}.running_var"), [channels]),
                Parameter::optional(format!("{norm}.num_batches_tracked"), []),
            ]);
        }
        let dimensions = self.fsq_levels.len() as u64;
        parameters.extend(linear("to_codes", CHANNELS[2], dimensions));
        for buffer in ["half_l", "offset", "shift", "half_width", "basis"] {
            parameters.push(Parameter::optional(format!("fsq.{buffer}"), [dimensions]));
        }
        parameters.extend(linear("from_codes", dimensions, EMBEDDING));
        parameters.extend(layer_norm("head.0", EMBEDDING));
        parameters.extend(linear("head.3", EMBEDDING, self.n_classes));
        parameters
    }
}

/// One convolution of a [`Conv2dFsqConfig`], followed by batch normalization and an activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Convolution {
    /// Module name of the convolution.
    pub conv: &'static str,
    /// Module name of the batch normalization.
    pub norm: &'static str,
    /// What follows.
    pub activation: Activation,
    /// Shape of the kernel: channels out, channels in per group, sensors, time steps.
    pub shape: [u64; 4],
    /// Stride over time; 1 over sensors.
    pub stride: u64,
    /// Zeros before and after in time; none over sensors.
    pub padding: u64,
    /// Groups of channels.
    pub groups: u64,
}
