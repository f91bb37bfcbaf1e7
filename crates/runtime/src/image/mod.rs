//! Pictures to tensors: PNG, JPEG and WebP, resized, cropped and normalized as the model was trained.
//!
//! * [`ImageConfig`]: the steps, as a manifest holds them or as a `preprocessor_config.json` says.
//! * [`ImageProcessor`]: the steps for one input of a graph; bytes of files go in, a [`Tensor`] comes
//!   out.
//! * [`Picture`]: a decoded picture, for whoever has pixels already.
//!
//! ```
//! use amphora_onnx::{Dim, Dtype, TensorSpec};
//! use amphora_runtime::image::{ImageConfig, ImageProcessor, Picture};
//!
//! let input = TensorSpec {
//!     name: "pixel_values".into(),
//!     dtype: Dtype::Float32,
//!     shape: Some(vec![Dim::Unknown, Dim::Fixed(3), Dim::Fixed(224), Dim::Fixed(224)]),
//! };
//! let config = ImageConfig::from_preprocessor_config(&serde_json::json!({
//!     "image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224},
//! }))?;
//! let processor = ImageProcessor::new(config, &input)?;
//! let white = Picture::from_rgb8(10, 20, vec![255; 600])?;
//! let tensor = processor.pictures(&[white])?;
//! assert_eq!(tensor.shape(), [1, 3, 224, 224]);
//! assert_eq!(tensor.as_slice::<f32>().map(|pixels| pixels[0]), Some(1.0));
//! # Ok::<(), amphora_error::Error>(())
//! ```
//!
//! # Design
//!
//! Models see what Python's Pillow library made of their training pictures, so resizing repeats its
//! fixed-point arithmetic bit for bit; the usual fast resizers have shorter weights and are a step
//! off here and there. Only the part that the crop keeps is computed. Files come from anywhere: size
//! and passes are read from the header and compared with [`ImageLimits`] before a decoder runs, and
//! no decoder can end the program.

mod config;
mod header;
mod jpeg;
mod picture;
mod preprocessor;
mod resize;

use std::ops::Range;

use amphora_error::{Error, Result};
use amphora_onnx::{Dim, Dtype, TensorSpec};
use half::f16;
use serde_json::Value;

pub use config::{Color, Crop, ImageConfig, Layout, Middle, Size};
pub use picture::{ImageLimits, Picture};
pub use resize::Resample;

use crate::Tensor;
use picture::limit;
use resize::Axis;

impl ImageConfig {
    /// Reads a Hugging Face `preprocessor_config.json`, of the old form (`"size": 224`,
    /// `feature_extractor_type`) or the new one (`"size": {"shortest_edge": 224}` or with `height` and
    /// `width`).
    ///
    /// What the file leaves out is the default of its class: ViT, DeiT, Beit, CLIP, Siglip, ConvNext
    /// (and with it ResNet), MobileNetV1 and V2; without a class, that of [`ImageConfig::default`],
    /// where a size of one number is the shorter side.
    ///
    /// # Errors
    ///
    /// Unsupported (`image-config-unsupported`) for other classes, for steps that are not
    /// implemented (padding, flipped channels, ...) and for unknown keys, all by name; malformed
    /// (`image-config`) for values out of range.
    pub fn from_preprocessor_config(config: &Value) -> Result<Self> {
        preprocessor::read(config)
    }
}

/// The way from pictures to one input of a graph.
#[derive(Debug, Clone)]
pub struct ImageProcessor {
    config: ImageConfig,
    dtype: Dtype,
    batch: Option<u64>,
    limits: ImageLimits,
    name: String,
}

