//! How pictures become tensors: the `config` of the preprocessing type `image`.

use amphora_error::{Error, Result};
use amphora_files::json;
use amphora_onnx::{Dim, Dtype, TensorSpec};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Resample;

/// The largest side of a resized or cropped picture.
pub(super) const MAX_SIDE: u32 = 16_384;

/// How a picture becomes a tensor. The steps, in this order: decode to 8-bit RGB, resize, crop at the
/// center, multiply, subtract the mean, divide by the deviation, lay out.
///
/// A key that is left out has its value of [`ImageConfig::default`]; a step that is `null` is left out.
///
/// ```
/// use amphora_runtime::image::{ImageConfig, Size};
///
/// let config: ImageConfig = serde_json::from_str(
///     r#"{"size": {"height": 224, "width": 224}, "crop": null, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}"#,
/// ).expect("a valid configuration");
/// assert_eq!(config.size, Some(Size::Exact { height: 224, width: 224 }));
/// assert_eq!(config.rescale, Some(1.0 / 255.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// The size that the picture is resized to.
    pub size: Option<Size>,
    /// The filter of resizing.
    pub resample: Resample,
    /// The part around the center that is kept. Where the picture is smaller, black is added around
    /// it.
    pub crop: Option<Crop>,
    /// Multiplies the 8-bit values.
    pub rescale: Option<f64>,
    /// Of red, green and blue; subtracted from the multiplied values.
    pub mean: Option<[f64; 3]>,
    /// Of red, green and blue; divides what is left.
    pub std: Option<[f64; 3]>,
    /// The order of the axes.
    pub layout: Layout,
    /// The order of the channels.
    pub color: Color,
}

/// What a picture is resized to, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Size {
    /// The shorter side gets this length, the longer one keeps the proportion, rounded down.
    ShortestEdge {
        /// The length.
        shortest_edge: u32,
    },
    /// Both sides are given; the proportion is not kept.
    Exact {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
}

/// The size of a crop, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Where the crop lies when it cannot lie in the middle.
    #[serde(default, skip_serializing_if = "Middle::is_default")]
    pub middle: Middle,
}

/// What becomes of half a pixel: where a crop lies in a picture that has an odd number of pixels more,
/// or the picture in a crop that has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Middle {
    /// As in torchvision: a crop begins at the even one of the two pixels in question, a picture at
    /// the lower one.
    #[default]
    Even,
    /// As in the Python package `transformers`: a crop begins at the lower one, a picture at the higher.
    Lower,
}

impl Middle {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The order of the axes of a tensor of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Layout {
    /// `[batch, channels, height, width]`
    Nchw,
    /// `[batch, height, width, channels]`
    Nhwc,
}

/// The order of the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Color {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red; `mean` and `std` stay those of red, green and blue.
    Bgr,
}

impl Default for ImageConfig {
    /// What most classifiers of ImageNet were trained with: the shorter side to 256, the center of
    /// 224 x 224, bilinear, to the range of 0 to 1, then mean and deviation of the training set.
    fn default() -> Self {
        Self {
            size: Some(Size::ShortestEdge { shortest_edge: 256 }),
            resample: Resample::Bilinear,
            crop: Some(Crop {
                height: 224,
                width: 224,
                middle: Middle::Even,
            }),
            rescale: Some(1.0 / 255.0),
            mean: Some(IMAGENET_MEAN),
            std: Some(IMAGENET_STD),
            layout: Layout::Nchw,
            color: Color::Rgb,
        }
    }
}

/// Mean of red, green and blue in the training set of ImageNet (torchvision).
pub(super) const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of the same.
pub(super) const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];

impl ImageConfig {
    /// The configuration of a manifest's preprocessing of the types `image`, `normalization` or
    /// `resize`; without one, what the input suggests ([`ImageConfig::for_input`]).
    ///
    /// Old manifests know one more key, a number `resize`: the side of the square that goes in, cut
    /// out of a picture whose shorter side is 256/224 times as long.
    ///
    /// # Errors
    ///
    /// Malformed (`image-config`) for unknown keys and for values out of range.
    pub fn from_manifest(config: Option<&Map<String, Value>>, spec: &TensorSpec) -> Result<Self> {
        let suggested = Self::for_input(spec).unwrap_or_default();
        let Some(config) = config else {
            return Ok(suggested);
        };
        let mut config = config.clone();
        let square = match config.remove("resize") {
            None => None,
            Some(side) => {
                let side = side.as_u64().and_then(|side| u32::try_from(side).ok());
                let side = side.filter(|side| (1..=MAX_SIDE).contains(side));
                Some(side.ok_or_else(|| invalid("`resize` is not a side in pixels"))?)
            }
        };
        let mut read: Self = serde_json::from_value(Value::Object(config))
            .map_err(|source| invalid(source.to_string()))?;
        if let Some(side) = square {
            (read.size, read.crop) = square_of(side);
        }
        read.validate()?;
        Ok(read)
    }

