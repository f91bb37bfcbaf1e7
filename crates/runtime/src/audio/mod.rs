//! Sound to tensors and back: WAV files, mono or stereo.
//!
//! * [`AudioConfig`]: the sound that a graph takes or gives, as a manifest holds it.
//! * [`AudioProcessor`]: fills one input of a graph from the bytes of a file.
//! * [`Sound`]: decoded samples; from and to WAV, from a [`Tensor`].
//!
//! ```
//! use amphora_onnx::{Dim, Dtype, TensorSpec};
//! use amphora_runtime::audio::{AudioConfig, AudioLayout, AudioProcessor, Sound, WavFormat};
//!
//! let config = AudioConfig { sample_rate: 16_000, channels: 1, layout: AudioLayout::Nt };
//! let input = TensorSpec {
//!     name: "waveform".into(),
//!     dtype: Dtype::Float32,
//!     shape: Some(vec![Dim::Symbol("batch".into()), Dim::Symbol("samples".into())]),
//! };
//! let file = Sound::new(16_000, 1, vec![0.0, 0.5, -0.5])?.to_wav(WavFormat::Int16)?;
//! let processor = AudioProcessor::new(config, &input)?;
//! let tensor = processor.tensor(&file)?;
//! assert_eq!(tensor.shape(), [1, 3]);
//! assert_eq!(tensor.as_slice::<f32>(), Some(&[0.0, 0.5, -0.5][..]));
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! Rates are compared, never converted: a resampler colors the sound, and which one was used in
//! training is not known here. Mono and stereo are turned into each other, because there is one way:
//! the same twice, and the mean.

mod wav;

pub use amphora_bundle::manifest::AudioLayout;
use amphora_bundle::manifest::Postprocessing;
use amphora_error::{Error, Result};
use amphora_onnx::{Dim, Dtype, TensorSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Tensor;

/// The sound that a graph takes or gives: the `config` of the preprocessing type `audio`, and the
/// fields of the postprocessing `audio`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioConfig {
    /// Samples per second of each channel.
    pub sample_rate: u32,
    /// 1 or 2.
    #[serde(default = "one")]
    pub channels: u32,
    /// The order of the axes; [`AudioLayout::Nct`] when absent.
    #[serde(default)]
    pub layout: AudioLayout,
}

fn one() -> u32 {
    1
}

impl AudioConfig {
    /// The configuration of a manifest's preprocessing of the type `audio`.
    ///
    /// # Errors
    ///
    /// Malformed (`audio-config`) for missing and unknown keys and for values out of range.
    pub fn from_manifest(config: &Map<String, Value>) -> Result<Self> {
        let read: Self = serde_json::from_value(Value::Object(config.clone()))
            .map_err(|source| Error::malformed("audio-config", source.to_string()))?;
        read.validate()?;
        Ok(read)
    }

    /// The sound that an output is by its step `audio`, when it has one.
    pub fn of_output(steps: &[Postprocessing]) -> Option<Self> {
        match steps {
            [
                Postprocessing::Audio {
                    sample_rate,
                    channels,
                    layout,
                },
            ] => Some(Self {
                sample_rate: *sample_rate,
                channels: *channels,
                layout: *layout,
            }),
            _ => None,
        }
    }

    /// The configuration as the manifest holds it.
    pub fn to_manifest(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }

    fn validate(&self) -> Result<()> {
        match self.layout.fault(self.sample_rate, self.channels) {
            None => Ok(()),
            Some(fault) => Err(Error::malformed("audio-config", fault)),
        }
    }
}

/// What a file of sound may cost before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLimits {
    /// Bytes of the file; 256 MiB by default, of which up to four times as much memory is made.
    pub bytes: u64,
}

impl Default for AudioLimits {
    fn default() -> Self {
        Self { bytes: 256 << 20 }
    }
}

/// How samples are written to a WAV file. Samples beyond the range of -1 to 1 are clipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WavFormat {
    /// 16-bit integers: a sample times 32,768, rounded half to even.
    Int16,
    /// 32-bit floats.
    Float32,
}

/// Samples of one or more channels, around -1 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    sample_rate: u32,
    channels: u32,
    samples: Vec<f32>,
}