impl ImageProcessor {
    /// A processor that fills the input `spec` as `config` says.
    ///
    /// # Errors
    ///
    /// Malformed (`image-config`) for a configuration out of range; incompatible (`image-input`)
    /// when the input does not take what comes out, listing every fault: an element type other than
    /// `float32`, `float16` and `uint8` (which takes pixels as they are, so that `rescale`, `mean`
    /// and `std` must be absent), a rank other than 4, other channels, another size.
    pub fn new(config: ImageConfig, spec: &TensorSpec) -> Result<Self> {
        config.validate()?;
        let mut faults = Vec::new();
        let scaled = config.rescale.is_some() || config.mean.is_some() || config.std.is_some();
        match spec.dtype {
            Dtype::Float32 | Dtype::Float16 => {}
            Dtype::Uint8 if !scaled => {}
            Dtype::Uint8 => faults.push(
                "the input takes 8-bit pixels, but the configuration scales them (`rescale`, `mean`, \
                 `std`)"
                    .to_owned(),
            ),
            other => faults.push(format!("pictures do not become {other}")),
        }
        let sides = config::sides(spec, config.layout);
        if let Some(shape) = &spec.shape {
            let channels = match config.layout {
                Layout::Nchw => 1,
                Layout::Nhwc => 3,
            };
            if shape.len() != 4 {
                faults.push(format!("expected 4 dimensions, found {}", shape.len()));
            } else if matches!(shape[channels], Dim::Fixed(channels) if channels != 3) {
                faults.push(format!(
                    "expected 3 channels at dimension {channels}, found {:?}",
                    shape[channels]
                ));
            }
            let size = config.output_size();
            let stated = size.map_or([None; 2], |(height, width)| [Some(height), Some(width)]);
            for (side, (stated, taken)) in ["height", "width"].iter().zip(stated.iter().zip(sides))
            {
                match (stated, taken) {
                    (Some(stated), Some(taken)) if *stated != taken => faults.push(format!(
                        "the {side} of the input is {taken}, the configuration gives {stated}"
                    )),
                    (None, Some(taken)) => faults.push(format!(
                        "the {side} of the input is {taken}, the configuration lets it vary"
                    )),
                    _ => {}
                }
            }
        }
        if !faults.is_empty() {
            return Err(Error::incompatible(
                "image-input",
                "the input does not take what becomes of a picture",
            )
            .at(format!("input '{}'", spec.name))
            .faults(faults));
        }
        let batch = match spec.shape.as_ref().and_then(|shape| shape.first()) {
            Some(Dim::Fixed(batch)) => Some(*batch),
            _ => None,
        };
        Ok(Self {
            config,
            dtype: spec.dtype,
            batch,
            limits: ImageLimits::default(),
            name: spec.name.clone(),
        })
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: ImageLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The steps.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// One file as a tensor of a batch of one: `[1, 3, height, width]` or `[1, height, width, 3]`.
    ///
    /// # Errors
    ///
    /// Those of [`Picture::decode`] and [`ImageProcessor::pictures`].
    pub fn tensor(&self, file: &[u8]) -> Result<Tensor> {
        self.tensors(&[file])
    }

    /// Several files as one batch, in their order.
    ///
    /// # Errors
    ///
    /// Those of [`ImageProcessor::tensor`], with the number of the picture, from 0.
    pub fn tensors(&self, files: &[&[u8]]) -> Result<Tensor> {
        self.batch(files.len(), |index| {
            Picture::decode(files[index], &self.limits).and_then(|picture| self.pixels(&picture))
        })
    }

    /// Several decoded pictures as one batch, in their order.
    ///
    /// # Errors
    ///
    /// Usage (`image-batch`) when the input takes another number of pictures, or when pictures of a
    /// varying size are not of one size; limit (`image-limit`) for a resized picture that is too
    /// large.
    pub fn pictures(&self, pictures: &[Picture]) -> Result<Tensor> {
        self.batch(pictures.len(), |index| self.pixels(&pictures[index]))
    }

    fn batch(&self, count: usize, pixels: impl Fn(usize) -> Result<Pixels>) -> Result<Tensor> {
        let expected = self.batch.filter(|batch| *batch != count as u64);
        if expected.is_some() || count == 0 {
            let expected = expected.map_or("at least 1".to_owned(), |batch| batch.to_string());
            return Err(
                Error::usage("image-batch", "the input takes another number of pictures")
                    .at(format!("input '{}'", self.name))
                    .expected(expected)
                    .found(count.to_string()),
            );
        }
        let mut all: Vec<u8> = Vec::new();
        let mut size = None;
        for index in 0..count {
            let numbered = |error: Error| match count {
                1 => error,
                _ => error.at(format!("picture {index}")),
            };
            let picture = pixels(index).map_err(numbered)?;
            let (height, width) = *size.get_or_insert((picture.height, picture.width));
            if (height, width) != (picture.height, picture.width) {
                return Err(numbered(
                    Error::usage(
                        "image-batch",
                        "the pictures of a batch are of several sizes",
                    )
                    .expected(format!("{width} x {height}"))
                    .found(format!("{} x {}", picture.width, picture.height)),
                ));
            }
            all.extend(picture.rgb);
        }
        let (height, width) = size.unwrap_or_default();
        self.laid_out(&all, count, height, width)
    }

    /// Resizes and crops.
    fn pixels(&self, picture: &Picture) -> Result<Pixels> {
        let from = [picture.height(), picture.width()];
        let to = match self.config.size {
            None => from,
            Some(Size::Exact { height, width }) => [height as usize, width as usize],
            Some(Size::ShortestEdge { shortest_edge }) => {
                let [short, long] = [from[0].min(from[1]), from[0].max(from[1])];
                let scaled = (shortest_edge as usize).saturating_mul(long) / short;
                from.map(|side| {
                    if side == short {
                        shortest_edge as usize
                    } else {
                        scaled
                    }
                })
            }
        };
        let wanted = match self.config.crop {
            Some(crop) => [crop.height as usize, crop.width as usize],
            None => to,
        };
        let middle = self.config.crop.map(|crop| crop.middle).unwrap_or_default();
        let [down, across] = [0, 1].map(|axis| Cut::new(to[axis], wanted[axis], middle));
        let area = |height: usize, width: usize| (height as u64).saturating_mul(width as u64);
        limit(
            "resized pixels",
            area(wanted[0], wanted[1]),
            self.limits.pixels,
        )?;
        limit("resized rows", area(from[0], wanted[1]), self.limits.pixels)?;
        limit("resized side", to[0].max(to[1]) as u64, self.limits.pixels)?;
        let axis = |index: usize, cut: &Cut| Axis {
            from: from[index],
            to: to[index],
            window: cut.kept.clone(),
        };
        let rgb = resize::resample(
            picture.rgb8(),
            &axis(1, &across),
            &axis(0, &down),
            self.config.resample,
        );
        Ok(Pixels {
            rgb: padded(rgb, &down, &across),
            height: down.length,
            width: across.length,
        })
    }

    /// Scales, normalizes and orders the axes.
    fn laid_out(&self, rgb: &[u8], count: usize, height: usize, width: usize) -> Result<Tensor> {
        let shape = match self.config.layout {
            Layout::Nchw => [count, 3, height, width],
            Layout::Nhwc => [count, height, width, 3],
        };
        let channels = match self.config.color {
            Color::Rgb => [0, 1, 2],
            Color::Bgr => [2, 1, 0],
        };
        let (pixels, _) = rgb.as_chunks::<3>();
        let (layout, plane) = (self.config.layout, height * width);
        let table = [0, 1, 2].map(|channel| self.values(channel));
        let value = |pixel: &[u8; 3], place: usize| {
            let channel = channels[place];
            table[channel][usize::from(pixel[channel])]
        };
        let half = |pixel: &[u8; 3], place| f16::from_f32(value(pixel, place));
        let byte = |pixel: &[u8; 3], place: usize| pixel[channels[place]];
        match self.dtype {
            Dtype::Uint8 => Tensor::new(shape, ordered(layout, pixels, plane, byte)),
            Dtype::Float16 => Tensor::new(shape, ordered(layout, pixels, plane, half)),
            _ => Tensor::new(shape, ordered(layout, pixels, plane, value)),
        }
    }

    /// What becomes of each 8-bit value of one channel: multiplied in float64, normalized in float32,
    /// as `transformers` does it.
    fn values(&self, channel: usize) -> Vec<f32> {
        let config = &self.config;
        (0..=u8::MAX)
            .map(|value| {
                let value = f64::from(value);
                let value = config.rescale.map_or(value, |factor| value * factor) as f32;
                let value = config
                    .mean
                    .map_or(value, |mean| value - mean[channel] as f32);
                config.std.map_or(value, |std| value / std[channel] as f32)
            })
            .collect()
    }
}

/// A resized and cropped picture.
struct Pixels {
    rgb: Vec<u8>,
    height: usize,
    width: usize,
}

/// What a crop keeps of one axis.
struct Cut {
    /// The pixels that are kept.
    kept: Range<usize>,
    /// Black pixels before them.
    before: usize,
    /// The length with black before and after.
    length: usize,
}

impl Cut {
    fn new(size: usize, wanted: usize, middle: Middle) -> Self {
        let spare = size.saturating_sub(wanted);
        let kept = size.min(wanted);
        let (offset, before) = match middle {
            Middle::Even => (
                spare / 2 + (spare % 2) * (spare / 2 % 2),
                (wanted - kept) / 2,
            ),
            Middle::Lower => (spare / 2, (wanted - kept).div_ceil(2)),
        };
        Self {
            kept: offset..offset + kept,
            before,
            length: wanted,
        }
    }
}

fn padded(rgb: Vec<u8>, down: &Cut, across: &Cut) -> Vec<u8> {
    if (down.kept.len(), across.kept.len()) == (down.length, across.length) {
        return rgb;
    }
    let mut all = vec![0; down.length * across.length * 3];
    let row = across.kept.len() * 3;
    let rows = all.chunks_exact_mut(across.length * 3).skip(down.before);
    for (out, row) in rows.zip(rgb.chunks_exact(row)) {
        out[across.before * 3..][..row.len()].copy_from_slice(row);
    }
    all
}

/// Elements in the order of a layout, of pictures with `plane` pixels each.
fn ordered<T>(
    layout: Layout,
    pixels: &[[u8; 3]],
    plane: usize,
    value: impl Fn(&[u8; 3], usize) -> T,
) -> Vec<T> {
    let mut elements = Vec::with_capacity(pixels.len() * 3);
    match layout {
        Layout::Nhwc => {
            for pixel in pixels {
                elements.extend((0..3).map(|channel| value(pixel, channel)));
            }
        }
        Layout::Nchw => {
            for picture in pixels.chunks_exact(plane) {
                for channel in 0..3 {
                    elements.extend(picture.iter().map(|pixel| value(pixel, channel)));
                }
            }
        }
    }
    elements
}