    /// The configuration of an input, by the first that says something: the `config` of its manifest
    /// ([`ImageConfig::from_manifest`]), the model's own `preprocessor_config.json`, which `file` reads,
    /// and the input itself ([`ImageConfig::for_input`]).
    ///
    /// # Errors
    ///
    /// Those of these, and of `file`.
    pub fn settled(
        stated: Option<&Map<String, Value>>,
        file: &dyn Fn(&str) -> Result<Option<Bytes>>,
        spec: &TensorSpec,
    ) -> Result<Self> {
        const FILE: &str = "preprocessor_config.json";
        if let Some(stated) = stated.filter(|stated| !stated.is_empty()) {
            return Self::from_manifest(Some(stated), spec);
        }
        let Some(bytes) = file(FILE)? else {
            return Self::from_manifest(None, spec);
        };
        let read = json::parse(&bytes)
            .and_then(|value| Self::from_preprocessor_config(&value))
            .map_err(|error| error.in_file(FILE))?;
        // The file describes the pixels, not the axes of this graph.
        let layout = Self::for_input(spec).map_or(read.layout, |suggested| suggested.layout);
        Ok(Self { layout, ..read })
    }

    /// What an input without a hint asks for, where it takes pictures: three channels among four
    /// axes, and of fixed size a size that the default fits. `None` for an input that does not look
    /// like that. Inputs of 8-bit integers get the pixels as they are.
    pub fn for_input(spec: &TensorSpec) -> Option<Self> {
        let three = |axis: usize| spec.shape.as_ref()?.get(axis).map(|d| *d == Dim::Fixed(3));
        let layout = match (three(1), three(3)) {
            (Some(true), _) => Layout::Nchw,
            (_, Some(true)) => Layout::Nhwc,
            _ => return None,
        };
        if !matches!(spec.dtype, Dtype::Float32 | Dtype::Float16 | Dtype::Uint8) {
            return None;
        }
        let mut config = Self {
            layout,
            ..Self::default()
        };
        if let [Some(height), Some(width)] = sides(spec, layout) {
            if height == width {
                (config.size, config.crop) = square_of(height);
            } else {
                config.size = Some(Size::Exact { height, width });
                config.crop = None;
            }
        }
        if spec.dtype == Dtype::Uint8 {
            (config.rescale, config.mean, config.std) = (None, None, None);
        }
        Some(config)
    }

    /// The configuration as the manifest holds it, every key written.
    pub fn to_manifest(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        }
    }

    /// Height and width of what comes out, where they are the same for every picture.
    pub fn output_size(&self) -> Option<(u32, u32)> {
        match (self.crop, self.size) {
            (Some(crop), _) => Some((crop.height, crop.width)),
            (None, Some(Size::Exact { height, width })) => Some((height, width)),
            (None, _) => None,
        }
    }

    /// Refuses sizes and numbers out of range, all at once.
    pub(super) fn validate(&self) -> Result<()> {
        let mut faults = Vec::new();
        let mut side = |name: &str, sides: [u32; 2]| {
            if sides.iter().any(|side| !(1..=MAX_SIDE).contains(side)) {
                faults.push(format!("`{name}`: a side is not between 1 and {MAX_SIDE}"));
            }
        };
        match self.size {
            Some(Size::ShortestEdge { shortest_edge }) => side("size", [shortest_edge; 2]),
            Some(Size::Exact { height, width }) => side("size", [height, width]),
            None => {}
        }
        if let Some(crop) = self.crop {
            side("crop", [crop.height, crop.width]);
        }
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        if !self.rescale.iter().all(positive) {
            faults.push("`rescale` is not a finite number above 0".to_owned());
        }
        if !self.mean.iter().flatten().all(|value| value.is_finite()) {
            faults.push("`mean` is not finite".to_owned());
        }
        if !self.std.iter().flatten().all(positive) {
            faults.push("`std` is not made of finite numbers above 0".to_owned());
        }
        match faults.is_empty() {
            true => Ok(()),
            false => Err(invalid("the configuration of a picture cannot be used").faults(faults)),
        }
    }
}

/// Shorter side and crop that give a square, in the proportion of the default.
fn square_of(side: u32) -> (Option<Size>, Option<Crop>) {
    let shortest_edge = (u64::from(side) * 256 / 224) as u32;
    let crop = Crop {
        height: side,
        width: side,
        middle: Middle::Even,
    };
    (Some(Size::ShortestEdge { shortest_edge }), Some(crop))
}

/// The fixed height and width of an input.
pub(super) fn sides(spec: &TensorSpec, layout: Layout) -> [Option<u32>; 2] {
    let axes = match layout {
        Layout::Nchw => [2, 3],
        Layout::Nhwc => [1, 2],
    };
    axes.map(|axis| match spec.shape.as_ref()?.get(axis)? {
        Dim::Fixed(side) => u32::try_from(*side).ok(),
        Dim::Symbol(_) | Dim::Unknown => None,
    })
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::malformed("image-config", message)
}