impl Sound {
    /// A sound of interleaved samples: one of each channel, then the next of each.
    ///
    /// # Errors
    ///
    /// Malformed (`audio-frames`) for no samples, no channels, or frames that are not whole,
    /// (`audio-format`) for a rate of 0, (`audio-value`) for samples that are not finite.
    pub fn new(sample_rate: u32, channels: u32, samples: Vec<f32>) -> Result<Self> {
        if sample_rate == 0 {
            return Err(Error::malformed("audio-format", "a sound without a rate"));
        }
        let whole = channels > 0 && samples.len().is_multiple_of(channels as usize);
        if samples.is_empty() || !whole {
            return Err(
                Error::malformed("audio-frames", "a sound has no whole frames")
                    .found(format!("{} samples, {channels} channels", samples.len())),
            );
        }
        if let Some(place) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(Error::malformed("audio-value", "a sample is not finite")
                .at(format!("sample {place}")));
        }
        Ok(Self {
            sample_rate,
            channels,
            samples,
        })
    }

    /// Reads a WAV file: PCM of 8 (unsigned), 16, 24 or 32 bits, which are divided by the largest
    /// magnitude, or 32-bit floats, which stay as they are.
    ///
    /// # Errors
    ///
    /// Unsupported (`audio-format`) for other files and encodings; limit (`audio-limit`) beyond
    /// `limits`; malformed (`audio-truncated`, `audio-chunks`, `audio-format`, `audio-frames`,
    /// `audio-value`) for a file whose parts contradict each other or its size. Nothing is allocated
    /// for what a header only claims.
    pub fn from_wav(bytes: &[u8], limits: &AudioLimits) -> Result<Self> {
        wav::read(bytes, limits)
    }

    /// The sound as a WAV file.
    ///
    /// # Errors
    ///
    /// Limit (`audio-limit`) for more than the format can hold, 4 GiB.
    pub fn to_wav(&self, format: WavFormat) -> Result<Vec<u8>> {
        wav::write(self, format)
    }

    /// The sound in a tensor of float32 that holds a batch of one, in the layout of `config`.
    ///
    /// # Errors
    ///
    /// Incompatible (`audio-tensor`) for another element type or shape; malformed (`audio-value`,
    /// `audio-frames`) as in [`Sound::new`].
    pub fn from_tensor(tensor: &Tensor, config: &AudioConfig) -> Result<Self> {
        config.validate()?;
        let channels = config.channels as usize;
        let shape = tensor.shape();
        let fits = match config.layout {
            AudioLayout::Nct => matches!(shape, [1, found, _] if *found == channels),
            AudioLayout::Ntc => matches!(shape, [1, _, found] if *found == channels),
            AudioLayout::Nt => matches!(shape, [1, _]),
        };
        let (true, Some(samples)) = (fits, tensor.as_slice::<f32>()) else {
            return Err(
                Error::incompatible("audio-tensor", "the tensor is not one such sound")
                    .expected(format!(
                        "float32, {:?} of {channels} channels",
                        config.layout
                    ))
                    .found(format!("{} of shape {shape:?}", tensor.dtype())),
            );
        };
        let samples = match config.layout {
            AudioLayout::Nct => transposed(samples, samples.len() / channels),
            AudioLayout::Ntc | AudioLayout::Nt => samples.to_vec(),
        };
        Self::new(config.sample_rate, config.channels, samples)
    }

    /// Samples per second of each channel.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// How many channels there are.
    pub fn channels(&self) -> u32 {
        self.channels
    }

    /// The samples, interleaved.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }
}

/// The way from sounds to one input of a graph.
#[derive(Debug, Clone)]
pub struct AudioProcessor {
    config: AudioConfig,
    /// Samples of each channel that the input takes, where they are fixed.
    length: Option<u64>,
    limits: AudioLimits,
}

impl AudioProcessor {
    /// A processor that fills the input `spec` as `config` says.
    ///
    /// # Errors
    ///
    /// Malformed (`audio-config`) for a configuration out of range; incompatible (`audio-input`)
    /// when the input does not take such a sound, listing every fault.
    pub fn new(config: AudioConfig, spec: &TensorSpec) -> Result<Self> {
        config.validate()?;
        let (rank, channels, samples) = match config.layout {
            AudioLayout::Nct => (3, Some(1), 2),
            AudioLayout::Ntc => (3, Some(2), 1),
            AudioLayout::Nt => (2, None, 1),
        };
        let mut faults = Vec::new();
        if spec.dtype != Dtype::Float32 {
            faults.push(format!(
                "sounds become float32, the input takes {}",
                spec.dtype
            ));
        }
        let fixed = |axis: usize| match spec.shape.as_ref()?.get(axis)? {
            Dim::Fixed(size) => Some(*size),
            Dim::Symbol(_) | Dim::Unknown => None,
        };
        if let Some(shape) = &spec.shape {
            if shape.len() != rank {
                faults.push(format!("expected {rank} dimensions, found {}", shape.len()));
            } else {
                if fixed(0).is_some_and(|batch| batch != 1) {
                    faults.push("the input takes several sounds at once".to_owned());
                }
                let found = channels.and_then(fixed);
                if found.is_some_and(|found| found != u64::from(config.channels)) {
                    let expected = config.channels;
                    faults.push(format!("expected {expected} channels, found {found:?}"));
                }
            }
        }
        if !faults.is_empty() {
            return Err(Error::incompatible(
                "audio-input",
                "the input does not take what becomes of a sound",
            )
            .at(format!("input '{}'", spec.name))
            .faults(faults));
        }
        Ok(Self {
            length: fixed(samples),
            config,
            limits: AudioLimits::default(),
        })
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: AudioLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The sound that goes in.
    pub fn config(&self) -> &AudioConfig {
        &self.config
    }

    /// One WAV file as a tensor of a batch of one.
    ///
    /// # Errors
    ///
    /// Those of [`Sound::from_wav`] and [`AudioProcessor::sound`].
    pub fn tensor(&self, file: &[u8]) -> Result<Tensor> {
        self.sound(&Sound::from_wav(file, &self.limits)?)
    }

    /// One decoded sound as a tensor of a batch of one. Mono becomes stereo by repeating it, stereo
    /// mono by the mean.
    ///
    /// # Errors
    ///
    /// Incompatible (`audio-rate`, `audio-channels`, `audio-length`) for another rate, for more
    /// than two channels, and for another length than the input's.
    pub fn sound(&self, sound: &Sound) -> Result<Tensor> {
        let config = &self.config;
        if sound.sample_rate != config.sample_rate {
            let hint = "resample it first, for example with `ffmpeg -i INPUT -ar RATE OUTPUT.wav`";
            return Err(
                Error::incompatible("audio-rate", "the sound has another sample rate")
                    .expected(format!("{} Hz", config.sample_rate))
                    .found(format!("{} Hz", sound.sample_rate))
                    .hint(hint),
            );
        }
        let mixed: Vec<f32> = match (sound.channels, config.channels) {
            (found, wanted) if found == wanted => sound.samples.clone(),
            (1, 2) => sound.samples.iter().flat_map(|v| [*v; 2]).collect(),
            (2, 1) => {
                let (pairs, _) = sound.samples.as_chunks::<2>();
                pairs
                    .iter()
                    .map(|[left, right]| left.midpoint(*right))
                    .collect()
            }
            (found, wanted) => {
                return Err(Error::incompatible(
                    "audio-channels",
                    "the sound has too many channels",
                )
                .expected(format!("{wanted} channels, mono or stereo"))
                .found(format!("{found} channels")));
            }
        };
        let channels = config.channels as usize;
        let length = mixed.len() / channels;
        if let Some(expected) = self.length.filter(|expected| *expected != length as u64) {
            return Err(
                Error::incompatible("audio-length", "the sound has another length")
                    .expected(format!("{expected} samples"))
                    .found(format!("{length} samples")),
            );
        }
        match config.layout {
            AudioLayout::Nct => Tensor::new([1, channels, length], transposed(&mixed, channels)),
            AudioLayout::Ntc => Tensor::new([1, length, channels], mixed),
            AudioLayout::Nt => Tensor::new([1, length], mixed),
        }
    }
}

/// The transpose of a row-major matrix of rows of `width` elements.
fn transposed(matrix: &[f32], width: usize) -> Vec<f32> {
    (0..width)
        .flat_map(|column| matrix.iter().skip(column).step_by(width.max(1)))
        .copied()
        .collect()
}
